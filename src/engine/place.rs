//! Which cluster a platform lives on.

use crate::k8s::Target;

/// Where a platform is brought up.
#[derive(Debug, Clone)]
pub enum Place {
    /// The kind cluster `vadev-<workspace>`: vadev makes it, starts it and deletes it.
    Own,
    /// A cluster that is there already. Nothing of the cluster itself is made, started or deleted.
    Existing(Existing),
}

/// A cluster that vadev was told to use.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Its context in the user's kubeconfig.
    pub target: Target,
    /// Where images go that no registry has, for instance `registry.example.com/team`. Without it the cluster is asked
    /// which registry it announces.
    pub registry: Option<String>,
    /// Whether Istio may be installed where there is none.
    pub install_istio: bool,
}

impl Place {
    /// The cluster that is not vadev's own.
    pub fn existing(&self) -> Option<&Existing> {
        match self {
            Self::Own => None,
            Self::Existing(existing) => Some(existing),
        }
    }

    /// Whether Istio is vadev's to install here.
    pub fn may_install_mesh(&self) -> bool {
        self.existing().is_none_or(|existing| existing.install_istio)
    }
}
