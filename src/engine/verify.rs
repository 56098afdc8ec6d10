//! Asks the running platform whether it works: the last of the seven steps, and a verb of its own.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use serde_json::Value;

use super::ingress::{self, Answer, ask, poll};
use super::mesh;
use super::platform::Platform;
use super::tokens::{self, TokenKey};
use crate::failure::Failure;
use crate::k8s::{self, Cluster, Forward, ForwardTarget, Readiness};
use crate::render::object::WORKSPACE;
use crate::render::{self, Object, ObjectId, Setting};

/// The result of all checks.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Whether every check passed.
    pub ok: bool,
    /// One entry a check.
    pub checks: Vec<CheckResult>,
}

/// The result of one check.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// `object`, `workload`, `ingress` or `dependencies`.
    pub group: &'static str,
    /// What was checked.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl CheckResult {
    /// Of an HTTP answer, which is to be 200.
    pub(super) fn of(group: &'static str, name: String, answer: &Answer) -> Self {
        let detail = match answer.status {
            Some(200) => "200".to_owned(),
            Some(status) => format!("{status}: {}", answer.body.trim()),
            None => answer.body.clone(),
        };
        Self {
            group,
            name,
            ok: answer.status == Some(200),
            detail,
        }
    }
}

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Checks objects, workloads, the ingress and every service's own view of its dependencies. `within` bounds how long the
/// ingress is polled.
pub async fn verify(
    platform: &Platform,
    cluster: &Cluster,
    objects: &[Object],
    within: Duration,
) -> Result<VerifyReport, Failure> {
    let step = platform.reporter.step("verify", "Verify", None);
    let client = ingress::client(ANSWER, None)?;
    let outside = ingress::client(ANSWER, platform.stack().host.as_deref())?;
    step.progress("objects and workloads");
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, platform.stack().workspace);
    let snapshot = k8s::observe(cluster, &selector).await?;
    let mut checks = there(objects, &snapshot);
    step.progress("the ingress and every service's dependencies");
    let (ingress, dependencies) = tokio::join!(
        through_ingress(platform, cluster, &outside, within),
        dependencies(platform, cluster, &client, within)
    );
    checks.extend(ingress);
    checks.extend(dependencies);
    let failed = checks.iter().filter(|check| !check.ok).count();
    let report = VerifyReport {
        ok: failed == 0,
        checks,
    };
    let passed = report.checks.len() - failed;
    if report.ok {
        step.done(format!("{passed} checks passed"));
    } else {
        step.finish(
            crate::report::Outcome::Failed,
            format!("{failed} of {} checks failed", report.checks.len()),
        );
    }
    Ok(report)
}

/// As [`verify`], for what the stack is to be on this machine, whoever deployed it.
pub async fn verify_now(
    platform: &Platform,
    cluster: &Cluster,
    within: Duration,
) -> Result<VerifyReport, Failure> {
    let images = super::images::resolve(platform).await?;
    let setting = Setting {
        mesh: tokens::mesh_setting(
            platform.stack(),
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

/// Every object is there and every workload ready.
fn there(objects: &[Object], snapshot: &k8s::Snapshot) -> Vec<CheckResult> {
    let check = |id: &ObjectId| {
        let name = id.to_string();
        let Some(value) = snapshot.get(&id.into()) else {
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
    objects.iter().map(|object| check(&object.id())).collect()
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

/// `/health`, `/api/v1/health` and each service's own health through its prefix.
async fn through_ingress(
    platform: &Platform,
    cluster: &Cluster,
    client: &reqwest::Client,
    within: Duration,
) -> Vec<CheckResult> {
    if platform.stack().mesh.is_none() {
        return Vec::new();
    }
    // The forward lives as long as the questions.
    let (base, _forward) = match entrance(platform, cluster).await {
        Ok(entrance) => entrance,
        Err(error) => {
            return vec![CheckResult {
                group: "ingress",
                name: "ingress gateway".to_owned(),
                ok: false,
                detail: error.to_string(),
            }];
        }
    };
    let prefixes = platform
        .stack()
        .services
        .iter()
        .flat_map(|sized| &sized.service.prefixes);
    let own = prefixes.map(|prefix| format!("{prefix}/health"));
    let paths = ["/health".to_owned(), "/api/v1/health".to_owned()]
        .into_iter()
        .chain(own);
    let asks: FuturesUnordered<_> = paths
        .map(|path| {
            let url = format!("{base}{path}");
            // By a forward the address is another each time, and says nothing.
            let name = match &platform.stack().host {
                Some(host) => format!("http://{host}{path}"),
                None => url.clone(),
            };
            async move { CheckResult::of("ingress", name, &poll(client, &url, within).await) }
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
    let target = ForwardTarget {
        namespace: platform.stack().namespaces.mesh.clone(),
        selector: "istio=ingressgateway".to_owned(),
        port: GATEWAY_PORT,
    };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let forward = Forward::open(cluster, target, any_port, platform.reporter.clone()).await?;
    Ok((format!("http://{}", forward.local()), Some(forward)))
}

/// The container port behind port 80 of Istio's ingress gateway, in every installation by istioctl and by Helm.
const GATEWAY_PORT: u16 = 8080;

/// `/ready` of each service that has one, asked in its pod past the sidecar: it answers for its dependencies, over mTLS.
async fn dependencies(
    platform: &Platform,
    cluster: &Cluster,
    client: &reqwest::Client,
    within: Duration,
) -> Vec<CheckResult> {
    let asks: FuturesUnordered<_> = platform
        .stack()
        .services
        .iter()
        .map(|sized| async move {
            let name = format!("{}/ready", sized.service.name);
            let target = ForwardTarget {
                namespace: platform.stack().namespaces.apps.clone(),
                selector: format!("app={}", sized.service.name),
                port: sized.service.port,
            };
            let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
            match Forward::open(cluster, target, any_port, platform.reporter.clone()).await {
                Ok(forward) => CheckResult::of("dependencies", name, &ready(client, &forward, within).await),
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

/// A service that has no `/ready` is asked for its health instead.
async fn ready(client: &reqwest::Client, forward: &Forward, within: Duration) -> Answer {
    let base = format!("http://{}", forward.local());
    let first = ask(client, &format!("{base}/ready")).await;
    match first.status {
        Some(200) => first,
        Some(404) => poll(client, &format!("{base}/health"), within).await,
        _ => poll(client, &format!("{base}/ready"), within).await,
    }
}

fn sorted(mut checks: Vec<CheckResult>) -> Vec<CheckResult> {
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    checks
}
