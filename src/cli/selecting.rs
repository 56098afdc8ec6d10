//! Flags that choose a part of the platform and its size, the same for every verb that resolves a profile.

use clap::ArgAction;
use clap::builder::FalseyValueParser;
use clap_complete::engine::ArgValueCompleter;

use super::complete;
use crate::catalog::{Bytes, MilliCpu};
use crate::profile::Selection;

/// What is chosen of a profile.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Selecting {
    /// Only these services, with what they need; without any: the whole profile
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    pub services: Vec<String>,
    /// Only these groups, systems or services, sized as in the whole profile
    #[arg(long, value_name = "NAME", env = "VADEV_ONLY", hide_env = true, value_delimiter = ',',
          add = ArgValueCompleter::new(complete::components), help_heading = "What and how large")]
    pub only: Vec<String>,
    /// Leave the mesh as it is
    #[arg(long, env = "VADEV_SKIP_ISTIO", hide_env = true, action = ArgAction::SetTrue,
          value_parser = FalseyValueParser::new(), help_heading = "What and how large")]
    pub skip_istio: bool,
    /// Leave databases and other systems as they are
    #[arg(long, env = "VADEV_SKIP_INFRA", hide_env = true, action = ArgAction::SetTrue,
          value_parser = FalseyValueParser::new(), help_heading = "What and how large")]
    pub skip_infra: bool,
    #[command(flatten)]
    pub size: Size,
}

/// How large a profile is to be.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Size {
    /// Replace one figure, for instance agent-engine.replicas=2
    #[arg(long, value_name = "NAME.FIELD=VALUE", help_heading = "What and how large")]
    pub set: Vec<String>,
    /// Most CPU that the cluster may take, for instance 2 or 1500m
    #[arg(long, value_name = "CPU", env = "VADEV_CPUS", hide_env = true, value_parser = cpu, allow_negative_numbers = true, help_heading = "What and how large")]
    pub cpus: Option<MilliCpu>,
    /// Most memory that the cluster may take, for instance 6Gi
    #[arg(long, value_name = "BYTES", env = "VADEV_MEMORY", hide_env = true, value_parser = memory, allow_negative_numbers = true, help_heading = "What and how large")]
    pub memory: Option<Bytes>,
}

fn cpu(text: &str) -> Result<MilliCpu, String> {
    MilliCpu::stated(text)
}

fn memory(text: &str) -> Result<Bytes, String> {
    Bytes::stated(text)
}

impl Selecting {
    /// As the profile room wants it.
    pub fn selection(&self) -> Selection {
        Selection {
            services: self.services.clone(),
            only: self.only.clone(),
            skip_istio: self.skip_istio,
            skip_infra: self.skip_infra,
            ..self.size.selection()
        }
    }
}

impl Size {
    /// The whole profile in this size.
    pub fn selection(&self) -> Selection {
        Selection {
            set: self.set.clone(),
            cpus: self.cpus,
            memory: self.memory,
            ..Selection::default()
        }
    }
}
