//! The Kubernetes and Istio that a tree is for. Everything rendered is understood by the oldest supported ones unless a
//! newer target is named; what the target lacks is left out with a word.

use std::fmt;

use serde::Serialize;

use crate::failure::{Diagnose, Family};
use crate::render::mesh::IstioApi;

/// Major and minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub struct Version {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

/// The oldest supported Kubernetes.
pub const OLDEST_KUBERNETES: Version = Version { major: 1, minor: 25 };
/// The oldest supported Istio.
pub const OLDEST_ISTIO: Version = Version { major: 1, minor: 19 };

impl Version {
    /// Reads `1.25`, `v1.25` or `1.25.4`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no version such as 1.25");
        let mut parts = text.trim_start_matches('v').split('.').map(|part| {
            let digits = part
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or_default();
            digits.parse::<u32>()
        });
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(wrong()),
        }
    }

    const fn is(self, minor: u32) -> bool {
        self.major > 1 || self.minor >= minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The newest Kubernetes that this vadev knows.
pub const NEWEST_KUBERNETES: Version = Version { major: 1, minor: 37 };
/// The newest Istio that this vadev knows.
pub const NEWEST_ISTIO: Version = Version { major: 1, minor: 33 };

/// A target outside of what is supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// Below it.
    #[error("{what} {version} is older than {oldest}, the oldest that the platform runs on")]
    TooOld {
        /// Kubernetes or Istio.
        what: &'static str,
        /// The version asked for.
        version: Version,
        /// The oldest supported.
        oldest: Version,
    },
    /// Above it.
    #[error("{what} {version} is unknown: {newest} is the newest that this vadev knows")]
    Unknown {
        /// Kubernetes or Istio.
        what: &'static str,
        /// The version asked for.
        version: Version,
        /// The newest known.
        newest: Version,
    },
}

impl Diagnose for NoTarget {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooOld { oldest, .. } => format!("upgrade it to {oldest} or later first"),
            Self::Unknown { newest, .. } => format!("name {newest}: a later one takes its tree too"),
        })
    }
    fn family(&self) -> Family {
        Family::Refused
    }
}

/// What a tree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Target {
    /// Kubernetes.
    pub kubernetes: Version,
    /// Istio.
    pub istio: Version,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            kubernetes: OLDEST_KUBERNETES,
            istio: OLDEST_ISTIO,
        }
    }
}

impl Target {
    /// A target, refused where it is too old or not known.
    pub fn new(kubernetes: Version, istio: Version) -> Result<Self, NoTarget> {
        for (what, version, oldest, newest) in [
            ("Kubernetes", kubernetes, OLDEST_KUBERNETES, NEWEST_KUBERNETES),
            ("Istio", istio, OLDEST_ISTIO, NEWEST_ISTIO),
        ] {
            if version < oldest {
                return Err(NoTarget::TooOld {
                    what,
                    version,
                    oldest,
                });
            }
            if version > newest {
                return Err(NoTarget::Unknown {
                    what,
                    version,
                    newest,
                });
            }
        }
        Ok(Self { kubernetes, istio })
    }

    /// API versions of Istio's kinds: `v1` came with 1.22.
    pub const fn istio_api(&self) -> IstioApi {
        if self.istio.is(22) {
            IstioApi::V1
        } else {
            IstioApi::V1Beta1
        }
    }

    /// Spreading may count each revision of a Deployment for itself (`matchLabelKeys`, on by default from 1.27).
    pub const fn spreads_by_revision(&self) -> bool {
        self.kubernetes.is(27)
    }

    /// A disruption budget may let go of pods that never became healthy (`unhealthyPodEvictionPolicy`, 1.27).
    pub const fn evicts_unhealthy(&self) -> bool {
        self.kubernetes.is(27)
    }

    /// Autoscaling may look at the service's container without its sidecar (`ContainerResource`, stable in 1.30).
    pub const fn scales_by_container(&self) -> bool {
        self.kubernetes.is(30)
    }

    /// What was left out because the target lacks it, for people; of Istio only where the platform is `meshed`.
    pub fn notes(&self, meshed: bool) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |has: bool, text: &str| {
            if !has {
                notes.push(text.to_owned());
            }
        };
        note(
            self.spreads_by_revision(),
            "Kubernetes before 1.27 spreads old and new pods of a rollout together: matchLabelKeys is left out",
        );
        note(
            self.evicts_unhealthy(),
            "Kubernetes before 1.27 keeps unhealthy pods on nodes that are drained: unhealthyPodEvictionPolicy is left out",
        );
        note(
            self.scales_by_container(),
            "Kubernetes before 1.30 autoscales by the whole pod, its sidecar included: ContainerResource metrics are left out",
        );
        note(
            !meshed || self.istio_api() == IstioApi::V1,
            "Istio before 1.22 has no v1 of its kinds: v1beta1 is used, which later ones still serve",
        );
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_clusters_tell_them_and_old_ones_refused() {
        assert_eq!(Version::parse("v1.34.4"), Ok(Version { major: 1, minor: 34 }));
        assert_eq!(Version::parse("1.27+"), Ok(Version { major: 1, minor: 27 }));
        assert!(Version::parse("one").is_err() && Version::parse("1").is_err());
        let old = Target::new(Version { major: 1, minor: 24 }, OLDEST_ISTIO).expect_err("too old");
        assert!(old.to_string().contains("Kubernetes 1.24 is older than 1.25"));
        for unknown in [Version { major: 2, minor: 0 }, Version { major: 99, minor: 1 }] {
            let told = Target::new(unknown, OLDEST_ISTIO).expect_err("unknown");
            assert!(
                told.to_string().contains("is unknown: 1.37 is the newest"),
                "{told}"
            );
            assert!(Target::new(OLDEST_KUBERNETES, unknown).is_err());
        }
        assert_eq!(Target::default().notes(true).len(), 4);
        assert_eq!(Target::default().notes(false).len(), 3);
        let newest =
            Target::new(Version { major: 1, minor: 34 }, Version { major: 1, minor: 31 }).expect("supported");
        assert!(newest.notes(true).is_empty());
    }
}
