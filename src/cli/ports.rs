//! What is fixed when a cluster is made, its ports on this machine and its nodes, and the profile that `up` took last. Chosen
//! once by flags, then remembered in the state folder, so that later commands need no flags to find it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Family, Plain};
use crate::profile::Stack;

/// The file in the state folder.
const FILE: &str = "cluster.json";

/// Flags for the shape of the cluster.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Ports {
    /// Port on 127.0.0.1 for http; default: 8080, or what the cluster has
    #[arg(long, value_name = "PORT", env = "VADEV_HTTP_PORT", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..), help_heading = "Cluster")]
    http_port: Option<u16>,
    /// Port on 127.0.0.1 for https; default: 8443, or what the cluster has
    #[arg(long, value_name = "PORT", env = "VADEV_HTTPS_PORT", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..), help_heading = "Cluster")]
    https_port: Option<u16>,
}

/// A cluster's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shape {
    /// Port on 127.0.0.1 for http.
    pub http_port: u16,
    /// Port on 127.0.0.1 for https.
    pub https_port: u16,
    /// Nodes, the control plane among them.
    pub nodes: u32,
    /// The profile that the last `up` took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What of it was asked for so far; `None` for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<BTreeSet<String>>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            http_port: 8080,
            https_port: 8443,
            nodes: 1,
            profile: None,
            part: None,
        }
    }
}

impl Ports {
    /// The flags over what `state` remembers over the defaults.
    pub fn shape(self, nodes: Option<u32>, state: &Path) -> Result<Shape, Failure> {
        let kept = Shape::remembered(state)?.unwrap_or_default();
        let shape = Shape {
            http_port: self.http_port.unwrap_or(kept.http_port),
            https_port: self.https_port.unwrap_or(kept.https_port),
            nodes: nodes.unwrap_or(kept.nodes),
            profile: kept.profile,
            part: kept.part,
        };
        if shape.http_port == shape.https_port {
            let message = format!("http and https cannot both have port {}", shape.http_port);
            return Err(Plain::new(Family::Usage, message)
                .with_hint("give --https-port another number")
                .into());
        }
        Ok(shape)
    }
}

impl Shape {
    /// What an earlier `up` chose; `None` where there was none.
    pub fn remembered(state: &Path) -> Result<Option<Self>, Failure> {
        let file = state.join(FILE);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| trouble("read", &file, &error))?,
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| trouble("understand", &file, &error))
    }

    /// Notes what an `up` brings. `beside`: what is remembered of the platform that it joins, where there is one. A part
    /// widens what was asked for before, and never narrows it.
    pub fn brings(&mut self, stack: &Stack, beside: Option<&Self>) {
        self.profile = Some(stack.profile.clone());
        self.part = stack
            .partial
            .then(|| stack.component_names().map(str::to_owned).collect());
        if let (Some(part), Some(beside)) = (&mut self.part, beside) {
            match &beside.part {
                Some(before) => part.extend(before.iter().cloned()),
                None => self.part = None,
            }
        }
    }

    /// Notes that of the platform only the components of these names are left.
    pub fn leaves(state: &Path, names: BTreeSet<String>) -> Result<(), Failure> {
        let Some(kept) = Self::remembered(state)? else {
            return Ok(());
        };
        let part = Some(names);
        Self { part, ..kept }.remember(state)
    }

    /// Refuses other ports or nodes than those of the cluster that is there: nothing can change them.
    pub fn must_be(&self, kept: &Self, cluster: &str) -> Result<(), Failure> {
        let same =
            (self.http_port, self.https_port, self.nodes) == (kept.http_port, kept.https_port, kept.nodes);
        if same {
            return Ok(());
        }
        let (http, https, nodes) = (kept.http_port, kept.https_port, kept.nodes);
        let message =
            format!("the cluster {cluster} has the ports {http} and {https} and {nodes} node(s), for good");
        Err(Plain::new(Family::Refused, message)
            .with_hint("leave the flags out to use it as it is; to make it again: vadev down, then vadev up")
            .into())
    }

    /// Remembers it for later commands. Whole or not at all, also when the process is killed.
    pub fn remember(&self, state: &Path) -> Result<(), Failure> {
        let file = state.join(FILE);
        let write = || -> io::Result<()> {
            let mut draft = tempfile::NamedTempFile::new_in(state)?;
            io::Write::write_all(&mut draft, &serde_json::to_vec(self)?)?;
            draft.persist(&file)?;
            Ok(())
        };
        write().map_err(|error| trouble("write", &file, &error))
    }
}

fn trouble(action: &str, file: &Path, error: &dyn std::error::Error) -> Failure {
    Plain::new(
        Family::Environment,
        format!("cannot {action} {}: {error}", file.display()),
    )
    .with_hint("check its permissions, or remove it and give --http-port and --https-port again")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_widens_what_was_asked_for_and_never_narrows_it() {
        use crate::profile::{Selection, Sources, load_all, resolve};
        let loaded = load_all(&Sources::default(), "test").unwrap();
        let stack = |services: &[&str]| {
            let selection = Selection {
                services: services.iter().map(|name| (*name).to_owned()).collect(),
                ..Selection::default()
            };
            resolve(
                &loaded.catalog,
                &loaded.profiles["dev"],
                &loaded.workspace,
                &selection,
                None,
            )
            .unwrap()
        };
        let brought = |services: &[&str], beside: Option<&Shape>| {
            let mut shape = Shape::default();
            shape.brings(&stack(services), beside);
            shape
        };
        let first = brought(&["model-adapter"], None);
        let names = |shape: &Shape| {
            shape
                .part
                .clone()
                .map(|part| part.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(
            names(&first).unwrap(),
            ["istio", "model-adapter", "redis"],
            "a service with what it needs"
        );
        let second = brought(&["vector-store-adapter"], Some(&first));
        assert_eq!(
            names(&second).unwrap(),
            [
                "istio",
                "milvus",
                "model-adapter",
                "redis",
                "vector-store-adapter"
            ]
        );
        let whole = brought(&[], Some(&second));
        assert_eq!(
            (names(&whole), whole.profile.as_deref()),
            (None, Some("dev")),
            "all of it"
        );
        assert_eq!(names(&brought(&["model-adapter"], Some(&whole))), None);
    }

    #[test]
    fn flags_over_memory_over_defaults() {
        let state = tempfile::tempdir().unwrap();
        let none = Ports::default();
        assert_eq!(none.shape(None, state.path()).unwrap(), Shape::default());
        let chosen = Ports {
            http_port: Some(9080),
            https_port: None,
        };
        chosen
            .shape(Some(3), state.path())
            .unwrap()
            .remember(state.path())
            .unwrap();
        let later = none.shape(None, state.path()).unwrap();
        assert_eq!(
            later,
            Shape {
                http_port: 9080,
                https_port: 8443,
                nodes: 3,
                ..Shape::default()
            }
        );
        let default = Shape::default();
        assert!(
            default
                .must_be(
                    &Shape {
                        profile: Some("dev".into()),
                        ..default.clone()
                    },
                    "c"
                )
                .is_ok()
        );
        assert_eq!(
            default.must_be(&later, "c").unwrap_err().family(),
            Family::Refused
        );
        let same = Ports {
            http_port: Some(8443),
            https_port: None,
        };
        assert_eq!(
            same.shape(None, state.path()).unwrap_err().family(),
            Family::Usage
        );
        fs::write(state.path().join(FILE), "{").unwrap();
        assert!(none.shape(None, state.path()).unwrap_err().hint().is_some());
    }
}
