//! Web pages of the platform's systems on their known local ports. Each is watched: a page that can't be reached is said to
//! be down with its reason, and to be back, while its port stays open for it.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use super::site::Site;
use crate::failure::Failure;
use crate::k8s::{Forward, ForwardTarget, K8sError, readiness};
use crate::report::{Reporter, text::age};

/// A system with a web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its name, also that of its workload.
    pub name: &'static str,
    /// The component of the catalog that it belongs to.
    pub component: &'static str,
    /// Its port on this machine, where people and scripts look for it.
    pub local: u16,
    /// Its port in the pod.
    pub remote: u16,
    /// Where its page begins.
    pub path: &'static str,
    /// Whether it is in the mesh's namespace.
    mesh: bool,
}

const fn page(name: &'static str, component: &'static str, local: u16, remote: u16) -> Page {
    Page {
        name,
        component,
        local,
        remote,
        path: "/",
        mesh: false,
    }
}

/// Every page, in the order in which they are shown.
pub const PAGES: &[Page] = &[
    page("grafana", "prometheus-grafana", 3000, 3000),
    Page {
        mesh: true,
        ..page("kiali", "kiali", 20001, 20001)
    },
    page("jaeger", "jaeger", 16686, 16686),
    page("prometheus", "prometheus-grafana", 9090, 9090),
    // From Nacos 3 on the page is on another port than the API; the port on this machine stays the known one.
    page("nacos", "nacos", 8848, 8080),
    page("minio", "minio-standalone", 9001, 9001),
    page("alertmanager", "alertmanager", 9093, 9093),
];

/// A page that is open.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// The system.
    pub name: &'static str,
    /// Its address on this machine.
    pub url: String,
    /// Whether it answers now.
    pub up: bool,
}

/// Open pages; their ports are free again when this is dropped.
#[derive(Debug)]
pub struct Dashboards {
    site: Site,
    boards: Vec<Board>,
}

#[derive(Debug)]
struct Board {
    page: Page,
    target: ForwardTarget,
    forward: Forward,
    /// Since when it is down, on the wall and for counting.
    down: Option<(Timestamp, Instant)>,
}

impl Page {
    /// Where its pods are.
    fn target(&self, site: &Site) -> ForwardTarget {
        let namespaces = &site.namespaces;
        let namespace = if self.mesh {
            &namespaces.mesh
        } else {
            &namespaces.infra
        };
        ForwardTarget {
            namespace: namespace.clone(),
            selector: format!("app={}", self.name),
            port: self.remote,
        }
    }
}

/// Whether a page's system is deployed.
pub async fn is_deployed(site: &Site, page: &Page) -> Result<bool, Failure> {
    let workloads = site.workloads().await?;
    let namespace = page.target(site).namespace;
    Ok(workloads
        .iter()
        .any(|one| one.name() == page.name && one.namespace() == namespace))
}

impl Dashboards {
    /// Opens pages on their known ports. A port that somebody has is told with that, and another one taken.
    pub async fn open(site: &Site, pages: &[Page]) -> Result<Self, Failure> {
        let mut boards = Vec::new();
        for page in pages {
            let target = page.target(site);
            // What goes wrong with single connections is seen by the watch, which says it once.
            let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let open = |port| Forward::open(&site.cluster, target.clone(), at(port), Reporter::silent());
            let forward = match open(page.local).await {
                Err(K8sError::Forward { problem, .. }) => {
                    site.reporter
                        .warn(format!("{}: {problem}; taking another port", page.name), None);
                    open(0).await?
                }
                other => other?,
            };
            boards.push(Board {
                page: *page,
                target,
                forward,
                down: None,
            });
        }
        let mut opened = Self {
            site: site.clone(),
            boards,
        };
        opened.look().await;
        Ok(opened)
    }

    /// The pages as they are now.
    pub fn opened(&self) -> Vec<Opened> {
        let one = |board: &Board| Opened {
            name: board.page.name,
            url: format!("http://{}{}", board.forward.local(), board.page.path),
            up: board.down.is_none(),
        };
        self.boards.iter().map(one).collect()
    }

    /// Looks after them for ever, telling each change.
    pub async fn watch(&mut self) {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let site = &self.site;
        let states = join_all(self.boards.iter().map(|board| trouble(site, board))).await;
        for (board, trouble) in self.boards.iter_mut().zip(states) {
            let name = board.page.name;
            match (trouble, board.down) {
                (Some(why), None) => {
                    let now = Timestamp::now();
                    board.down = Some((now, Instant::now()));
                    let time = now.strftime("%H:%M:%S");
                    site.reporter
                        .warn(format!("{name} is down since {time} UTC: {why}"), None);
                }
                (None, Some((_, since))) => {
                    board.down = None;
                    let seconds = i64::try_from(since.elapsed().as_secs()).unwrap_or(0);
                    site.reporter
                        .note(format!("{name} is back after {}", age(seconds)));
                }
                _ => {}
            }
        }
    }
}

/// Why a page can't be reached.
async fn trouble(site: &Site, board: &Board) -> Option<String> {
    let look = site.pods_by(&board.target.namespace, &board.target.selector);
    match timeout(Duration::from_secs(3), look).await {
        Err(_) => return Some("the cluster does not answer".to_owned()),
        Ok(Err(error)) => return Some(error.to_string()),
        Ok(Ok(pods)) => {
            if !pods.iter().any(|pod| readiness(pod).is_ready()) {
                return Some(pods.first().map_or_else(
                    || "it has no pod".to_owned(),
                    |pod| readiness(pod).detail().to_owned(),
                ));
            }
        }
    }
    // The listener is this process's own: that it answers is part of what is promised.
    let connect = TcpStream::connect(board.forward.local());
    match timeout(Duration::from_secs(1), connect).await {
        Ok(Ok(_)) => None,
        _ => Some("its local port does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ports_are_where_people_look() {
        let port = |name: &str| PAGES.iter().find(|page| page.name == name).map(|page| page.local);
        for (name, local) in [
            ("grafana", 3000),
            ("kiali", 20001),
            ("jaeger", 16686),
            ("prometheus", 9090),
            ("nacos", 8848),
        ] {
            assert_eq!(port(name), Some(local));
        }
        let ports: std::collections::BTreeSet<u16> = PAGES.iter().map(|page| page.local).collect();
        assert_eq!(ports.len(), PAGES.len());
    }
}
