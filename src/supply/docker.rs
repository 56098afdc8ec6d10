//! The connection to the Docker engine: `DOCKER_HOST`, else the current Docker context (which the client library does
//! not know of), else the default socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use sha2::{Digest, Sha256};

pub use crate::agent::digest::to_hex as hex;
use crate::failure::{Diagnose, Family};

/// Where the engine listens when nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";

/// Seconds a single request may take. Committing or exporting a node image takes minutes; what must answer quickly has
/// a deadline of its own.
const REQUEST_SECONDS: u64 = 3600;
/// How long the engine may take to say its version.
const GREETING: Duration = Duration::from_secs(30);

/// An archive that holds one file: what the engine takes where it is given files.
///
/// # Errors
/// The name is too long for an archive.
pub fn archive_of(name: &str, mode: u32, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content)?;
    archive.into_inner()
}

/// Why there is no engine to talk to.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// Nobody answers.
    #[error("the Docker engine at {host} does not answer: {reason}")]
    Unreachable {
        /// The address tried.
        host: String,
        /// Why.
        reason: String,
    },
    /// The Docker context that is set as the current one is unusable.
    #[error("Docker context `{context}` cannot be used: {reason}")]
    Context {
        /// Its name.
        context: String,
        /// Why.
        reason: String,
    },
}

impl Diagnose for DockerError {
    fn family(&self) -> Family {
        Family::Environment
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            // Only that one is vadev's to install and start.
            Self::Unreachable { host, .. } if host == DEFAULT_SOCKET && cfg!(target_os = "linux") => {
                "vadev doctor --fix".to_owned()
            }
            Self::Unreachable { .. } => {
                "start Docker, or choose another engine with `docker context use` or DOCKER_HOST".to_owned()
            }
            Self::Context { .. } => "docker context use default, or set DOCKER_HOST".to_owned(),
        })
    }
}

/// Where the engine is, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix:///…`, `tcp://…`.
    pub host: String,
    /// Folder with `ca.pem`, `cert.pem`, `key.pem` where the context brings its own certificates.
    pub tls: Option<PathBuf>,
    /// `DOCKER_HOST`, `context NAME` or `default`.
    pub origin: String,
}

/// Connects to the engine that the `docker` command would use, and agrees on the API version.
pub async fn connect() -> Result<Docker, DockerError> {
    let endpoint = endpoint()?;
    let unreachable = |reason: String| DockerError::Unreachable {
        host: endpoint.host.clone(),
        reason,
    };
    let docker = open(&endpoint).map_err(|error| unreachable(error.to_string()))?;
    match tokio::time::timeout(GREETING, docker.negotiate_version()).await {
        Ok(Ok(docker)) => Ok(docker),
        Ok(Err(error)) => Err(unreachable(reason(&error))),
        Err(_) => Err(unreachable(format!("no answer within {} s", GREETING.as_secs()))),
    }
}

/// Where the `docker` command would look for the engine.
pub fn endpoint() -> Result<Endpoint, DockerError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(host) = variable("DOCKER_HOST") {
        return Ok(Endpoint {
            host,
            tls: None,
            origin: "DOCKER_HOST".to_owned(),
        });
    }
    let folder = variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| etcetera::home_dir().ok().map(|home| home.join(".docker")));
    match folder {
        Some(folder) => from_context(&folder, variable("DOCKER_CONTEXT")),
        None => Ok(default_endpoint()),
    }
}

fn default_endpoint() -> Endpoint {
    Endpoint {
        host: DEFAULT_SOCKET.to_owned(),
        tls: None,
        origin: "default".to_owned(),
    }
}

/// Reads the current context out of Docker's configuration folder.
fn from_context(folder: &Path, chosen: Option<String>) -> Result<Endpoint, DockerError> {
    let current = chosen.or_else(|| {
        let text = std::fs::read(folder.join("config.json")).ok()?;
        let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(config.get("currentContext")?.as_str()?.to_owned())
    });
    let Some(context) = current.filter(|name| !name.is_empty() && name != "default") else {
        return Ok(default_endpoint());
    };
    let bad = |reason: String| DockerError::Context {
        context: context.clone(),
        reason,
    };
    // Docker files a context under the digest of its name.
    let id = hex(&Sha256::digest(context.as_bytes()));
    let meta = folder.join("contexts/meta").join(&id).join("meta.json");
    let text = std::fs::read(&meta).map_err(|error| bad(format!("{}: {error}", meta.display())))?;
    let meta: serde_json::Value = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let host = meta
        .pointer("/Endpoints/docker/Host")
        .and_then(serde_json::Value::as_str);
    let host = host
        .ok_or_else(|| bad("it names no Docker host".to_owned()))?
        .to_owned();
    if host.starts_with("ssh://") {
        return Err(bad(format!(
            "{host}: engines behind SSH are not supported, vadev needs a local one"
        )));
    }
    let tls = Some(folder.join("contexts/tls").join(&id).join("docker")).filter(|folder| folder.is_dir());
    Ok(Endpoint {
        host,
        tls,
        origin: format!("context {context}"),
    })
}

fn open(endpoint: &Endpoint) -> Result<Docker, bollard::errors::Error> {
    let host = endpoint.host.as_str();
    if let Some(tls) = &endpoint.tls {
        let file = |name: &str| tls.join(name);
        let (key, cert, ca) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
        return Docker::connect_with_ssl(host, &key, &cert, &ca, REQUEST_SECONDS, API_DEFAULT_VERSION);
    }
    if host.starts_with("unix://") {
        return Docker::connect_with_unix(host, REQUEST_SECONDS, API_DEFAULT_VERSION);
    }
    let tls = std::env::var("DOCKER_TLS_VERIFY").is_ok_and(|value| !value.is_empty());
    if host.starts_with("tcp://") && !tls {
        return Docker::connect_with_http(host, REQUEST_SECONDS, API_DEFAULT_VERSION);
    }
    Docker::connect_with_host(host)
}

/// A client error with its causes: the outermost one alone says little (`client error (Connect)`).
pub fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let line = inner.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_usual_engine_is_the_doctors_to_mend() {
        let hint = |host: &str| {
            let host = host.to_owned();
            let reason = "refused".to_owned();
            DockerError::Unreachable { host, reason }.hint().unwrap()
        };
        assert_eq!(hint(DEFAULT_SOCKET), "vadev doctor --fix");
        assert!(hint("tcp://far:2375").contains("DOCKER_HOST"));
    }

    #[test]
    fn the_current_context_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        assert_eq!(from_context(folder.path(), None).unwrap().host, DEFAULT_SOCKET);

        std::fs::write(at("config.json"), r#"{"currentContext":"lab"}"#).unwrap();
        assert!(matches!(
            from_context(folder.path(), None),
            Err(DockerError::Context { .. })
        ));

        let id = hex(&Sha256::digest(b"lab"));
        std::fs::create_dir_all(at(&format!("contexts/meta/{id}"))).unwrap();
        let meta = r#"{"Name":"lab","Endpoints":{"docker":{"Host":"tcp://lab:2376"}}}"#;
        std::fs::write(at(&format!("contexts/meta/{id}/meta.json")), meta).unwrap();
        let endpoint = from_context(folder.path(), None).unwrap();
        assert_eq!(
            (endpoint.host.as_str(), endpoint.origin.as_str()),
            ("tcp://lab:2376", "context lab")
        );
        assert_eq!(
            from_context(folder.path(), Some("default".into())).unwrap().host,
            DEFAULT_SOCKET
        );
    }
}
