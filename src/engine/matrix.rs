//! Who can reach whom in the mesh: for each pair what the catalog says, and what was measured from inside the caller's pod.

use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde::Serialize;

use super::asking::asking_image;
use super::ingress::{self, ask_with};
use super::platform::Platform;
use super::tokens::{Claims, TokenKey};
use super::verify::entrance;
use crate::agent::serve::Reached;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{Cluster, ExecTarget};
use crate::operate::mesh::asking;
use crate::profile::stack::SizedService;

/// The ingress gateway, as a caller without a token.
pub const ANYBODY: &str = "ingress";
/// The ingress gateway, as a caller with a token of every role that the catalog names.
pub const WITH_TOKEN: &str = "ingress+token";

/// The whole matrix.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshReport {
    /// Whether every pair that could be measured is as expected.
    pub ok: bool,
    /// One entry a pair.
    pub pairs: Vec<Pair>,
}

/// One caller and one callee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// Who asks: a service, `ingress` or `ingress+token`.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// What the catalog says.
    pub expected: Verdict,
    /// What was found.
    pub measured: Verdict,
    /// Whether the two agree, or nothing could be measured.
    pub ok: bool,
    /// The answer.
    pub detail: String,
}

/// Whether one may ask the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It answers.
    Allowed,
    /// The mesh refuses: 401 or 403.
    Denied,
    /// Neither: no connection, or an error on the way.
    Broken,
    /// The caller's image holds nothing to ask with, and no container that does could be added to its pod.
    Unknown,
}

impl Verdict {
    /// The word in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
        }
    }

    const fn of(status: Option<u16>) -> Self {
        match status {
            Some(401 | 403) => Self::Denied,
            // Its own 404 or 429 is an answer of the service's or of a limit, and no refusal of the caller.
            Some(status) if status < 500 => Self::Allowed,
            _ => Self::Broken,
        }
    }

    const fn expected(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Denied }
    }
}

/// Measures every pair of the stack's services, and each service from the gateway without and with a token. `consent` is asked
/// before anything is added to a cluster that is not vadev's own.
pub async fn matrix(
    platform: &Platform,
    cluster: &Cluster,
    consent: &dyn Fn(&str) -> bool,
) -> Result<MeshReport, Failure> {
    if platform.stack().mesh.is_none() {
        let message = "this platform has no mesh to be measured";
        return Err(Plain::new(Family::Usage, message)
            .with_hint("take a profile with a mesh, without --skip-istio")
            .into());
    }
    let step = platform.reporter.step("mesh", "Measure who reaches whom", None);
    let services = &platform.stack().services;
    let mut pairs = Vec::new();
    let mut helpless = Vec::new();
    let mut asked = stream::iter(services)
        .map(|caller| async move { (caller, by_own(platform, cluster, caller).await) })
        // Each is one exec and some connections in a pod of its own.
        .buffer_unordered(4);
    while let Some((caller, found)) = asked.next().await {
        step.progress(caller.service.name.clone());
        match found {
            Found::Answers(answers) => pairs.extend(of_pod(platform, caller, &answers)),
            Found::Nothing { pod } => helpless.push((caller, pod)),
        }
    }
    drop(asked);
    if !helpless.is_empty() {
        let image = asking_image(platform, cluster, helpless.len(), consent).await;
        let image = &image.map_err(|why| format!("{}, and {why}", asking::NOTHING));
        let mut asked = stream::iter(helpless)
            .map(|(caller, pod)| async move {
                let answers = match image {
                    Ok(image) => by_added(platform, cluster, caller, &pod, image).await,
                    Err(why) => Err(why.clone()),
                };
                (caller, answers)
            })
            .buffer_unordered(4);
        while let Some((caller, answers)) = asked.next().await {
            step.progress(caller.service.name.clone());
            pairs.extend(of_pod(platform, caller, &answers));
        }
    }
    pairs.extend(from_gateway(platform, cluster).await?);
    pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    let wrong = pairs.iter().filter(|pair| !pair.ok).count();
    let unknown = pairs
        .iter()
        .filter(|pair| pair.measured == Verdict::Unknown)
        .count();
    let detail = format!(
        "{} pairs, {wrong} not as expected, {unknown} not measured",
        pairs.len()
    );
    if wrong == 0 {
        step.done(detail);
    } else {
        step.finish(crate::report::Outcome::Failed, detail);
    }
    Ok(MeshReport {
        ok: wrong == 0,
        pairs,
    })
}

/// Who is asked from a caller's pod.
fn callees<'s>(platform: &'s Platform, caller: &SizedService) -> impl Iterator<Item = &'s str> {
    let services = platform.stack().services.iter();
    let names = services.map(|callee| callee.service.name.as_str());
    let own = caller.service.name.clone();
    names.filter(move |name| *name != own)
}

fn of_pod(platform: &Platform, caller: &SizedService, answers: &Answers) -> Vec<Pair> {
    let pair = |to: &str| {
        let (measured, detail) = match answers {
            Ok(answers) => {
                let url = url(platform, to);
                answers.iter().find(|reached| reached.url == url).map_or_else(
                    || (Verdict::Broken, "no answer came back".to_owned()),
                    |reached| (Verdict::of(reached.status), told(reached.status, &reached.detail)),
                )
            }
            Err(why) => (Verdict::Unknown, why.clone()),
        };
        let allowed = caller.service.calls.iter().any(|called| called == to);
        compared(&caller.service.name, to, allowed, measured, detail)
    };
    callees(platform, caller).map(pair).collect()
}

fn compared(from: &str, to: &str, allowed: bool, measured: Verdict, detail: String) -> Pair {
    let expected = Verdict::expected(allowed);
    Pair {
        from: from.to_owned(),
        to: to.to_owned(),
        expected,
        measured,
        ok: measured == expected || measured == Verdict::Unknown,
        detail,
    }
}

fn told(status: Option<u16>, detail: &str) -> String {
    match status {
        Some(200) => "200".to_owned(),
        Some(status) => format!("{status}: {detail}"),
        None => detail.to_owned(),
    }
}

fn url(platform: &Platform, service: &str) -> String {
    let stack = platform.stack();
    format!(
        "http://{service}.{}:8080{}",
        stack.namespaces.apps,
        stack.health_of(service)
    )
}

/// What a caller's pod found out, or why it could not.
type Answers = Result<Vec<Reached>, String>;

/// What a caller's own container could say.
enum Found {
    Answers(Answers),
    /// It has nothing to ask with.
    Nothing {
        pod: String,
    },
}

fn urls(platform: &Platform, caller: &SizedService) -> Vec<String> {
    callees(platform, caller).map(|to| url(platform, to)).collect()
}

async fn by_own(platform: &Platform, cluster: &Cluster, caller: &SizedService) -> Found {
    let name = &caller.service.name;
    let namespace = &platform.stack().namespaces.apps;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let listed = pods
        .list(&ListParams::default().labels(&format!("app={name}")))
        .await;
    let running = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod
                .status
                .as_ref()
                .is_some_and(|status| status.phase.as_deref() == Some("Running"))
    };
    let listed = match listed {
        Ok(listed) => listed.items,
        Err(error) => return Found::Answers(Err(error.to_string())),
    };
    let pod = listed.into_iter().find(running);
    let Some(pod) = pod.and_then(|pod| pod.metadata.name) else {
        return Found::Answers(Err("no pod of it runs".to_owned()));
    };
    let target = ExecTarget {
        namespace,
        pod: &pod,
        container: Some(name),
    };
    match asking::by_own_agent(cluster, &target, &urls(platform, caller)).await {
        Some(answers) => Found::Answers(answers),
        None => Found::Nothing { pod },
    }
}

async fn by_added(
    platform: &Platform,
    cluster: &Cluster,
    caller: &SizedService,
    pod: &str,
    image: &str,
) -> Answers {
    let namespace = &platform.stack().namespaces.apps;
    asking::by_added_agent(cluster, namespace, pod, image, &urls(platform, caller)).await
}

/// Each service's first prefix through the gateway; a path below it that only the service itself could know.
async fn from_gateway(platform: &Platform, cluster: &Cluster) -> Result<Vec<Pair>, Failure> {
    let client = ingress::client(Duration::from_secs(20), platform.stack().host.as_deref())?;
    // The forward lives as long as the questions.
    let (base, _forward) = entrance(platform, cluster).await?;
    let token = match (TokenKey::load(&platform.options.state)?, &platform.stack().mesh) {
        (Some(key), Some(mesh)) => Some(
            key.sign(&mesh.policy.tokens, platform.stack(), &every_role(platform))?
                .token,
        ),
        _ => None,
    };
    let mut pairs = Vec::new();
    for sized in &platform.stack().services {
        let service = &sized.service;
        let Some(prefix) = service.prefixes.first() else {
            continue;
        };
        let url = format!("{base}{prefix}");
        let public = service.access.public.contains(prefix);
        let answer = ask_with(&client, &url, None).await;
        let detail = told(answer.status, answer.body.trim());
        pairs.push(compared(
            ANYBODY,
            &service.name,
            public,
            Verdict::of(answer.status),
            detail,
        ));
        if let Some(token) = &token {
            let answer = ask_with(&client, &url, Some(token)).await;
            let detail = told(answer.status, answer.body.trim());
            pairs.push(compared(
                WITH_TOKEN,
                &service.name,
                true,
                Verdict::of(answer.status),
                detail,
            ));
        }
    }
    Ok(pairs)
}

fn every_role(platform: &Platform) -> Claims {
    let services = platform.stack().services.iter();
    let roles = services.flat_map(|sized| sized.service.access.roles.values().flatten().cloned());
    Claims {
        subject: "vadev-verify".to_owned(),
        roles: roles.collect(),
        ttl: Duration::from_mins(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_meshs_own_refusals_are_denials() {
        for (status, verdict) in [
            (Some(200), Verdict::Allowed),
            (Some(404), Verdict::Allowed),
            (Some(403), Verdict::Denied),
            (Some(401), Verdict::Denied),
            (Some(503), Verdict::Broken),
            (None, Verdict::Broken),
        ] {
            assert_eq!(Verdict::of(status), verdict, "{status:?}");
        }
    }

    #[test]
    fn what_could_not_be_measured_is_no_failure_and_a_wrong_answer_is_one() {
        assert!(compared("a", "b", true, Verdict::Unknown, String::new()).ok);
        assert!(!compared("a", "b", false, Verdict::Allowed, String::new()).ok);
        assert!(!compared("a", "b", false, Verdict::Broken, String::new()).ok);
    }
}
