//! Who can reach whom, tried from within the callers' own containers, so that their sidecars, mutual TLS and authorization
//! take part as in a real call.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use serde::Serialize;

use super::asking;
use crate::agent::serve::Reached;
use crate::failure::Failure;
use crate::k8s::{Cluster, ExecTarget, exec};
use crate::operate::error::OperateError;
use crate::operate::site::{Site, Workload, pod_name};

/// How many programs ask at once: each is a process in a container.
const SIDE_BY_SIDE: usize = 6;

/// A pair to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The caller.
    pub from: String,
    /// The called.
    pub to: String,
    /// Whether the caller calls it by the catalog.
    pub called: bool,
    /// The path of the called one's health.
    pub health: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// The caller.
    pub from: String,
    /// The called.
    pub to: String,
    /// Whether the caller calls it by the catalog.
    pub called: bool,
    /// Whether the called one's health, for instance `http://<to>:8080/health`, answered well.
    pub ok: bool,
    /// Why not, or why it could not be tried; absent where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether it could be tried at all: a pod of the caller runs, and its image has a program that can ask, or
    /// took in a container that has one.
    pub tried: bool,
}

/// Why a caller that does not run could not try.
const NO_POD: &str = "no pod of it runs";

impl Reach {
    /// Whether a call that the caller makes does not get through: one that does not run reaches nothing.
    pub fn is_broken(&self) -> bool {
        self.called && !self.ok && (self.tried || self.problem.as_deref() == Some(NO_POD))
    }
}

/// What came of one call: why it failed, where it did.
type Answer = Result<(), String>;

/// One that runs.
struct Caller {
    namespace: String,
    pod: String,
    container: String,
}

/// What the callers' own programs said.
enum Found {
    Answers(Vec<Answer>),
    /// No pod of the caller runs.
    NoPod,
    /// Its container has no program that asks.
    Nothing(Caller),
}

/// Tries every pair. Where callers have nothing to ask with, `image` is asked once for the agent's image, with how many they
/// are, and a container of it is added to a pod of each.
pub async fn check(
    site: &Site,
    pairs: &[Pair],
    port: u16,
    image: impl AsyncFnOnce(usize) -> Result<String, String>,
) -> Result<Vec<Reach>, Failure> {
    let mut callers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, pair) in pairs.iter().enumerate() {
        callers.entry(&pair.from).or_default().push(at);
    }
    let workloads = site.workloads().await?;
    let mut found = Vec::new();
    for (name, at) in callers {
        let caller = caller(site, &workloads, name).await?;
        let urls = at
            .iter()
            .map(|at| format!("http://{}:{port}{}", pairs[*at].to, pairs[*at].health));
        let urls: Vec<String> = urls.collect();
        found.push((at, caller, urls));
    }
    let found: Vec<_> = stream::iter(found)
        .map(|(at, caller, urls)| async move {
            let found = match caller {
                // One that does not run is a finding, and no reason to say nothing about the others.
                None => Found::NoPod,
                Some(caller) => by_own(&site.cluster, caller, &urls).await,
            };
            (at, urls, found)
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    let mut reached: Vec<Option<Reach>> = vec![None; pairs.len()];
    let mut note = |all: &[usize], answers: Vec<Answer>| {
        for (at, answer) in all.iter().zip(answers) {
            reached[*at] = Some(tried(&pairs[*at], answer));
        }
    };
    let mut helpless = Vec::new();
    let mut untold: Vec<(Vec<usize>, String)> = Vec::new();
    for (at, urls, found) in found {
        match found {
            Found::Answers(answers) => note(&at, answers),
            Found::NoPod => untold.push((at, NO_POD.to_owned())),
            Found::Nothing(caller) => helpless.push((at, urls, caller)),
        }
    }
    if !helpless.is_empty() {
        let image = image(helpless.len()).await;
        let mut asked = stream::iter(helpless)
            .map(|(at, urls, Caller { namespace, pod, .. })| {
                let image = image.as_deref();
                async move {
                    let image = image.map_err(|why| format!("{}, and {why}", asking::NOTHING))?;
                    asking::by_added_agent(&site.cluster, &namespace, &pod, image, &urls)
                        .await
                        .map(|reached| in_order(&urls, &reached))
                }
                .map(|answers| (at, answers))
            })
            .buffer_unordered(SIDE_BY_SIDE);
        while let Some((at, answers)) = asked.next().await {
            match answers {
                Ok(answers) => note(&at, answers),
                Err(why) => untold.push((at, why)),
            }
        }
    }
    for (all, why) in untold {
        for at in all {
            reached[at] = Some(untried(&pairs[at], why.clone()));
        }
    }
    Ok(reached.into_iter().flatten().collect())
}

/// The caller's pod to ask from; `None` where none runs.
async fn caller(site: &Site, workloads: &[Workload], name: &str) -> Result<Option<Caller>, Failure> {
    let workload = workloads.iter().find(|one| one.name() == name);
    let known = || workloads.iter().map(|one| one.name().to_owned()).collect();
    let workload = workload.ok_or_else(|| OperateError::unknown(name, known()))?;
    let pod = site.find_running_pod(workload).await?;
    Ok(pod.map(|pod| Caller {
        namespace: workload.namespace().to_owned(),
        pod: pod_name(&pod).to_owned(),
        container: workload.container().to_owned(),
    }))
}

fn untried(pair: &Pair, why: String) -> Reach {
    Reach {
        from: pair.from.clone(),
        to: pair.to.clone(),
        called: pair.called,
        ok: false,
        problem: Some(why),
        tried: false,
    }
}

fn tried(pair: &Pair, answer: Answer) -> Reach {
    Reach {
        from: pair.from.clone(),
        to: pair.to.clone(),
        called: pair.called,
        ok: answer.is_ok(),
        problem: answer.err(),
        tried: true,
    }
}

/// Asks with what the caller's own container has.
async fn by_own(cluster: &Cluster, caller: Caller, urls: &[String]) -> Found {
    let target = ExecTarget {
        namespace: &caller.namespace,
        pod: &caller.pod,
        container: Some(&caller.container),
    };
    match asking::by_own_agent(cluster, &target, urls).await {
        Some(Ok(reached)) => return Found::Answers(in_order(urls, &reached)),
        Some(Err(why)) => return Found::Answers(vec![Err(why); urls.len()]),
        None => {}
    }
    let Some((first, others)) = urls.split_first() else {
        return Found::Answers(Vec::new());
    };
    for way in WAYS {
        // The first address finds out whether there is such a program.
        let Some(answer) = by(cluster, &target, way, first).await else {
            continue;
        };
        let others = stream::iter(others)
            .map(|url| by(cluster, &target, way, url))
            .buffered(SIDE_BY_SIDE);
        let lost = || Err(asking::NOTHING.to_owned());
        let others: Vec<Answer> = others.map(|answer| answer.unwrap_or_else(lost)).collect().await;
        return Found::Answers(std::iter::once(answer).chain(others).collect());
    }
    Found::Nothing(caller)
}

/// Other programs that can ask, which the image of a service may have.
const WAYS: [fn(&str) -> Vec<String>; 3] = [
    |url| words(&["curl", "-sS", "-f", "-m", "5", "-o", "/dev/null", url]),
    |url| words(&["wget", "-q", "-O", "/dev/null", url]),
    |url| {
        let script = format!("import urllib.request as r; r.urlopen({url:?}, timeout=5).read()");
        words(&["python3", "-c", &script])
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Asks one address one way; `None` where the container has no such program.
async fn by(
    cluster: &Cluster,
    target: &ExecTarget<'_>,
    way: fn(&str) -> Vec<String>,
    url: &str,
) -> Option<Answer> {
    let words = way(url);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match exec(cluster, target, &words, None, Duration::from_secs(20)).await {
        Ok(_) => Some(Ok(())),
        Err(error) if asking::is_missing(&error) => None,
        Err(error) => Some(Err(asking::reason(&error))),
    }
}

/// What the agent found, in the order of the addresses.
fn in_order(urls: &[String], reached: &[Reached]) -> Vec<Answer> {
    let answer = |url: &String| {
        let one = reached.iter().find(|one| one.url == *url);
        let one = one.ok_or_else(|| "no answer came back".to_owned())?;
        match one.status {
            Some(200..300) => Ok(()),
            Some(status) if one.detail.is_empty() => Err(format!("answered {status}")),
            Some(status) => Err(format!("answered {status}: {}", one.detail)),
            None => Err(one.detail.clone()),
        }
    };
    urls.iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_the_address_that_it_came_from() {
        let reached = |url: &str, status: Option<u16>, detail: &str| Reached {
            url: url.into(),
            status,
            detail: detail.into(),
        };
        let found = [
            reached("b", Some(403), "RBAC: access denied"),
            reached("a", Some(204), ""),
            reached("c", Some(503), ""),
            reached("d", None, "no answer within 8 s"),
        ];
        let urls = ["a", "b", "c", "d", "e"].map(str::to_owned);
        let answers = in_order(&urls, &found);
        let problems: Vec<_> = answers.into_iter().map(Result::err).collect();
        let why = |text: &str| Some(text.to_owned());
        assert_eq!(
            problems,
            [
                None,
                why("answered 403: RBAC: access denied"),
                why("answered 503"),
                why("no answer within 8 s"),
                why("no answer came back"),
            ]
        );
    }

    #[test]
    fn a_caller_without_a_pod_is_broken_and_one_that_can_not_ask_is_not() {
        let pair = Pair {
            from: "a".into(),
            to: "b".into(),
            called: true,
            health: "/health".into(),
        };
        assert!(untried(&pair, NO_POD.to_owned()).is_broken());
        assert!(!untried(&pair, asking::NOTHING.to_owned()).is_broken());
        assert!(tried(&pair, Err("answered 403".to_owned())).is_broken());
        assert!(!tried(&pair, Ok(())).is_broken());
    }
}
