use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::selecting::Selecting;
use super::{Context, Run, output};
use crate::failure::{Failure, Family, Plain};
use crate::profile::{Stack, resolve};
use crate::render::{DeployedImage, Object, Origin, Setting, objects, yaml};
use crate::supply::machine;

/// Print the Kubernetes and Istio objects of a profile, without a cluster
///
/// Images are named as their registries have them, and Secrets hold no values: `up` chooses the images that can be had
/// here, and makes development passwords of its own.
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
            machine::of_host(),
        )?;
        let setting = Setting {
            images: official(&stack),
            secrets: IndexMap::new(),
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

/// Every image as its registry names it: what a rendering can say without looking at a machine.
fn official(stack: &Stack) -> IndexMap<String, DeployedImage> {
    let mut images = IndexMap::new();
    let mut add = |name: &str, reference: String| {
        images.insert(
            name.to_owned(),
            DeployedImage {
                reference,
                origin: Origin::Registry,
            },
        );
    };
    for system in &stack.infrastructure {
        for workload in &system.infrastructure.workloads {
            let chosen = system
                .images
                .get(&workload.name)
                .unwrap_or(&workload.image.official);
            add(&workload.name, chosen.clone());
        }
    }
    for sized in &stack.services {
        let image = &sized.service.image;
        let catalog = || format!("{}:{}", image.repository, image.version);
        add(&sized.service.name, sized.image.clone().unwrap_or_else(catalog));
    }
    images
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
