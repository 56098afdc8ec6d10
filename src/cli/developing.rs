//! What `dev`, `watch` and `reload` have in common: which services are developed, and the session over them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::up::Up;
use super::{Context, timeout};
use crate::engine::deliver::Delivery;
use crate::engine::develop::{self, Develop};
use crate::engine::{Platform, UpReport};
use crate::failure::{Failure, Family};
use crate::k8s::{Cluster, Scope, View};
use crate::profile::Stack;
use crate::reload::session::{Developed, Ended, Session, Turn, modified};
use crate::reload::{ReloadError, Service};
use crate::report::Reporter;

/// The longest wait for one pod that gets another image: a service may take that long to start.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a session shows what it does.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Showing {
    /// Say for each changed file which way it goes, and by which rule
    #[arg(long)]
    pub explain: bool,
    /// Leave the services' logs out
    #[arg(long)]
    pub no_logs: bool,
}

/// The services of a stack that have their source in the workspace: those named, or all.
pub fn services(context: &Context, stack: &Stack, named: &[String]) -> Result<Vec<Service>, Failure> {
    let root = &context.loaded()?.root;
    let mut found = Vec::new();
    for sized in &stack.services {
        let name = &sized.service.name;
        let dockerfile = sized.workspace.dockerfile.as_deref().unwrap_or("Dockerfile");
        let here = sized.workspace.source.is_some() || root.join(&sized.source).join(dockerfile).is_file();
        if named.contains(name) || (named.is_empty() && here && sized.image.is_none()) {
            found.push(Service::open(root, sized)?);
        }
    }
    if found.is_empty() {
        return Err(ReloadError::NothingToDevelop { path: root.clone() }.into());
    }
    Ok(found)
}

/// What the rules were read off where the workspace file has none.
fn tell_inferred(services: &[Service], reporter: &Reporter) {
    for service in services {
        let Some(inferred) = &service.inferred else {
            continue;
        };
        let rules: Vec<String> = inferred
            .sync
            .iter()
            .map(|rule| format!("{} → {}", rule.from, rule.to))
            .collect();
        reporter.note(if rules.is_empty() {
            format!("{}: no sync rules, and its Dockerfile implies none: every change is an image", service.name)
        } else {
            format!(
                "{}: no sync rules in the workspace file; its Dockerfile implies {} (`vadev init` writes them down)",
                service.name,
                rules.join(", ")
            )
        });
    }
}

/// What `up` is to know of developed services. A service without rules needs no agent: its images are swapped.
pub fn develop(services: &[Service]) -> Develop {
    let roots = |service: &Service| (service.name.clone(), service.recipe.rules.roots());
    services
        .iter()
        .map(roots)
        .filter(|(_, roots)| !roots.is_empty())
        .collect()
}

/// The services with what their agents admit a session by.
pub async fn developed(
    platform: &Platform,
    cluster: &Cluster,
    services: &[Service],
) -> Result<Vec<Developed>, Failure> {
    let mut all = Vec::new();
    for service in services {
        let token = develop::token(platform, cluster, &service.name).await?;
        all.push(Developed {
            service: service.clone(),
            token: token.unwrap_or_default(),
        });
    }
    Ok(all)
}

/// Brings the platform up and watches, until Ctrl+C.
pub fn session(context: &Context, up: &Up, named: &[String], showing: Showing) -> Result<(), Failure> {
    // Planned first: what is refused leaves no folder of state behind.
    let mut current = plan(context, up, named)?;
    let _turn = Turn::take(&context.loaded()?.make_state()?)?;
    let mut first = true;
    loop {
        tell_inferred(&current.services, &current.context.reporter());
        let mut tried = false;
        match current.context.block_on(current.bring_up(up)) {
            Ok(report) => current.tell(&report),
            // A platform that has come up once is gone on with: the next save may mend what has failed now.
            Err(error) if !first && error.family() != Family::Interrupted => {
                tell(&context.reporter(), "going on with the platform as it is", &error);
                tried = true;
            }
            Err(error) => return Err(error),
        }
        first = false;
        match current.context.until_interrupted(current.watch(showing, tried))? {
            None => {
                context.reporter().note(
                    "watching has ended; the services go on with the files as they are. `vadev dev --stop` takes the \
                     development parts out, `vadev watch` goes on",
                );
                return Ok(());
            }
            Some(Ended::Replan) => {
                context
                    .reporter()
                    .note("planning anew: what the platform is planned from has changed");
                match plan(&context.again(), up, named) {
                    Ok(newer) => current = newer,
                    Err(error) => {
                        tell(&context.reporter(), "going on as before", &error);
                        current.plan_files = times(current.plan_files.into_iter().map(|(path, _)| path));
                    }
                }
            }
        }
    }
}

/// A failure that ends nothing.
fn tell(reporter: &Reporter, what: &str, error: &Failure) {
    reporter.warn(format!("{what}: {error}"), error.hint());
    error.details().into_iter().for_each(|line| reporter.note(line));
}

/// Files with the times that they were written at.
type Times = Vec<(PathBuf, Option<SystemTime>)>;

fn times(files: impl Iterator<Item = PathBuf>) -> Times {
    files
        .map(|path| {
            let time = modified(&path);
            (path, time)
        })
        .collect()
}

/// One plan of a session.
struct Current {
    context: Context,
    platform: Platform,
    services: Vec<Service>,
    /// The files that the workspace was read from, and Dockerfiles outside of the sources.
    plan_files: Times,
}

fn plan(context: &Context, up: &Up, named: &[String]) -> Result<Current, Failure> {
    let mut plan_files = times(context.loaded()?.files.iter().cloned());
    let platform = up.platform(context)?;
    up.check_capacity(context, &platform)?;
    let services = services(context, platform.stack(), named)?;
    // Dockerfiles that no source has, and so no watch of one.
    plan_files.extend(times(services.iter().flat_map(Service::outside)));
    Ok(Current {
        services,
        context: context.clone(),
        platform,
        plan_files,
    })
}

impl Current {
    async fn bring_up(&self, up: &Up) -> Result<UpReport, Failure> {
        up.carry_out(&self.context, &self.platform, develop(&self.services))
            .await
    }

    fn tell(&self, report: &UpReport) {
        let reporter = self.context.reporter();
        let failed = report
            .verify
            .iter()
            .flat_map(|verify| &verify.checks)
            .filter(|check| !check.ok);
        for check in failed {
            reporter.warn(
                format!("{}: {}", check.name, check.detail),
                Some("vadev verify".to_owned()),
            );
        }
        if let Some(url) = report.urls.first() {
            reporter.note(format!(
                "{} is up, look at {url}; Ctrl+C ends watching and leaves it running",
                report.cluster
            ));
        }
    }

    async fn watch(&self, showing: Showing, tried: bool) -> Result<Ended, Failure> {
        let cluster = self.platform.running(timeout::DEFAULT).await?;
        let view = View::open(
            &cluster,
            &Scope::Namespaces(vec![self.platform.stack().namespaces.apps.clone()]),
        );
        let delivery = Delivery::open(&self.platform, &cluster, &view, PATIENCE).await?;
        let session = Session {
            delivery: &delivery,
            developed: developed(&self.platform, &cluster, &self.services).await?,
            plan_files: self.plan_files.clone(),
            tried,
            reporter: self.context.reporter(),
            explain: showing.explain,
            logs: !showing.no_logs,
        };
        session.run().await
    }
}
