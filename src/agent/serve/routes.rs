//! Which path answers what. Every answer says `"stand-in": true`: nobody is to take it for the service.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::board::{self, Board};
use super::config::Config;
use super::fanout;
use super::fault::Faults;
use super::metrics::Metrics;

/// A request's body is counted, not kept; more than this is refused.
const LONGEST_BODY: usize = 10 * 1024 * 1024;

/// Everything that requests share.
pub struct Service {
    /// What the stand-in was told.
    pub config: Config,
    /// The dependencies' state.
    pub board: Board,
    /// What was served.
    pub metrics: Metrics,
    /// Faults in force.
    pub faults: Faults,
    started: (Instant, SystemTime),
}

/// What is sent back.
pub enum Answer {
    /// An object.
    Json(StatusCode, Value),
    /// Prometheus' text.
    Metrics(String),
}

impl Service {
    /// A service that starts now.
    pub fn new(config: Config) -> Self {
        Self {
            board: Board::new(&config.dependencies),
            config,
            metrics: Metrics::default(),
            faults: Faults::default(),
            started: (Instant::now(), SystemTime::now()),
        }
    }

    /// The label that metrics know a path by: one of a few, whatever is asked.
    pub fn route<'a>(&'a self, path: &'a str) -> &'a str {
        match self.meant(path) {
            "/health" | "/ready" | "/metrics" | "/api/v1/health" | "/info" | "/" | "/_vadev/fault" => {
                self.meant(path)
            }
            _ => self.prefix(path).unwrap_or("other"),
        }
    }

    /// The path by which every stand-in knows what was asked: where the service itself answers probes elsewhere, that means
    /// `/health` and `/ready` here.
    pub fn meant<'a>(&self, path: &'a str) -> &'a str {
        if self.config.liveness.as_deref() == Some(path) {
            "/health"
        } else if self.config.readiness.as_deref() == Some(path) {
            "/ready"
        } else {
            path
        }
    }

    fn prefix(&self, path: &str) -> Option<&str> {
        let under = |prefix: &&String| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.config
            .prefixes
            .iter()
            .filter(under)
            .max_by_key(|prefix| prefix.len())
            .map(String::as_str)
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match self.meant(&path) {
            "/health" => Answer::Json(StatusCode::OK, self.with(json!({"status": "ok"}))),
            "/ready" => self.ready().await,
            "/" | "/info" => self.info().await,
            "/metrics" => {
                let states = self.board.states().await;
                let started = self
                    .started
                    .1
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs_f64();
                Answer::Metrics(self.metrics.render(&self.config, &states, started))
            }
            "/_vadev/fault" if self.config.faults => self.fault(request).await,
            "/api/v1/health" => {
                self.api(
                    request.method(),
                    &path,
                    request.headers(),
                    request.uri().query(),
                    None,
                )
                .await
            }
            _ if self.prefix(&path).is_some() => {
                let (head, body) = request.into_parts();
                let length = match Limited::new(body, LONGEST_BODY).collect().await {
                    Ok(body) => body.to_bytes().len(),
                    Err(e) => {
                        return Answer::Json(
                            StatusCode::BAD_REQUEST,
                            self.with(json!({"error": e.to_string()})),
                        );
                    }
                };
                self.api(&head.method, &path, &head.headers, head.uri.query(), Some(length))
                    .await
            }
            _ => {
                let error = format!("no such path: {path}");
                Answer::Json(
                    StatusCode::NOT_FOUND,
                    self.with(json!({"error": error, "prefixes": self.config.prefixes})),
                )
            }
        }
    }

    /// Adds what every answer has.
    fn with(&self, mut object: Value) -> Value {
        object["service"] = self.config.service.as_str().into();
        object["stand-in"] = true.into();
        object
    }

    async fn ready(&self) -> Answer {
        let states = self.board.states().await;
        let without = board::missing(&states);
        let ready = board::ready(&states);
        let (code, phrase) = match (ready, without.is_empty()) {
            (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            (true, false) => (StatusCode::OK, "ready, with less"),
            (true, true) => (StatusCode::OK, "ready"),
        };
        Answer::Json(
            code,
            self.with(
                json!({"status": phrase, "ready": ready, "runsWithout": without, "dependencies": *states}),
            ),
        )
    }

    async fn info(&self) -> Answer {
        let states = self.board.states().await;
        let info = json!({
            "version": self.config.version,
            "language": self.config.language,
            "agent": env!("CARGO_PKG_VERSION"),
            "prefixes": self.config.prefixes,
            "startedAt": crate::agent::log::rfc3339(self.started.1),
            "uptimeSeconds": self.started.0.elapsed().as_secs(),
            "ready": board::ready(&states),
            "runsWithout": board::missing(&states),
            "dependencies": *states,
            "note": "vadev-agent stands in for this service: it has neither source in the workspace nor an image",
        });
        Answer::Json(StatusCode::OK, self.with(info))
    }

    /// A path of the service's API: echoes what came, and calls on as deep as asked.
    async fn api(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        query: Option<&str>,
        received: Option<usize>,
    ) -> Answer {
        let depth = fanout::depth(query);
        let mut object = json!({"status": "ok", "method": method.as_str(), "path": path});
        if let Some(received) = received {
            object["receivedBytes"] = received.into();
        }
        let mut code = StatusCode::OK;
        if depth > 0 {
            let calls = fanout::call(&self.config.dependencies, headers, depth).await;
            if calls.iter().any(fanout::Call::failed) {
                code = StatusCode::BAD_GATEWAY;
                object["status"] = "a call failed".into();
            }
            object["calls"] = json!(calls);
        }
        Answer::Json(code, self.with(object))
    }

    async fn fault(&self, request: Request<Incoming>) -> Answer {
        let outcome = match *request.method() {
            Method::GET => Ok(()),
            Method::DELETE => {
                self.faults.clear();
                Ok(())
            }
            Method::POST => match Limited::new(request.into_body(), 4096).collect().await {
                Err(e) => Err(e.to_string()),
                Ok(body) => parse(&body.to_bytes()).and_then(|fault| self.faults.add(fault)),
            },
            _ => Err("GET, POST or DELETE".into()),
        };
        match outcome {
            Ok(()) => Answer::Json(StatusCode::OK, self.with(json!({"faults": self.faults.list()}))),
            Err(error) => Answer::Json(StatusCode::BAD_REQUEST, self.with(json!({"error": error}))),
        }
    }
}

fn parse(body: &Bytes) -> Result<super::fault::Fault, String> {
    serde_json::from_slice(body).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_answered_where_the_service_has_them() {
        let with = |variables: &[(&str, &str)]| {
            let find = |name: &str| {
                let mut found = variables.iter().filter(|(known, _)| *known == name);
                found.next().map(|(_, value)| (*value).to_owned())
            };
            Service::new(Config::parse(&find, None).unwrap())
        };
        let own = with(&[
            ("VADEV_SERVICE", "cart"),
            ("VADEV_PREFIXES", "/api/v1/cart"),
            ("VADEV_LIVENESS", "/api/v1/cart/hz"),
            ("VADEV_READINESS", "/rz"),
        ]);
        assert_eq!(own.meant("/api/v1/cart/hz"), "/health");
        assert_eq!(own.route("/api/v1/cart/hz"), "/health");
        assert_eq!(own.meant("/rz"), "/ready");
        assert_eq!(own.meant("/health"), "/health", "its own stays");
        assert_eq!(own.route("/api/v1/cart/1"), "/api/v1/cart");
        assert_eq!(with(&[("VADEV_SERVICE", "a")]).meant("/hz"), "/hz");
    }
}
