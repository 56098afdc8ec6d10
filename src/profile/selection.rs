//! What the command line asks for on top of a profile, and the errors in asking.

use super::profile::{AmountOverride, Override};
use crate::catalog::problem::nearest;
use crate::catalog::semantic::apart;
use crate::catalog::text::{CONFIG_KEY, IMAGE, is_config_key, is_image};
use crate::catalog::{Bytes, Catalog, MilliCpu};
use crate::failure::{Diagnose, Family};

/// The command line's wishes. `Default` is the whole profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these services and what they need (`up SERVICE…`).
    pub services: Vec<String>,
    /// Only these groups, systems or services, as they are in the whole profile (`--only`).
    pub only: Vec<String>,
    /// Without the mesh.
    pub skip_istio: bool,
    /// Without systems, which are taken to be there already.
    pub skip_infra: bool,
    /// `name.field=value`.
    pub set: Vec<String>,
    /// Replaces the budget's CPU.
    pub cpus: Option<MilliCpu>,
    /// Replaces the budget's memory.
    pub memory: Option<Bytes>,
}

impl Selection {
    /// The same wish for everything of the profile.
    #[must_use]
    pub fn widened(&self) -> Self {
        Self {
            services: Vec::new(),
            only: Vec::new(),
            skip_infra: false,
            ..self.clone()
        }
    }
    /// Whether components that are running now are to be left alone although the stack lacks them.
    pub fn is_partial(&self) -> bool {
        !self.services.is_empty() || !self.only.is_empty() || self.skip_istio || self.skip_infra
    }
}

/// A wish that cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No such service, system, workload or group.
    #[error("no {expected} is called `{name}`")]
    Unknown {
        /// What was looked for.
        expected: &'static str,
        /// What was asked for.
        name: String,
        /// The most similar name.
        nearest: Option<String>,
        /// Every name there is.
        known: Vec<String>,
    },
    /// The profile leaves it out.
    #[error("the profile `{profile}` leaves out `{name}`")]
    NotInProfile {
        /// The profile.
        profile: String,
        /// The component.
        name: String,
    },
    /// `--only` names what another flag leaves out.
    #[error("`--only {name}`: {by} leaves it out")]
    Contradicted {
        /// The component.
        name: String,
        /// The flag.
        by: String,
    },
    /// More than one replica of a system that runs once.
    #[error("{}", apart(name, *replicas))]
    RunsOnce {
        /// The system or workload.
        name: String,
        /// As many were asked for.
        replicas: u32,
    },
    /// A service of production without replicas.
    #[error("`{name}` has 0 replicas, and in production a service has at least one")]
    Stopped {
        /// The service.
        name: String,
    },
    /// `--set` in a form that is not understood.
    #[error("`--set {text}`: {why}")]
    Set {
        /// As typed.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ResolveError {
    /// An unknown name, with the most similar one looked up.
    pub fn unknown<'a>(expected: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        known.dedup();
        Self::Unknown {
            expected,
            name: name.to_owned(),
            nearest: nearest(name, known.iter().copied()).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl Diagnose for ResolveError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::Unknown { known, .. } => format!("there are: {}", known.join(", ")),
            Self::Contradicted { .. } => "leave one of the two away".to_owned(),
            Self::NotInProfile { .. } => "take a profile that has it: vadev profile list".to_owned(),
            Self::RunsOnce { .. } => "it runs once: one replica, or 0 to have none for a while".to_owned(),
            Self::Stopped { name } => format!(
                "give it 1 or more with --set {name}.replicas=1 or under `overrides` in the environment file, or take a \
                 profile without it"
            ),
            Self::Set { .. } => "for instance --set agent-engine.replicas=2, --set nacos.limits.memory=1Gi, \
                                 --set agent-engine.config.LOG_LEVEL=debug"
                .to_owned(),
        })
    }
    fn family(&self) -> Family {
        Family::Usage
    }
}

/// Refuses more than one replica of a system that runs once.
pub fn check_replicas(catalog: &Catalog, name: &str, replicas: Option<u32>) -> Result<(), ResolveError> {
    match replicas {
        Some(replicas) if replicas > 1 && catalog.unreplicable(name).is_some() => {
            Err(ResolveError::RunsOnce {
                name: name.to_owned(),
                replicas,
            })
        }
        _ => Ok(()),
    }
}

/// Reads one `--set`: the component's name and what it replaces.
pub fn parse_set(text: &str) -> Result<(String, Override), ResolveError> {
    let wrong = |why: String| ResolveError::Set {
        text: text.to_owned(),
        why,
    };
    let (path, value) = text
        .split_once('=')
        .ok_or_else(|| wrong("a `=` is missing".to_owned()))?;
    let (name, field) = path
        .split_once('.')
        .ok_or_else(|| wrong("a `.` is missing between name and field".to_owned()))?;
    let mut change = Override::default();
    if let Some(key) = field.strip_prefix("config.") {
        if !is_config_key(key) {
            return Err(wrong(format!("`{key}` {CONFIG_KEY}")));
        }
        change.config.insert(key.to_owned(), value.to_owned());
        return Ok((name.to_owned(), change));
    }
    match field {
        "replicas" => {
            let replicas = value.parse().ok().filter(|n| *n <= 50);
            change.replicas =
                Some(replicas.ok_or_else(|| wrong(format!("`{value}` is no number from 0 to 50")))?);
        }
        "image" if is_image(value) => change.image = Some(value.to_owned()),
        "image" => return Err(wrong(format!("`{value}` {IMAGE}"))),
        "requests.cpu" | "requests.memory" => {
            change.resources.requests = amount(field, value).map_err(wrong)?;
        }
        "limits.cpu" | "limits.memory" => change.resources.limits = amount(field, value).map_err(wrong)?,
        _ => {
            let fields = [
                "replicas",
                "image",
                "requests.cpu",
                "requests.memory",
                "limits.cpu",
                "limits.memory",
                "config.KEY",
            ];
            return Err(wrong(format!("`{field}` is not one of {}", fields.join(", "))));
        }
    }
    Ok((name.to_owned(), change))
}

fn amount(field: &str, value: &str) -> Result<AmountOverride, String> {
    let mut amount = AmountOverride::default();
    if matches!(field, "requests.cpu" | "limits.cpu") {
        amount.cpu = Some(MilliCpu::stated(value)?);
    } else {
        amount.memory = Some(Bytes::stated(value)?);
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_reads_every_field_it_names() {
        let (name, change) = parse_set("agent-engine.replicas=2").expect("replicas");
        assert_eq!((name.as_str(), change.replicas), ("agent-engine", Some(2)));
        let (_, change) = parse_set("nacos.limits.memory=1Gi").expect("memory");
        assert_eq!(change.resources.limits.memory, Some(Bytes::mib(1024)));
        let (_, change) = parse_set("x.config.URL=a=b").expect("config");
        assert_eq!(change.config["URL"], "a=b");
        for wrong in [
            "x",
            "x=1",
            "x.replicas=two",
            "x.replicas=51",
            "x.limits.memory=1.5Gi",
            "x.colour=red",
            "x.limits.memory=24",
            "x.image=",
            "x.image=Team/name",
            "x.config.a b=c",
            "",
        ] {
            assert!(parse_set(wrong).is_err(), "{wrong}");
        }
    }
}
