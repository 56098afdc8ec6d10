//! The ingress ports: free, held by vadev's own cluster, or held by somebody, who is named.

use super::proc;
use super::report::{Check, Severity};
use std::net::{Ipv4Addr, TcpListener};

/// A running container that publishes ports on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Its name, without the slash.
    pub container: String,
    /// The kind cluster it is a node of.
    pub cluster: Option<String>,
    /// Host ports.
    pub ports: Vec<u16>,
}

/// Who holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Free,
    /// A container.
    Container(Publisher),
    /// A process, as far as it can be named: `nginx (pid 812)`.
    Process(String),
    /// It needs a right that this user lacks.
    Forbidden,
}

/// Who holds `port` on the loopback address. `containers` are the running ones.
pub fn holder(port: u16, containers: &[Publisher]) -> Holder {
    let publishes = |container: &&Publisher| container.ports.contains(&port);
    if let Some(container) = containers.iter().find(publishes) {
        return Holder::Container(container.clone());
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Holder::Free,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Holder::Forbidden,
        Err(_) => Holder::Process(process(port)),
    }
}

/// The check for one port; `cluster` is vadev's own.
pub fn check(port: u16, holder: &Holder, cluster: &str) -> Check {
    let check = |value: String| Check::ok(format!("port-{port}"), format!("Port {port}"), value);
    let another = format!("stop it, or choose another port with --http-port/--https-port instead of {port}");
    match holder {
        Holder::Free => check("free".to_owned()),
        Holder::Container(container) if container.cluster.as_deref() == Some(cluster) => {
            check(format!("held by vadev's own cluster ({})", container.container))
        }
        Holder::Container(container) => {
            check(format!("held by the container {}", container.container)).problem(Severity::Error, another)
        }
        Holder::Process(process) => check(format!("held by {process}")).problem(Severity::Error, another),
        Holder::Forbidden => check("only root may use it".to_owned()).problem(
            Severity::Error,
            "choose a port above 1023 with --http-port/--https-port",
        ),
    }
}

/// Names the process that listens on a port, through `/proc`; other users' processes stay unnamed without root.
pub fn process(port: u16) -> String {
    let listening = |file: &str| {
        let table = std::fs::read_to_string(file).unwrap_or_default();
        proc::listening_inodes(&table, port)
    };
    let inodes = [listening("/proc/net/tcp"), listening("/proc/net/tcp6")].concat();
    let unnamed = || "a process that this user may not look into".to_owned();
    let Some(pid) = owner(&inodes) else {
        return unnamed();
    };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} (pid {pid})", name.trim())
}

fn owner(inodes: &[u64]) -> Option<u32> {
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        targets.any(|target| {
            let inode = target.to_str().and_then(proc::socket_inode);
            inode.is_some_and(|inode| inodes.contains(&inode))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_held_port_names_its_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let Holder::Process(text) = holder(port, &[]) else {
            panic!("{:?}", holder(port, &[]))
        };
        assert!(text.ends_with(&format!("(pid {})", std::process::id())), "{text}");
        drop(listener);
        assert_eq!(holder(port, &[]), Holder::Free);
    }

    #[test]
    fn ones_own_cluster_may_hold_it() {
        let node = Publisher {
            container: "n".into(),
            cluster: Some("vadev".into()),
            ports: vec![8080],
        };
        let held = holder(8080, std::slice::from_ref(&node));
        assert_eq!(held, Holder::Container(node));
        assert_eq!(check(8080, &held, "vadev").trouble(), None);
        let other = check(8080, &held, "other");
        assert_eq!(
            (other.trouble(), other.value.as_str()),
            (Some(Severity::Error), "held by the container n")
        );
        assert_eq!(
            check(80, &Holder::Forbidden, "vadev").trouble(),
            Some(Severity::Error)
        );
    }
}
