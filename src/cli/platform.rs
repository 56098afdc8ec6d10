//! From flags to the rooms with effects: the supply, and the platform on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use super::place::Elsewhere;
use super::ports::Ports;
use super::workspace::Loaded;
use crate::cluster::user_kubeconfig;
use crate::engine::{Place, Platform, PlatformOptions};
use crate::failure::{Failure, Family, Plain};
use crate::profile::{Selection, Stack, resolve};
use crate::supply::{ImageSource, Options, Supply};

/// Where tools and images may come from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Sources {
    /// Where images may come from
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SOURCE",
        env = "VADEV_IMAGE_SOURCE",
        hide_env = true,
        help_heading = "Tools and images"
    )]
    image_source: ImageSource,
    /// A bundle file to take images and tools from
    #[arg(
        long,
        value_name = "FILE",
        env = "VADEV_BUNDLE",
        hide_env = true,
        help_heading = "Tools and images"
    )]
    bundle: Option<PathBuf>,
}

impl Context {
    /// The supply, which asks through this context before it installs anything.
    pub fn supply(&self, sources: &Sources) -> Result<Supply, Failure> {
        if sources.image_source == ImageSource::Bundle && sources.bundle.is_none() {
            return Err(
                Plain::new(Family::Usage, "--image-source bundle needs a bundle file")
                    .with_hint("name it with --bundle FILE; `vadev bundle create FILE` makes one")
                    .into(),
            );
        }
        let asker = self.clone();
        let options = Options {
            source: sources.image_source,
            bundle: sources.bundle.clone(),
            consent: Arc::new(move |question: &str| asker.agrees(question)),
            cache: None,
        };
        Ok(Supply::open(options)?)
    }
}

/// The file that kubectl would write to; `None` for a user without a home.
fn kubeconfig() -> Option<PathBuf> {
    let home = etcetera::home_dir().ok()?;
    Some(user_kubeconfig(std::env::var_os("KUBECONFIG").as_deref(), &home))
}

/// A platform, as the flags of a verb describe it.
#[derive(Debug, Default)]
pub struct Wanted {
    /// What is chosen of the profile.
    pub selection: Selection,
    /// Where tools and images may come from.
    pub sources: Sources,
    /// Ports of the cluster.
    pub ports: Ports,
    /// Nodes of a cluster that has to be made.
    pub nodes: Option<u32>,
    /// For a cluster that is not vadev's own.
    pub elsewhere: Elsewhere,
    /// Without `-p`, take the profile that `up` took last: for verbs that look at what runs.
    pub deployed: bool,
}

impl Context {
    /// The platform of this workspace. Touches no cluster, and Docker only to ask how
    /// large the machine of an engine elsewhere is; writes nothing.
    pub fn platform(&self, wanted: &Wanted) -> Result<Platform, Failure> {
        self.platform_of(self.loaded()?, wanted)
    }

    /// As [`Context::platform`], of a workspace that is not written yet.
    pub fn platform_of(&self, loaded: &Loaded, wanted: &Wanted) -> Result<Platform, Failure> {
        let place = self.place(&wanted.elsewhere, &loaded.workspace.name)?;
        let state = self.state_of(&place, &loaded.state());
        let shape = wanted.ports.shape(wanted.nodes, &state)?;
        // A profile that is gone since then says nothing.
        let last = shape
            .profile
            .as_deref()
            .filter(|last| wanted.deployed && loaded.profiles.contains_key(*last));
        let asked = self.globals().profile.as_deref();
        let profile = loaded.profile(last.filter(|_| asked.is_none()).or(asked))?;
        // Another cluster's size is asked of it where something is brought to it.
        let host = match place {
            Place::Own => self.machine(),
            Place::Existing(_) => None,
        };
        let mut stack = resolve(
            &loaded.catalog,
            profile,
            &loaded.workspace,
            &wanted.selection,
            host,
        )?;
        let mut whole = None;
        if wanted.selection.is_partial() {
            let all = wanted.selection.widened();
            let mut all = resolve(&loaded.catalog, profile, &loaded.workspace, &all, host)?;
            // What an `up` of another profile brought may run beside it too.
            let before = shape.profile.as_deref().filter(|last| *last != profile.name);
            if let Some(before) = before.and_then(|last| loaded.profiles.get(last)) {
                let choice = Selection::default();
                all.absorb(resolve(
                    &loaded.catalog,
                    before,
                    &loaded.workspace,
                    &choice,
                    host,
                )?);
            }
            whole = Some(all);
        } else if let Some(part) = shape
            .part
            .filter(|_| wanted.deployed && shape.profile.as_ref() == Some(&profile.name))
        {
            whole = Some(stack.clone());
            stack.keep(|name| part.contains(name), "`up` was not asked for it");
        }
        if let Some(prefix) = &self.globals().namespace_prefix {
            stack.prefix(prefix);
        }
        let options = PlatformOptions {
            stack,
            root: loaded.root.clone(),
            state,
            http_port: shape.http_port,
            https_port: shape.https_port,
            nodes: shape.nodes,
            kubeconfig: kubeconfig(),
            place,
        };
        let platform = Platform::new(options, self.supply(&wanted.sources)?, self.reporter());
        Ok(match whole {
            Some(whole) => platform.part_of(whole),
            None => platform,
        })
    }

    /// A platform without a cluster, for what is done with the sources and images of a stack alone.
    pub fn workshop(&self, stack: &Stack) -> Result<Platform, Failure> {
        let options = PlatformOptions {
            stack: stack.clone(),
            root: self.loaded()?.root.clone(),
            state: self.loaded()?.state(),
            http_port: 0,
            https_port: 0,
            nodes: 0,
            kubeconfig: None,
            place: Place::Own,
        };
        Ok(Platform::new(
            options,
            self.supply(&Sources::default())?,
            self.reporter(),
        ))
    }

    /// The platform that runs, for verbs that look at it or remove it.
    pub fn running(&self) -> Result<Platform, Failure> {
        self.platform(&Wanted {
            deployed: true,
            ..Wanted::default()
        })
    }
}
