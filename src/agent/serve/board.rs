//! The state of all dependencies, asked side by side and kept for a moment: probes, scrapes and people may ask often,
//! the dependencies are not to notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::config::Dependency;
use super::probe;

/// How long an answer counts as current.
const FRESH: Duration = Duration::from_secs(1);
/// Shorter than a probe's usual time-out, long enough for a name that needs every search domain.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    /// The dependency's name.
    pub name: String,
    /// Its protocol.
    pub kind: &'static str,
    /// Where it was looked for.
    pub address: String,
    /// The service starts without it.
    pub optional: bool,
    /// Whether it works.
    pub up: bool,
    /// How long the check took.
    pub millis: u64,
    /// A phrase: what it answered, or what failed.
    pub detail: String,
}

/// Checks and remembers.
pub struct Board {
    dependencies: Arc<[Dependency]>,
    last: Mutex<Option<(Instant, Arc<[State]>)>>,
}

impl Board {
    /// A board that has asked nothing yet.
    pub fn new(dependencies: &[Dependency]) -> Self {
        Self {
            dependencies: dependencies.into(),
            last: Mutex::new(None),
        }
    }

    /// The states, in the order of the configuration. Callers that come while a check runs wait for its result.
    pub async fn states(&self) -> Arc<[State]> {
        let mut last = self.last.lock().await;
        if let Some((when, states)) = &*last
            && when.elapsed() < FRESH
        {
            return states.clone();
        }
        let mut checks = JoinSet::new();
        for (place, dependency) in self.dependencies.iter().cloned().enumerate() {
            checks.spawn(async move { (place, check(&dependency).await) });
        }
        let mut states = checks.join_all().await;
        states.sort_by_key(|(place, _)| *place);
        let states: Arc<[State]> = states.into_iter().map(|(_, state)| state).collect();
        *last = Some((Instant::now(), states.clone()));
        states
    }
}

async fn check(dependency: &Dependency) -> State {
    let start = Instant::now();
    let outcome = tokio::time::timeout(PATIENCE, probe::check(dependency)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {} ms", PATIENCE.as_millis())));
    State {
        name: dependency.name.clone(),
        kind: dependency.kind.name(),
        address: dependency
            .address
            .clone()
            .or_else(|| dependency.url.clone())
            .unwrap_or_default(),
        optional: dependency.optional,
        up: outcome.is_ok(),
        millis: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        detail: outcome.unwrap_or_else(|what| what),
    }
}

/// Ready unless something that is not optional is down.
pub fn ready(states: &[State]) -> bool {
    states.iter().all(|state| state.up || state.optional)
}

/// The optional dependencies that are down: what the service runs without.
pub fn missing(states: &[State]) -> Vec<&str> {
    states
        .iter()
        .filter(|state| state.optional && !state.up)
        .map(|state| state.name.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(optional: bool, up: bool) -> State {
        let (name, address, detail) = ("kafka".into(), String::new(), String::new());
        State {
            name,
            kind: "kafka",
            address,
            optional,
            up,
            millis: 0,
            detail,
        }
    }

    #[test]
    fn optional_ones_do_not_count() {
        assert!(ready(&[state(true, false), state(false, true)]));
        assert_eq!(missing(&[state(true, false), state(false, true)]), ["kafka"]);
        assert!(!ready(&[state(false, false)]));
    }

    #[tokio::test]
    async fn asks_for_real_and_remembers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0u8; 64];
            let n = stream.read(&mut request).await.unwrap();
            assert_eq!(&request[..n], b"*1\r\n$4\r\nPING\r\n");
            stream.write_all(b"+PONG\r\n").await.unwrap();
        });
        let text = format!(r#"[{{"name": "redis", "kind": "redis", "address": "{address}"}}]"#);
        let board = Board::new(&serde_json::from_str::<Vec<Dependency>>(&text).unwrap());
        assert!(board.states().await[0].up);
        server.await.unwrap();
        // The listener is gone: only memory can answer.
        assert!(board.states().await[0].up);
    }
}
