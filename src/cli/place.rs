//! From `--context` and `--namespace-prefix` to the cluster that is meant.

use std::path::{Path, PathBuf};

use super::Context;
use crate::cluster::{find_context, user_kubeconfigs};
use crate::engine::{Existing, Place};
use crate::failure::{Failure, Family, Plain};
use crate::k8s::Target;

/// The heading of those flags. (`next_help_heading` would go on over the flags of the verb that has these.)
const ANOTHER: &str = "Another cluster (--context)";

/// Flags for a cluster that is not vadev's own, for verbs that bring something to it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Elsewhere {
    /// Where images go that no registry has, for instance registry.example.com/team; default: what the cluster announces
    #[arg(long, value_name = "HOST/PATH", env = "VADEV_REGISTRY", hide_env = true,
          help_heading = ANOTHER)]
    pub registry: Option<String>,
    /// Install Istio where the cluster has none
    #[arg(long, action = clap::ArgAction::SetTrue, env = "VADEV_INSTALL_ISTIO", hide_env = true,
          value_parser = clap::builder::FalseyValueParser::new(), help_heading = ANOTHER)]
    pub install_istio: bool,
}

impl Context {
    /// The cluster that the global flags mean.
    pub(super) fn place(&self, elsewhere: &Elsewhere, workspace: &str) -> Result<Place, Failure> {
        let globals = self.globals();
        let own = format!("kind-vadev-{workspace}");
        let Some(name) = globals.context.as_deref().filter(|name| *name != own) else {
            if globals.namespace_prefix.is_some() {
                return Err(Plain::new(
                    Family::Usage,
                    "--namespace-prefix is for clusters that are shared",
                )
                .with_hint("name the cluster: --context NAME")
                .into());
            }
            return Ok(Place::Own);
        };
        Ok(Place::Existing(Existing {
            target: foreign(name)?,
            registry: elsewhere.registry.clone(),
            install_istio: elsewhere.install_istio,
        }))
    }

    /// Where vadev keeps what it knows of a platform in that cluster.
    pub(super) fn state_of(&self, place: &Place, workspace_state: &Path) -> PathBuf {
        let Some(existing) = place.existing() else {
            return workspace_state.to_owned();
        };
        let prefix = self.globals().namespace_prefix.as_deref();
        let name = prefix.map_or_else(
            || existing.target.context.clone(),
            |prefix| format!("{}.{prefix}", existing.target.context),
        );
        workspace_state.join("contexts").join(file_name(&name))
    }
}

/// A context of the user's own kubeconfig.
pub fn foreign(name: &str) -> Result<Target, Failure> {
    let home = etcetera::home_dir().map_err(|error| {
        Plain::new(
            Family::Environment,
            format!("can't tell the home folder: {error}"),
        )
        .with_hint("set KUBECONFIG to the file that has the context")
    })?;
    let files = user_kubeconfigs(std::env::var_os("KUBECONFIG").as_deref(), &home);
    Ok(find_context(&files, name)?)
}

/// Contexts of clouds have slashes and colons in their names.
fn file_name(context: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    context.chars().map(plain).collect()
}

/// A prefix of namespaces: what Kubernetes allows at their beginning.
pub fn prefix(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && text.len() <= 20 && text.chars().all(allowed) && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err("1 to 20 lower-case letters, digits and dashes, with a letter or digit at both ends".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_file_names() {
        assert_eq!(prefix("alice"), Ok("alice".to_owned()));
        assert!(
            ["", "-a", "a-", "Alice", "a.b"]
                .into_iter()
                .all(|text| prefix(text).is_err())
        );
        assert_eq!(file_name("arn:aws:eks/prod"), "arn-aws-eks-prod");
    }
}
