//! What the stand-in is told: variables from the container's environment, over a JSON file mounted from a `ConfigMap`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Environment;

/// A variable or the file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A needed value is missing.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A value makes no sense.
    #[error("{name}: {why} in {value:?}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file named by `VADEV_CONFIG` cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The stand-in's configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// The service stood in for.
    pub service: String,
    /// The language that the real service is written in; shown only.
    pub language: String,
    /// The real service's version; shown only.
    pub version: String,
    /// TCP port, on all addresses.
    pub port: u16,
    /// Path prefixes of the service's API.
    pub prefixes: Vec<String>,
    /// The service's own path of the liveness probe, where that is not `/health`.
    pub liveness: Option<String>,
    /// The same of the readiness probe, where that is none of the paths that every stand-in has.
    pub readiness: Option<String>,
    /// What the service needs, in the order given.
    pub dependencies: Vec<Dependency>,
    /// Whether `POST /_vadev/fault` is served.
    pub faults: bool,
    /// Whether probes and scrapes are logged too.
    pub verbose: bool,
}

/// Something that the service needs: another service or a store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// Its component name.
    pub name: String,
    /// How to find out whether it works.
    pub kind: Kind,
    /// `host:port`, for stores. Without a port the kind's usual one is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The address to ask, for `http`; overrides the usual health path of stores that speak HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Path that a fanned-out request takes at a service; `/api/v1/health` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// User to log in as, where the kind has users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Database to open, where the kind has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The service starts without it.
    #[serde(default)]
    pub optional: bool,
    /// From `VADEV_SECRET_<NAME>`.
    #[serde(skip)]
    pub secret: Option<Secret>,
}

/// The protocol a dependency speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Anything with an HTTP health path.
    Http,
    /// `PostgreSQL`: start-up, and login where a password is given.
    Postgres,
    /// Redis: AUTH where a password is given, then PING.
    Redis,
    /// Nacos: its readiness path.
    Nacos,
    /// Milvus: health path on 9091, and an answer from the gRPC port.
    Milvus,
    /// Kafka: an `ApiVersions` request.
    Kafka,
    /// `ClickHouse`: `/ping`.
    Clickhouse,
    /// Elasticsearch: cluster health not red.
    Elasticsearch,
    /// `MinIO`: `/minio/health/live`.
    Minio,
}

impl Kind {
    /// The name that configuration and output use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Nacos => "nacos",
            Self::Milvus => "milvus",
            Self::Kafka => "kafka",
            Self::Clickhouse => "clickhouse",
            Self::Elasticsearch => "elasticsearch",
            Self::Minio => "minio",
        }
    }

    /// The port that each system documents as its default.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Postgres => 5432,
            Self::Redis => 6379,
            Self::Nacos => 8848,
            Self::Milvus => 19530,
            Self::Kafka => 9092,
            Self::Clickhouse => 8123,
            Self::Elasticsearch => 9200,
            Self::Minio => 9000,
        }
    }
}

/// A password. It is in no output: neither Debug nor Serialize shows it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The password itself, for the wire only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The file's shape; every value in it can be overridden by a variable.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    service: Option<String>,
    language: Option<String>,
    version: Option<String>,
    port: Option<u16>,
    prefixes: Option<Vec<String>>,
    dependencies: Option<Vec<Dependency>>,
}

impl Config {
    /// Reads the file named by `VADEV_CONFIG`, if any, and the variables.
    pub fn read(environment: Environment<'_>) -> Result<Self, Error> {
        let file = match environment("VADEV_CONFIG") {
            None => None,
            Some(path) => {
                Some(std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })?)
            }
        };
        Self::parse(environment, file.as_deref())
    }

    /// The configuration from variables and the file's text.
    pub fn parse(environment: Environment<'_>, file: Option<&str>) -> Result<Self, Error> {
        let file: File = match file {
            Some(text) => json("VADEV_CONFIG", text)?,
            None => File::default(),
        };
        let service = environment("VADEV_SERVICE")
            .or(file.service)
            .ok_or(Error::Missing("VADEV_SERVICE"))?;
        let port = match environment("VADEV_PORT") {
            Some(value) => value
                .parse()
                .map_err(|e: std::num::ParseIntError| Error::Invalid {
                    name: "VADEV_PORT",
                    why: e.to_string(),
                    value,
                })?,
            None => file.port.unwrap_or(8080),
        };
        let prefixes = match environment("VADEV_PREFIXES") {
            Some(list) => list.split(',').map(str::to_owned).collect(),
            None => file.prefixes.unwrap_or_default(),
        };
        let mut dependencies: Vec<Dependency> = match environment("VADEV_DEPENDENCIES") {
            Some(text) if !text.trim().is_empty() => json("VADEV_DEPENDENCIES", &text)?,
            _ => file.dependencies.unwrap_or_default(),
        };
        for dependency in &mut dependencies {
            if dependency.address.is_none() && dependency.url.is_none() {
                let value = dependency.name.clone();
                return Err(Error::Invalid {
                    name: "VADEV_DEPENDENCIES",
                    value,
                    why: "neither address nor url".into(),
                });
            }
            let name = dependency.name.to_uppercase().replace(['-', '.'], "_");
            dependency.secret = environment(&format!("VADEV_SECRET_{name}"))
                .filter(|s| !s.is_empty())
                .map(Secret);
        }
        Ok(Self {
            service,
            language: environment("VADEV_LANGUAGE")
                .or(file.language)
                .unwrap_or_default(),
            version: environment("VADEV_VERSION").or(file.version).unwrap_or_default(),
            port,
            prefixes: prefixes
                .iter()
                .map(|p| p.trim().trim_end_matches('/').to_owned())
                .filter(|p| p.starts_with('/'))
                .collect(),
            liveness: environment("VADEV_LIVENESS"),
            readiness: environment("VADEV_READINESS"),
            dependencies,
            faults: environment("VADEV_FAULTS").is_some_and(|value| value == "1"),
            verbose: environment("LOG_LEVEL").is_some_and(|level| level.eq_ignore_ascii_case("debug")),
        })
    }
}

fn json<T: serde::de::DeserializeOwned>(name: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::Invalid {
        name,
        value: text.to_owned(),
        why: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)], file: Option<&str>) -> Result<Config, Error> {
        let find = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Config::parse(&find, file)
    }

    #[test]
    fn variables_win_over_the_file() {
        let file = r#"{"service": "a", "port": 1, "prefixes": ["/x"]}"#;
        let config = parse(
            &[("VADEV_SERVICE", "b"), ("VADEV_PREFIXES", "/api/v1/, /two")],
            Some(file),
        )
        .unwrap();
        assert_eq!((config.service.as_str(), config.port), ("b", 1));
        assert_eq!(config.prefixes, ["/api/v1", "/two"]);
    }

    #[test]
    fn passwords_are_found_and_never_shown() {
        let list = r#"[{"name": "minio-standalone", "kind": "minio", "address": "m:9000"}]"#;
        let variables = [
            ("VADEV_SERVICE", "a"),
            ("VADEV_DEPENDENCIES", list),
            ("VADEV_SECRET_MINIO_STANDALONE", "hush"),
        ];
        let config = parse(&variables, None).unwrap();
        assert_eq!(
            config.dependencies[0].secret.as_ref().map(Secret::reveal),
            Some("hush")
        );
        assert!(!format!("{config:?}").contains("hush"));
        assert!(!serde_json::to_string(&config).unwrap().contains("hush"));
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(
            parse(&[], None)
                .unwrap_err()
                .to_string()
                .contains("VADEV_SERVICE is not set")
        );
        let unknown = r#"[{"name": "x", "kind": "oracle", "address": "x:1"}]"#;
        let error = parse(&[("VADEV_SERVICE", "a"), ("VADEV_DEPENDENCIES", unknown)], None).unwrap_err();
        assert!(error.to_string().contains("oracle"), "{error}");
    }
}
