//! Asks the running platform whether it works: the last of the seven steps, and a verb of its own.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use indexmap::IndexMap;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::checked::{CheckResult, VerifyReport};

use super::door::{self, Door, GATEWAY_PORT};
use super::ingress::{self, Answer, ask, poll};
use super::mesh;
use super::platform::Platform;
use super::promote::there as promoted_objects;
use super::tokens::{self, TokenKey};
use crate::failure::Failure;
use crate::k8s::{self, Cluster, Forward, ForwardTarget, ObjectRef, Readiness};
use crate::profile::Stack;
use crate::promote::harden::{PART_OF, PLATFORM};
use crate::promote::{Environment, Target, Tree, tree};
use crate::render::object::WORKSPACE;
use crate::render::{self, Object, ObjectId, Setting};
use crate::report::Reporter;

/// A deployment that is asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    stack: &'a Stack,
    cluster: &'a Cluster,
    reporter: &'a Reporter,
    within: Duration,
}

impl Asked<'_> {
    /// With the time that is left. What is not ready by now will not answer either; one try tells why.
    fn after(self, begun: Instant) -> Self {
        let within = self.within.saturating_sub(begun.elapsed()).max(ANSWER);
        Self { within, ..self }
    }
}

/// How long one answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Between two looks at workloads that are on their way.
const AGAIN: Duration = Duration::from_secs(1);

/// Checks objects, workloads, the ingress and every service's own view of its dependencies. `within` bounds how long the
/// ingress is polled and workloads that are on their way are waited for.
pub async fn verify(
    platform: &Platform,
    cluster: &Cluster,
    objects: &[Object],
    within: Duration,
) -> Result<VerifyReport, Failure> {
    let step = platform.reporter.step("verify", "Verify", None);
    let client = ingress::client(ANSWER, None)?;
    let outside = ingress::client(ANSWER, platform.stack().host.as_deref())?;
    let asked = Asked {
        stack: platform.stack(),
        cluster,
        reporter: &platform.reporter,
        within,
    };
    step.progress("objects and workloads");
    let begun = Instant::now();
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, asked.stack.workspace);
    let (mut checks, _) = settled(within, async || {
        let snapshot = k8s::observe(asked.cluster, &selector).await?;
        let checks = there(objects.iter().map(Object::id), |id| snapshot.get(&id.into()));
        Ok((checks, snapshot))
    })
    .await?;
    let asked = asked.after(begun);
    step.progress("the ingress and every service's dependencies");
    let (ingress, dependencies) = tokio::join!(
        through_ingress(platform, &asked, &outside),
        dependencies(&asked, &client)
    );
    checks.extend(ingress);
    checks.extend(dependencies);
    Ok(VerifyReport::told(checks, step))
}

/// What a look at every object and workload found, and what it was found in. A workload that is on its way, after a start of
/// its node for instance, is looked at again until it is ready, or for as long as the ingress is asked.
async fn settled<T>(
    within: Duration,
    look: impl AsyncFn() -> Result<(Vec<CheckResult>, T), Failure>,
) -> Result<(Vec<CheckResult>, T), Failure> {
    let end = Instant::now() + within;
    loop {
        let (checks, seen) = look().await?;
        let waits = checks.iter().any(|check| check.group == "workload" && !check.ok);
        if !waits || Instant::now() >= end {
            return Ok((checks, seen));
        }
        sleep(AGAIN).await;
    }
}

/// As [`verify`], for what the stack is to be on this machine, whoever deployed it. In a cluster that has none of the
/// workspace's objects but was promoted to, what production has of the profile is looked for.
pub async fn verify_now(
    platform: &Platform,
    cluster: &Cluster,
    within: Duration,
) -> Result<VerifyReport, Failure> {
    if platform.options.place.existing().is_some() && is_promoted(platform, cluster).await? {
        let (environment, target) = (Environment::unnamed(), Target::default());
        let tree = tree(platform.stack(), &environment, target, &IndexMap::new());
        return verify_promoted(platform.stack(), &tree, cluster, &platform.reporter, within).await;
    }
    let images = super::images::resolve(platform).await?;
    let setting = Setting {
        mesh: tokens::mesh_setting(
            platform.stack(),
            super::builds::among(platform, platform.stack()),
            TokenKey::load(&platform.options.state)?.as_ref(),
            images.proxies(),
            mesh::api(platform, Some(cluster)).await?,
        ),
        images: images.deployed,
        ..Setting::default()
    };
    verify(
        platform,
        cluster,
        &render::objects(platform.stack(), &setting),
        within,
    )
    .await
}

async fn is_promoted(platform: &Platform, cluster: &Cluster) -> Result<bool, Failure> {
    let ours = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, platform.stack().workspace);
    if !k8s::observe(cluster, &ours).await?.is_empty() {
        return Ok(false);
    }
    let promoted = k8s::observe(cluster, &format!("{PART_OF}={PLATFORM}")).await?;
    Ok(!promoted.is_empty())
}

/// The same of a production tree that was applied: its objects carry no workspace, and its gateway may serve named hosts and
/// send http to https.
pub async fn verify_promoted(
    stack: &Stack,
    tree: &Tree,
    cluster: &Cluster,
    reporter: &Reporter,
    within: Duration,
) -> Result<VerifyReport, Failure> {
    let step = reporter.step("verify", "Verify", None);
    let asked = Asked {
        stack,
        cluster,
        reporter,
        within,
    };
    step.progress("objects and workloads");
    let begun = Instant::now();
    let (mut checks, found) = settled(within, async || {
        let found = promoted_objects(cluster, tree).await?;
        Ok((promoted(tree, &found)?, found))
    })
    .await?;
    let asked = asked.after(begun);
    step.progress("the ingress and every service's dependencies");
    let gateways = found.iter().filter(|object| {
        object["kind"] == "Gateway" && object["metadata"]["namespace"] == *stack.namespaces.apps
    });
    let door = gateways.map(Door::of).next().unwrap_or_default();
    let plain = ingress::client(ANSWER, None)?;
    let (through_ingress, dependencies) =
        tokio::join!(through_forward(&asked, &door), dependencies(&asked, &plain));
    checks.extend(through_ingress);
    checks.extend(dependencies);
    Ok(VerifyReport::told(checks, step))
}

/// Every object of a tree, among those that were found.
fn promoted(tree: &Tree, found: &[Value]) -> Result<Vec<CheckResult>, Failure> {
    let mut by_name: Vec<(ObjectRef, &Value)> = Vec::new();
    for object in found {
        by_name.push((ObjectRef::of(object)?, object));
    }
    let get = |id: &ObjectId| {
        let wanted = ObjectRef::from(id);
        let same = by_name
            .iter()
            .find(|(reference, _)| reference.same_object(&wanted));
        same.map(|(_, object)| *object)
    };
    let ids = tree.objects().map(|(_, object)| crate::promote::tree::id(object));
    Ok(there(ids, get))
}

/// The ingress of a cluster that is not vadev's own, behind its door.
async fn through_forward(asked: &Asked<'_>, door: &Door) -> Vec<CheckResult> {
    if asked.stack.mesh.is_none() {
        return Vec::new();
    }
    let forward = match forward_to_gateway(asked.cluster, asked.stack, asked.reporter, door.port()).await {
        Ok(forward) => forward,
        Err(error) => return vec![no_gateway(error.to_string())],
    };
    match door::client(door, Some(forward.local())) {
        Ok(client) => ask_all(asked, &client, &door.base(forward.local())).await,
        Err(error) => vec![no_gateway(error.to_string())],
    }
}

fn no_gateway(detail: String) -> CheckResult {
    CheckResult {
        group: "ingress",
        name: "ingress gateway".to_owned(),
        ok: false,
        detail,
    }
}

async fn forward_to_gateway(
    cluster: &Cluster,
    stack: &Stack,
    reporter: &Reporter,
    port: u16,
) -> Result<Forward, k8s::K8sError> {
    let target = ForwardTarget {
        namespace: stack.namespaces.mesh.clone(),
        selector: "istio=ingressgateway".to_owned(),
        port,
    };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    Forward::open(cluster, target, any_port, reporter.clone()).await
}

/// Every object is there and every workload ready.
fn there<'a>(
    ids: impl Iterator<Item = ObjectId>,
    get: impl Fn(&ObjectId) -> Option<&'a Value>,
) -> Vec<CheckResult> {
    let check = |id: &ObjectId| {
        let name = id.to_string();
        let Some(value) = get(id) else {
            return CheckResult {
                group: "object",
                name,
                ok: false,
                detail: "is not there".to_owned(),
            };
        };
        match readiness(id, value) {
            Some(Readiness::Ready(detail)) => CheckResult {
                group: "workload",
                name,
                ok: true,
                detail,
            },
            Some(Readiness::Waiting(detail) | Readiness::Failed(detail)) => CheckResult {
                group: "workload",
                name,
                ok: false,
                detail,
            },
            None => CheckResult {
                group: "object",
                name,
                ok: true,
                detail: "is there".to_owned(),
            },
        }
    };
    ids.map(|id| check(&id)).collect()
}

fn readiness(id: &ObjectId, value: &Value) -> Option<Readiness> {
    use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
    let unreadable = |error: serde_json::Error| Readiness::Failed(format!("can't be read: {error}"));
    match id.kind.as_str() {
        "Deployment" => Some(
            serde_json::from_value::<Deployment>(value.clone())
                .map_or_else(unreadable, |object| k8s::readiness(&object)),
        ),
        "StatefulSet" => Some(
            serde_json::from_value::<StatefulSet>(value.clone())
                .map_or_else(unreadable, |object| k8s::readiness(&object)),
        ),
        _ => None,
    }
}

async fn through_ingress(
    platform: &Platform,
    asked: &Asked<'_>,
    client: &reqwest::Client,
) -> Vec<CheckResult> {
    if asked.stack.mesh.is_none() {
        return Vec::new();
    }
    // The forward lives as long as the questions.
    match entrance(platform, asked.cluster).await {
        Ok((base, _forward)) => ask_all(asked, client, &base).await,
        Err(error) => vec![no_gateway(error.to_string())],
    }
}

/// `/health`, `/api/v1/health` and each service's own health through its prefix.
async fn ask_all(asked: &Asked<'_>, client: &reqwest::Client, base: &str) -> Vec<CheckResult> {
    let services = asked.stack.services.iter();
    let prefixes = services.flat_map(|sized| &sized.service.prefixes);
    let own = prefixes.map(|prefix| format!("{prefix}/health"));
    let paths = ["/health".to_owned(), "/api/v1/health".to_owned()]
        .into_iter()
        .chain(own);
    let asks: FuturesUnordered<_> = paths
        .map(|path| {
            let url = format!("{base}{path}");
            // By a forward the address is another each time, and says nothing.
            let name = match &asked.stack.host {
                Some(host) => format!("http://{host}{path}"),
                None => url.clone(),
            };
            async move { CheckResult::of("ingress", name, &poll(client, &url, asked.within).await) }
        })
        .collect();
    sorted(asks.collect().await)
}

/// Where the ingress gateway is asked: vadev's own clusters publish it on this machine, others are reached by a forward.
pub(super) async fn entrance(
    platform: &Platform,
    cluster: &Cluster,
) -> Result<(String, Option<Forward>), k8s::K8sError> {
    if platform.options.place.existing().is_none() {
        return Ok((format!("http://127.0.0.1:{}", platform.options.http_port), None));
    }
    let forward = forward_to_gateway(cluster, platform.stack(), &platform.reporter, GATEWAY_PORT).await?;
    Ok((format!("http://{}", forward.local()), Some(forward)))
}

/// `/ready` of each service that has one, asked in its pod past the sidecar: it answers for its dependencies, over mTLS.
async fn dependencies(asked: &Asked<'_>, client: &reqwest::Client) -> Vec<CheckResult> {
    let asks: FuturesUnordered<_> = asked
        .stack
        .services
        .iter()
        .map(|sized| async move {
            let name = format!("{}/ready", sized.service.name);
            let target = ForwardTarget {
                namespace: asked.stack.namespaces.apps.clone(),
                selector: format!("app={}", sized.service.name),
                port: sized.service.port,
            };
            let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
            match Forward::open(asked.cluster, target, any_port, asked.reporter.clone()).await {
                Ok(forward) => {
                    let otherwise = &sized.service.probes.readiness;
                    let answer = ready(client, &forward, otherwise, asked.within).await;
                    CheckResult::of("dependencies", name, &answer)
                }
                Err(error) => CheckResult {
                    group: "dependencies",
                    name,
                    ok: false,
                    detail: error.to_string(),
                },
            }
        })
        .collect();
    sorted(asks.collect().await)
}

/// A service that has no `/ready` is asked what the kubelet asks it instead.
async fn ready(client: &reqwest::Client, forward: &Forward, otherwise: &str, within: Duration) -> Answer {
    let base = format!("http://{}", forward.local());
    let first = ask(client, &format!("{base}/ready")).await;
    match first.status {
        Some(200) => first,
        Some(404) => poll(client, &format!("{base}{otherwise}"), within).await,
        _ => poll(client, &format!("{base}/ready"), within).await,
    }
}

fn sorted(mut checks: Vec<CheckResult>) -> Vec<CheckResult> {
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    checks
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_workload_on_its_way_is_looked_at_again_while_there_is_time() {
        let looks = Cell::new(0);
        let look = |ready_at: usize| {
            let looks = &looks;
            async move || {
                looks.set(looks.get() + 1);
                let check = CheckResult {
                    group: "workload",
                    name: "a".to_owned(),
                    ok: looks.get() >= ready_at,
                    detail: String::new(),
                };
                Ok((vec![check], ()))
            }
        };
        let (checks, ()) = settled(Duration::from_secs(30), look(2))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(checks[0].ok && looks.get() == 2);
        looks.set(0);
        let (checks, ()) = settled(Duration::ZERO, look(2))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(!checks[0].ok && looks.get() == 1, "without time one look tells");
    }
}
