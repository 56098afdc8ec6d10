//! A Dockerfile's real build, by the engine: with BuildKit where the engine has it, else with the classic builder.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;

use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuilderVersion, TagImageOptions};
use bollard::{Docker, body_try_stream};
use futures::{StreamExt, stream};

use super::context::Context;
use super::dockerfile::Dockerfile;
use super::error::ImageError;
use super::listing::Listing;
use super::reference::exact;
use crate::report::{Event, Step};
use crate::supply::docker::reason;
use crate::supply::pulse::{Pulse, plain};

/// How many of the build's last lines an error carries.
const TAIL: usize = 20;
/// The label of every image that vadev builds from a workspace.
pub const SERVICE_LABEL: &str = "dev.vadev.service";

/// What to build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildRequest {
    /// The service, for messages and the image's label.
    pub service: String,
    /// The folder of the source.
    pub context: PathBuf,
    /// The Dockerfile, relative to the context; `None`: `Dockerfile`.
    pub dockerfile: Option<String>,
    /// Stage to stop at.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The name under which the engine gets it: the moving tag, see [`super::reference::moving`].
    pub tag: String,
}

/// An image that a build has left in the engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The exact reference, which never means anything else: `vadev.local/shop/agent-engine:dev-0a4bf1cd1970`.
    pub reference: String,
    /// The engine's ID of it.
    pub id: String,
}

impl BuildRequest {
    /// Reads the context's ignore file and finds the Dockerfile.
    pub fn open(&self) -> Result<Context, ImageError> {
        Context::open(&self.context, self.dockerfile.as_deref()).map_err(|reason| self.failed(reason))
    }

    /// The Dockerfile, as far as vadev understands it.
    pub fn read_dockerfile(&self) -> Result<Dockerfile, ImageError> {
        let text = self.open()?.dockerfile_text();
        Ok(Dockerfile::parse(&text.map_err(|error| {
            self.failed(format!("can't read the Dockerfile: {error}"))
        })?))
    }

    /// A digest of everything that decides what the build makes, but for its base images: source tree, Dockerfile, target
    /// and arguments. Blocks while files are read.
    pub fn digest(&self) -> Result<String, ImageError> {
        let context = self.open()?;
        let tree = context.digest().map_err(|error| self.unread(&error))?;
        Ok(self.digest_with(&context, &tree))
    }

    /// What the build could see, path by path. Blocks while files are read.
    pub fn listing(&self) -> Result<Listing, ImageError> {
        self.open()?.listing().map_err(|error| self.unread(&error))
    }

    /// Paths that the build could see and that are not as in `made`, of those that `counts` takes. Blocks while files are read.
    pub fn differing(
        &self,
        made: &Listing,
        counts: impl Fn(&str) -> bool,
    ) -> Result<BTreeSet<String>, ImageError> {
        let found = self.open()?.differing(made, counts);
        found.map_err(|error| self.unread(&error))
    }

    /// [`Self::digest`], were this the source tree.
    pub fn digest_of(&self, listing: &Listing) -> Result<String, ImageError> {
        Ok(self.digest_with(&self.open()?, &listing.digest()))
    }

    fn digest_with(&self, context: &Context, tree: &str) -> String {
        let all = serde_json::json!([tree, context.dockerfile_name(), self.target, self.args]);
        crate::agent::digest::hex(all.to_string().as_bytes())
    }

    fn unread(&self, error: &std::io::Error) -> ImageError {
        self.failed(format!("can't read the source: {error}"))
    }

    fn failed(&self, reason: impl Into<String>) -> ImageError {
        ImageError::Build {
            service: self.service.clone(),
            reason: reason.into(),
            output: Vec::new(),
        }
    }
}

/// Builds. The output goes to `step` line by line, and its end into the error. The engine keeps the layers, so that only
/// what comes after the first change is made again.
pub async fn build(docker: &Docker, request: &BuildRequest, step: &Step) -> Result<Built, ImageError> {
    let context = request.open()?;
    let dockerfile = request.read_dockerfile()?;
    let buildkit = wants_buildkit(docker, &dockerfile).await;
    let session = buildkit.then(|| format!("vadev-{}-{}", std::process::id(), step.id().replace('/', "-")));
    let mut args: HashMap<String, String> = super::surroundings::package_settings().into_iter().collect();
    args.extend(request.args.clone());
    let given: Vec<String> = args.keys().cloned().collect();
    let options = BuildImageOptions {
        dockerfile: context.dockerfile_name().to_owned(),
        t: Some(request.tag.clone()),
        rm: true,
        forcerm: true,
        // The build reaches what this machine reaches: proxies on the loopback address, names of a private network.
        networkmode: Some("host".to_owned()),
        buildargs: Some(args),
        target: request.target.clone().unwrap_or_default(),
        labels: Some(HashMap::from([(
            SERVICE_LABEL.to_owned(),
            request.service.clone(),
        )])),
        version: if buildkit {
            BuilderVersion::BuilderBuildKit
        } else {
            BuilderVersion::BuilderV1
        },
        session,
        ..BuildImageOptions::default()
    };
    let body = stream::unfold(context.stream(), |mut chunks| async move {
        chunks.recv().await.map(|chunk| (chunk, chunks))
    });
    let pulse = Pulse::new(step).about(if buildkit {
        "BuildKit"
    } else {
        "sending the source"
    });
    let mut output = Output {
        step,
        pulse: &pulse,
        given,
        partial: String::new(),
        tail: VecDeque::new(),
    };
    let mut answers = Box::pin(docker.build_image(options, None, Some(body_try_stream(body))));
    while let Some(info) = pulse.during(answers.next()).await {
        let problem = match info {
            Ok(info) => info
                .error_detail
                .clone()
                .and_then(|detail| detail.message)
                .or_else(|| {
                    output.take(info);
                    None
                }),
            Err(bollard::errors::Error::DockerStreamError { error }) => Some(error),
            Err(error) => Some(reason(&error)),
        };
        if let Some(reason) = problem {
            output.end();
            return Err(ImageError::Build {
                service: request.service.clone(),
                reason,
                output: output.tail.into(),
            });
        }
    }
    output.end();
    name(docker, request).await
}

/// The ID of the image that the engine has under a name; `None` where it has none.
pub async fn engine_id(docker: &Docker, reference: &str) -> Result<Option<String>, ImageError> {
    match docker.inspect_image(reference).await {
        Ok(image) => Ok(image.id),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(source) => Err(ImageError::Docker {
            action: "inspect",
            subject: reference.to_owned(),
            source: Box::new(source),
        }),
    }
}

/// The digests by which registries know an image, as far as the engine has heard: `repository@sha256:…`.
pub async fn repository_digests(docker: &Docker, reference: &str) -> Result<Vec<String>, ImageError> {
    let found = docker.inspect_image(reference).await;
    let found = found.map_err(|source| ImageError::Docker {
        action: "inspect",
        subject: reference.to_owned(),
        source: Box::new(source),
    })?;
    Ok(found.repo_digests.unwrap_or_default())
}

/// BuildKit is the default builder of engines from 23 on; older ones have it too, but the `docker` command uses it there
/// only when told, and so does vadev, unless the Dockerfile cannot be built without.
async fn wants_buildkit(docker: &Docker, dockerfile: &Dockerfile) -> bool {
    match std::env::var("DOCKER_BUILDKIT").as_deref() {
        Ok("0") => return false,
        Ok(set) if !set.is_empty() => return true,
        _ => {}
    }
    let version = docker.version().await.ok().and_then(|version| version.version);
    let major = version.and_then(|text| text.split('.').next()?.parse::<u32>().ok());
    dockerfile.needs_buildkit() || major.is_some_and(|major| major >= 23)
}

/// Gives what the moving tag means now a name that stays.
async fn name(docker: &Docker, request: &BuildRequest) -> Result<Built, ImageError> {
    let refused = |action, source| ImageError::Docker {
        action,
        subject: request.tag.clone(),
        source: Box::new(source),
    };
    let found = docker.inspect_image(&request.tag).await;
    let id = found
        .map_err(|error| refused("find", error))?
        .id
        .unwrap_or_default();
    let reference = exact(&request.tag, &id);
    let (repository, tag) = reference.rsplit_once(':').unwrap_or((&reference, "latest"));
    let options = TagImageOptions {
        repo: Some(repository.to_owned()),
        tag: Some(tag.to_owned()),
    };
    docker
        .tag_image(&id, Some(options))
        .await
        .map_err(|error| refused("name", error))?;
    Ok(Built { reference, id })
}

/// The build's output on its way to the reporter.
struct Output<'a> {
    step: &'a Step,
    pulse: &'a Pulse<'a>,
    /// Names of arguments that vadev gave, about which the builder need not complain.
    given: Vec<String>,
    partial: String,
    tail: VecDeque<String>,
}

impl Output<'_> {
    fn take(&mut self, info: BuildInfo) {
        // The classic builder passes output on in pieces that need not end with a line's end.
        if let Some(text) = info.stream {
            self.pieces(&text);
        }
        if let (Some(status), None) = (info.status, info.progress_detail) {
            self.line(&status);
        }
        if let Some(BuildInfoAux::BuildKit(status)) = info.aux {
            for vertex in status.vertexes {
                if !vertex.error.is_empty() {
                    self.line(&vertex.error);
                } else if vertex.started.is_some() && vertex.completed.is_none() {
                    self.line(&vertex.name);
                } else if vertex.cached {
                    self.line(&format!("{} (cached)", vertex.name));
                }
            }
            for log in status.logs {
                self.pieces(&String::from_utf8_lossy(&log.msg));
            }
        }
    }

    fn pieces(&mut self, text: &str) {
        self.partial.push_str(text);
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            self.line(&line);
        }
    }

    fn end(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        self.line(&rest);
    }

    fn line(&mut self, line: &str) {
        let line = plain(line);
        let about_ours =
            line.contains("were not consumed") && self.given.iter().any(|name| line.contains(name));
        if line.is_empty() || about_ours {
            return;
        }
        self.pulse.tell(&line);
        self.step.reporter().emit(Event::Log {
            source: self.step.id().to_owned(),
            line: line.clone(),
        });
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}
