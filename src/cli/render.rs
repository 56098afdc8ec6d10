use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::selecting::Selecting;
use super::{Context, Run, output};
use crate::engine::{TokenKey, mesh_setting};
use crate::failure::{Failure, Family, Plain};
use crate::profile::resolve;
use crate::render::mesh::IstioApi;
use crate::render::{Object, Origin, Setting, objects, official, yaml};

/// Print the Kubernetes and Istio objects of a profile, without a cluster
///
/// Images are named as their registries have them, and Secrets hold no values: `up` chooses the images that can be had
/// here, and makes development passwords and a key for tokens of its own. Before the first `up` or `vadev token` there is
/// no such key, and the rendered mesh lets nothing but public paths in.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev render > platform.yaml\n  \
    vadev render -p minimal --only agent-engine\n  \
    vadev render --out manifests                      one file a component")]
pub struct Render {
    #[command(flatten)]
    selecting: Selecting,
    /// Format on stdout
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        conflicts_with = "out"
    )]
    output: Format,
    /// Write one YAML file a component into this folder instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A YAML stream, as `kubectl apply -f -` takes it.
    #[default]
    Yaml,
    /// A JSON array.
    Json,
}

impl Run for Render {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let loaded = context.loaded()?;
        let profile = context.profile(None)?;
        let selection = self.selecting.selection();
        let stack = resolve(
            &loaded.catalog,
            profile,
            &loaded.workspace,
            &selection,
            context.machine(),
        )?;
        let setting = Setting {
            images: official(&stack),
            mesh: mesh_setting(
                &stack,
                // Of official images.
                BTreeSet::new(),
                TokenKey::load(&loaded.state())?.as_ref(),
                Some(Origin::Registry),
                IstioApi::default(),
            ),
            ..Setting::default()
        };
        let objects = objects(&stack, &setting);
        match (&self.out, self.output) {
            (Some(folder), _) => {
                let files = write(folder, &objects)?;
                context
                    .reporter()
                    .note(format!("{files} files in {}", folder.display()));
                Ok(())
            }
            (None, Format::Yaml) => context.print(&documents(&objects)?),
            (None, Format::Json) => context.print(&output::json(&objects)?),
        }
    }

    fn machine_readable(&self) -> bool {
        self.output == Format::Json
    }
}

/// Writes one file a component and gives their number. Files of other names in the folder are left alone.
fn write(folder: &Path, objects: &[Object]) -> Result<usize, Failure> {
    let mut components: BTreeMap<&str, Vec<Object>> = BTreeMap::new();
    for object in objects {
        components
            .entry(object.component())
            .or_default()
            .push(object.clone());
    }
    let failed = |error: std::io::Error| -> Failure {
        Plain::new(
            Family::Environment,
            format!("cannot write to {}: {error}", folder.display()),
        )
        .with_hint("choose a folder that you may write to with --out")
        .into()
    };
    fs::create_dir_all(folder).map_err(failed)?;
    for (component, objects) in &components {
        fs::write(folder.join(format!("{component}.yaml")), documents(objects)?).map_err(failed)?;
    }
    Ok(components.len())
}

fn documents(objects: &[Object]) -> Result<String, Failure> {
    yaml::documents(objects)
        .map_err(|error| Plain::new(Family::Internal, format!("cannot write YAML: {error}")).into())
}
