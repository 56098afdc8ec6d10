//! Who can reach whom, tried from within the callers' own containers, so that their sidecars, mutual TLS and authorization
//! take part as in a real call.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde::Serialize;

use crate::failure::Failure;
use crate::k8s::{ExecTarget, K8sError, exec};
use crate::operate::error::OperateError;
use crate::operate::site::{Site, pod_name};

/// How many calls are tried at once: each is a process in a container.
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
    /// Whether `http://<to>:8080/health` answered well.
    pub ok: bool,
    /// Why not; absent where it did, or could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether it could be tried at all: a pod of the caller runs, and its image has a program that can ask.
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

/// Ways to send a request from within a container, by what its image has.
fn ways(url: &str) -> Vec<Vec<String>> {
    let python = format!("import urllib.request as r; r.urlopen({url:?}, timeout=5).read()");
    [
        vec!["/vadev-agent", "check", url],
        vec!["curl", "-sS", "-f", "-m", "5", "-o", "/dev/null", url],
        vec!["wget", "-q", "-O", "/dev/null", url],
        vec!["python3", "-c", python.as_str()],
    ]
    .into_iter()
    .map(|words| words.into_iter().map(str::to_owned).collect())
    .collect()
}

/// Tries every pair.
pub async fn check(site: &Site, pairs: &[Pair], port: u16) -> Result<Vec<Reach>, Failure> {
    let workloads = site.workloads().await?;
    let mut pods = std::collections::BTreeMap::new();
    for pair in pairs {
        if pods.contains_key(&pair.from) {
            continue;
        }
        let workload = workloads.iter().find(|one| one.name() == pair.from);
        let known = || workloads.iter().map(|one| one.name().to_owned()).collect();
        let workload = workload.ok_or_else(|| OperateError::unknown(&pair.from, known()))?;
        let pod = site.find_running_pod(workload).await?;
        let pod = pod.map(|pod| (workload, pod_name(&pod).to_owned()));
        pods.insert(pair.from.clone(), pod);
    }
    let mut found: Vec<(usize, Reach)> = stream::iter(pairs.iter().enumerate())
        .map(|(at, pair)| {
            let caller = &pods[&pair.from];
            async move {
                // One that does not run is a finding, and no reason to say nothing about the others.
                let Some((workload, pod)) = caller else {
                    return (at, untried(pair, Some(NO_POD.to_owned())));
                };
                let target = ExecTarget {
                    namespace: workload.namespace(),
                    pod,
                    container: Some(workload.container()),
                };
                (at, try_pair(site, &target, pair, port).await)
            }
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    found.sort_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, reach)| reach).collect())
}

fn untried(pair: &Pair, problem: Option<String>) -> Reach {
    Reach {
        from: pair.from.clone(),
        to: pair.to.clone(),
        called: pair.called,
        ok: false,
        problem,
        tried: false,
    }
}

async fn try_pair(site: &Site, target: &ExecTarget<'_>, pair: &Pair, port: u16) -> Reach {
    let url = format!("http://{}:{port}/health", pair.to);
    let mut reach = untried(pair, None);
    for way in ways(&url) {
        let words: Vec<&str> = way.iter().map(String::as_str).collect();
        match exec(&site.cluster, target, &words, None, Duration::from_secs(20)).await {
            Ok(_) => {
                return Reach {
                    ok: true,
                    tried: true,
                    ..reach
                };
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => {
                reach.tried = true;
                reach.problem = Some(reason(&error));
                return reach;
            }
        }
    }
    reach.problem = Some("its image has nothing that could ask (curl, wget, python3)".to_owned());
    reach
}

/// Whether the container has no such program.
fn is_missing(error: &K8sError) -> bool {
    let K8sError::Exec { problem, .. } = error else {
        return false;
    };
    [
        "executable file not found",
        "no such file or directory",
        "exit code 127",
        "exit code 126",
    ]
    .iter()
    .any(|word| problem.contains(word))
}

/// The last thing that the program said.
fn reason(error: &K8sError) -> String {
    match error {
        K8sError::Exec { problem, output, .. } => {
            let line = output.iter().rev().find(|line| !line.trim().is_empty());
            let line = line.map_or(problem.as_str(), String::as_str);
            let line = line.strip_prefix("vadev-agent: ").unwrap_or(line);
            line.split_once("/health: ")
                .map_or(line, |(_, why)| why)
                .to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_no_refusal() {
        let error = |problem: &str, line: &str| K8sError::Exec {
            pod: "p".into(),
            command: "c".into(),
            problem: problem.into(),
            output: vec![line.into()],
        };
        assert!(is_missing(&error(
            "exec: \"curl\": executable file not found in $PATH",
            ""
        )));
        let refused = error(
            "command terminated with non-zero exit code",
            "vadev-agent: http://a:8080/health: answered 403 Forbidden",
        );
        assert!(!is_missing(&refused));
        assert_eq!(reason(&refused), "answered 403 Forbidden");
    }

    #[test]
    fn a_caller_without_a_pod_is_broken_and_one_that_can_not_ask_is_not() {
        let pair = Pair {
            from: "a".into(),
            to: "b".into(),
            called: true,
        };
        assert!(untried(&pair, Some(NO_POD.to_owned())).is_broken());
        assert!(!untried(&pair, Some("its image has nothing that could ask".to_owned())).is_broken());
    }
}
