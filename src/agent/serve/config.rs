//! What the stand-in is told: variables from the container's environment, over a JSON file mounted from a ConfigMap.

/// A variable or the file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A needed variable is missing.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A variable has a value that makes no sense.
    #[error("{name}={value:?}: {why}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The stand-in's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The service stood in for.
    pub service: String,
    /// TCP port, on all addresses.
    pub port: u16,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: super::Environment<'_>) -> Result<Self, Error> {
        let service = environment("VADEV_SERVICE").ok_or(Error::Missing("VADEV_SERVICE"))?;
        let port = match environment("VADEV_PORT") {
            None => 8080,
            Some(value) => value
                .parse()
                .map_err(|e: std::num::ParseIntError| Error::Invalid {
                    name: "VADEV_PORT",
                    value,
                    why: e.to_string(),
                })?,
        };
        Ok(Self { service, port })
    }
}
