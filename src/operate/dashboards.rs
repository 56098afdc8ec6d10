//! Web pages of the platform's systems on their known local ports. Each is watched: a page that can't be reached is said to
//! be down with its reason, and to be back, while its port stays open for it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use super::site::{Site, Workload};
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
    /// Its port in the pods that vadev makes.
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
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
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
    /// When its page was asked for last.
    asked: Option<Instant>,
}

/// How often a page that is up is asked for; one that is down is asked for at every look.
const ASK: Duration = Duration::from_secs(5);
/// How long a page may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(2);

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

    /// As [`Page::target`], by what is deployed: whoever made it may have given it other labels and another port.
    fn target_of(&self, site: &Site, workloads: &[Workload]) -> ForwardTarget {
        self.deployed(site, workloads)
            .unwrap_or_else(|| self.target(site))
    }

    /// As [`Page::target_of`]; `None` where its system is not deployed.
    pub(super) fn deployed(&self, site: &Site, workloads: &[Workload]) -> Option<ForwardTarget> {
        let mut target = self.target(site);
        let workload = workloads
            .iter()
            .find(|one| one.name() == self.name && one.namespace() == target.namespace)?;
        let selector = workload.selector();
        if !selector.is_empty() {
            target.selector = selector;
        }
        target.port = self.port(&workload.own_container()["ports"]);
        Some(target)
    }

    /// The page's port among those that a container declares.
    fn port(&self, declared: &Value) -> u16 {
        let declared = declared.as_array().into_iter().flatten();
        let ports: Vec<(u16, &str)> = declared
            .filter_map(|port| {
                let number = u16::try_from(port["containerPort"].as_u64()?).ok()?;
                Some((number, port["name"].as_str().unwrap_or_default()))
            })
            .collect();
        let known = [self.remote, self.local];
        let known = known
            .iter()
            .find(|known| ports.iter().any(|(port, _)| port == *known));
        let named = || {
            let web = |name: &str| {
                ["http", "web", "ui", "console"]
                    .iter()
                    .any(|word| name.contains(word))
            };
            ports.iter().find(|(_, name)| web(name))
        };
        known
            .copied()
            .or_else(|| named().map(|(port, _)| *port))
            .unwrap_or(self.remote)
    }
}

/// Whether a page's system is deployed.
pub async fn is_deployed(site: &Site, page: &Page) -> Result<bool, Failure> {
    let workloads = site.workloads().await?;
    Ok(page.deployed(site, &workloads).is_some())
}

impl Dashboards {
    /// Opens pages on their known ports. A port that somebody has is told with that, and another one taken.
    pub async fn open(site: &Site, pages: &[Page]) -> Result<Self, Failure> {
        let mut boards = Vec::new();
        let workloads = site.workloads().await?;
        for page in pages {
            let target = page.target_of(site, &workloads);
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
                asked: None,
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
        let now = Instant::now();
        for board in &mut self.boards {
            let due = board.asked.is_none_or(|asked| now - asked >= ASK);
            if due || board.down.is_some() {
                board.asked = Some(now);
            }
        }
        let ask = |board: &Board| board.asked == Some(now);
        let states = join_all(self.boards.iter().map(|board| trouble(site, board, ask(board)))).await;
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

/// Why a page can't be reached; `ask` is whether the page itself is asked for.
async fn trouble(site: &Site, board: &Board, ask: bool) -> Option<String> {
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
    if !ask {
        return None;
    }
    match timeout(ANSWER, begins(board.forward.local())).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("its page does not answer: {error}")),
        Err(_) => Some(format!("its page does not answer within {} s", ANSWER.as_secs())),
    }
}

/// Asks for the page through its local port, as a browser would, and waits for the first byte: a port that is open says nothing
/// about what is behind it.
async fn begins(local: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(local).await?;
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await?;
    if stream.read(&mut [0]).await? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection was closed",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    #[test]
    fn the_port_is_one_that_the_pod_has() {
        let nacos = PAGES.iter().find(|page| page.name == "nacos").unwrap();
        let ports = |ports: &[(u16, &str)]| -> Value {
            let port = |(number, name): &(u16, &str)| json!({"containerPort": number, "name": name});
            ports.iter().map(port).collect()
        };
        assert_eq!(nacos.port(&ports(&[(8848, "api"), (8080, "console")])), 8080);
        assert_eq!(
            nacos.port(&ports(&[(9848, "grpc"), (8848, "http")])),
            8848,
            "Nacos 2"
        );
        assert_eq!(nacos.port(&ports(&[(7000, "grpc"), (9000, "http-ui")])), 9000);
        assert_eq!(nacos.port(&Value::Null), 8080);
    }

    #[test]
    fn a_port_without_a_page_behind_it_is_not_up() {
        use tokio::net::TcpListener;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let local = listener.local_addr().unwrap();
            let closes = async { drop(listener.accept().await.unwrap()) };
            let (asked, ()) = tokio::join!(begins(local), closes);
            assert!(asked.is_err());
            let answers = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 18];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(b"HTTP/1.0 302 Found\r\n\r\n").await.unwrap();
            };
            let (asked, ()) = tokio::join!(begins(local), answers);
            asked.unwrap();
        });
    }
}
