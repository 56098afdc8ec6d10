use super::*;
use crate::k8s::suspect::{Restarts, suspect_since};
use serde_json::{Value, json};
use std::time::Duration;

fn pod(status: &Value) -> Arc<Pod> {
    let metadata =
        json!({"name": "agent-1", "namespace": "apps", "uid": "u1", "labels": {"app": "agent-engine"}});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap())
}

fn container(name: &str, restarts: i32, ready: bool, state: &Value, last: &Value) -> Value {
    json!({"name": name, "image": "vadev.local/x:1", "imageID": "", "ready": ready, "restartCount": restarts,
           "state": state, "lastState": last})
}

fn event(reason: &str, path: &str, count: i32, message: &str) -> Arc<Event> {
    let about = json!({"kind": "Pod", "name": "agent-1", "uid": "u1", "fieldPath": path});
    let event = json!({"metadata": {"name": "e"}, "involvedObject": about, "reason": reason, "message": message,
                       "count": count});
    Arc::new(serde_json::from_value(event).unwrap())
}

fn evidence(status: &Value, events: Vec<Arc<Event>>, log: &[&str]) -> Evidence {
    Evidence {
        target: ObjectRef::new("apps/v1", "Deployment", "apps", "agent-engine"),
        state: "0/1 pods ready".to_owned(),
        pods: vec![pod(status)],
        events,
        log: log.iter().map(|line| (*line).to_owned()).collect(),
    }
}

fn patience(evidence: &Evidence) -> Duration {
    suspect(&evidence.pods, &evidence.events).unwrap().patience
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn ended(code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason}})
}

fn one(state: &Value, last: &Value, restarts: i32) -> Value {
    json!({"phase": "Pending", "containerStatuses": [container("app", restarts, false, state, last)]})
}

#[test]
fn a_missing_image_is_named() {
    let state = waiting(
        "ErrImageNeverPull",
        "Container image \"vadev.local/x:1\" is not present with pull policy of Never",
    );
    let found = diagnose(&evidence(&one(&state, &json!({}), 0), vec![], &[]));
    assert_eq!(found.cause, Cause::ImageMissing);
    assert!(
        found.explanation.contains("vadev.local/x:1"),
        "{}",
        found.explanation
    );
    assert_eq!(found.subject, "Pod apps/agent-1, container app");
}

#[test]
fn a_crash_ends_the_wait_once_it_repeats() {
    let state = waiting("CrashLoopBackOff", "back-off");
    let early = evidence(&one(&state, &ended(1, "Error"), 1), vec![], &[]);
    let late = evidence(&one(&state, &ended(1, "Error"), 3), vec![], &["boom"]);
    assert!(patience(&early) > Duration::ZERO);
    assert_eq!(patience(&late), Duration::ZERO);
    let found = diagnose(&late);
    assert_eq!(
        found.explanation,
        "its process ends again and again: exit code 1, restarted 3 times"
    );
    assert_eq!(found.lines(), ["Pod apps/agent-1, container app", "  │ boom"]);
    assert_eq!(found.next, "vadev logs agent-engine");
}

#[test]
fn want_of_memory_is_told_apart_from_a_crash() {
    let status = one(&waiting("CrashLoopBackOff", ""), &ended(137, "OOMKilled"), 2);
    let found = diagnose(&evidence(&status, vec![], &[]));
    assert_eq!(found.cause, Cause::OutOfMemory);
    assert!(found.next.contains("raise the memory limit of agent-engine"));
}

#[test]
fn a_full_cluster_is_told_with_the_schedulers_words() {
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    let condition =
        json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
    let found = diagnose(&evidence(
        &json!({"phase": "Pending", "conditions": [condition]}),
        vec![],
        &[],
    ));
    assert_eq!(found.explanation, format!("no node can take it: {message}"));
    assert!(found.next.contains("smaller profile"));
}

#[test]
fn a_missing_config_map_is_named() {
    let state = waiting(
        "CreateContainerConfigError",
        "configmap \"agent-engine-config\" not found",
    );
    let found = diagnose(&evidence(&one(&state, &json!({}), 0), vec![], &[]));
    assert_eq!(found.cause, Cause::ConfigMissing);
    assert!(
        found
            .explanation
            .ends_with("configmap \"agent-engine-config\" not found")
    );
}

#[test]
fn a_failing_probe_counts_only_after_a_series() {
    let status = json!({"phase": "Running", "containerStatuses":
        [container("app", 0, false, &json!({"running": {}}), &json!({}))]});
    let probe = |count| {
        event(
            "Unhealthy",
            "spec.containers{app}",
            count,
            "Readiness probe failed: HTTP 503",
        )
    };
    assert!(suspect(&[pod(&status)], &[probe(1)]).is_none());
    let found = diagnose(&evidence(&status, vec![probe(9)], &[]));
    assert_eq!(found.cause, Cause::ProbeFailing);
    assert!(found.explanation.contains("HTTP 503"));
}

#[test]
fn a_rejected_listener_is_found_in_the_sidecars_log() {
    let running = json!({"running": {}});
    let status = json!({"phase": "Running",
        "initContainerStatuses": [container("istio-proxy", 0, false, &running, &json!({}))]});
    let line = "warning envoy config gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: \
                Error adding/updating listener(s) virtualInbound: Jwks is empty";
    let found = diagnose(&evidence(&status, vec![], &[line]));
    assert_eq!(found.cause, Cause::ListenerRejected);
    assert!(
        found.explanation.ends_with("virtualInbound: Jwks is empty"),
        "{}",
        found.explanation
    );
    assert_eq!(
        diagnose(&evidence(&status, vec![], &[])).cause,
        Cause::SidecarNotReady
    );
    let line = "gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: Error adding/updating \
                listener(s) x: Didn't find a registered implementation for 'istio.stats'";
    let found = diagnose(&evidence(&status, vec![], &[line]));
    assert!(found.next.contains("istioFilters: false"), "{}", found.next);
}

#[test]
fn a_failed_mount_counts_only_while_nothing_runs() {
    let mount = || {
        event(
            "FailedMount",
            "",
            3,
            "MountVolume.SetUp failed: secret \"tls\" not found",
        )
    };
    let creating = one(&waiting("ContainerCreating", ""), &json!({}), 0);
    assert_eq!(
        diagnose(&evidence(&creating, vec![mount()], &[])).cause,
        Cause::MountFailed
    );
    let running = json!({"phase": "Running", "containerStatuses":
        [container("app", 0, false, &json!({"running": {}}), &json!({}))]});
    assert_eq!(
        diagnose(&evidence(&running, vec![mount()], &[])).cause,
        Cause::Slow
    );
}

#[test]
fn pods_that_are_refused_leave_only_an_event() {
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "ReplicaSet"}, "reason": "FailedCreate",
                       "message": "pods \"x\" is forbidden: exceeded quota: apps"});
    let mut evidence = evidence(
        &json!({}),
        vec![Arc::new(serde_json::from_value(event).unwrap())],
        &[],
    );
    evidence.pods.clear();
    let found = diagnose(&evidence);
    assert_eq!(
        (found.cause, found.subject.as_str()),
        (Cause::Refused, "Deployment apps/agent-engine")
    );
}

#[test]
fn a_ready_or_starting_pod_raises_no_suspicion() {
    let ready = json!({"phase": "Running", "containerStatuses":
        [container("app", 2, true, &json!({"running": {}}), &ended(1, "Error"))]});
    assert!(suspect(&[pod(&ready)], &[]).is_none());
    assert!(suspect(&[pod(&one(&waiting("PodInitializing", ""), &json!({}), 0))], &[]).is_none());
}

#[test]
fn restarts_from_before_the_wait_are_no_crash_of_now() {
    let running = json!({"running": {}});
    let status = |restarts| json!({"phase": "Running", "containerStatuses": [container("app", restarts, false, &running, &ended(137, "Error"))]});
    let mut before = Restarts::default();
    before.note(&[pod(&status(5))]);
    let since = |status: &Value| suspect_since(&[pod(status)], &[], &before);
    assert!(since(&status(5)).is_none(), "its node was stopped five times");
    assert!(since(&status(7)).is_none());
    assert_eq!(since(&status(8)).unwrap().patience, Duration::ZERO);
    let back_off = one(&waiting("CrashLoopBackOff", ""), &ended(1, "Error"), 6);
    assert!(
        since(&back_off).unwrap().patience > Duration::ZERO,
        "what it waits for may be starting again as well"
    );
    let gone = one(&running, &ended(255, "Unknown"), 9);
    assert!(suspect(&[pod(&gone)], &[]).is_none());
}

#[test]
fn a_slow_starter_has_the_time_of_its_startup_probe() {
    let pod = |started: bool| {
        let mut status = container("app", 0, false, &json!({"running": {}}), &json!({}));
        status["started"] = json!(started);
        let probe = json!({"periodSeconds": 1, "failureThreshold": 180});
        Arc::new(
            serde_json::from_value::<Pod>(json!({
                "metadata": {"name": "agent-1", "uid": "u1"},
                "spec": {"containers": [{"name": "app", "startupProbe": probe}]},
                "status": {"phase": "Running", "containerStatuses": [status]},
            }))
            .unwrap(),
        )
    };
    let patience = |started, what: &str| {
        let probe = event("Unhealthy", "spec.containers{app}", 9, what);
        suspect(&[pod(started)], &[probe]).map(|found| found.patience)
    };
    let (starting, serving) = ("Startup probe failed: 503", "Readiness probe failed: 503");
    assert_eq!(patience(false, starting), Some(Duration::from_mins(3)));
    assert_eq!(
        patience(true, starting),
        None,
        "it has started since, and the time counts anew"
    );
    assert_eq!(patience(true, serving), Some(Duration::from_secs(90)));
}

#[test]
fn a_rejection_is_shown_however_long_ago_it_was() {
    let rejected =
        "gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: virtualInbound: bad";
    let unready =
        |at: usize| format!("Envoy proxy is NOT ready: lds updates: 0 successful, 1 rejected: {at}");
    let mut lines: Vec<String> = (0..40).map(unready).collect();
    assert_eq!(telling(lines.clone(), 3), [unready(37), unready(38), unready(39)]);
    lines[2] = rejected.to_owned();
    assert_eq!(
        telling(lines.clone(), 3),
        [rejected.to_owned(), unready(38), unready(39)]
    );
    let running = json!({"running": {}});
    let status = json!({"phase": "Running",
        "initContainerStatuses": [container("istio-proxy", 0, false, &running, &json!({}))]});
    let shown: Vec<String> = telling(lines, 3);
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let found = diagnose(&evidence(&status, vec![], &shown));
    assert_eq!(found.cause, Cause::ListenerRejected);
    assert!(
        found.explanation.ends_with(": virtualInbound: bad"),
        "{}",
        found.explanation
    );
    let counted = unready(1);
    let waits = diagnose(&evidence(&status, vec![], &[&counted]));
    assert_eq!(waits.cause, Cause::SidecarNotReady, "a count is no rejection");
}

#[test]
fn a_container_that_its_probe_has_killed_is_no_crash() {
    let failed = || {
        event(
            "Unhealthy",
            "spec.containers{app}",
            9,
            "Startup probe failed: HTTP 404",
        )
    };
    let killed = || {
        let message = "Container app failed startup probe, will be restarted";
        event("Killing", "spec.containers{app}", 1, message)
    };
    let running = json!({"running": {}});
    for (state, restarts) in [
        (waiting("CrashLoopBackOff", ""), 2),
        (ended(0, "Completed"), 1),
        (running, 3),
    ] {
        let status = one(&state, &ended(0, "Completed"), restarts);
        let found = diagnose(&evidence(&status, vec![failed(), killed()], &[]));
        assert_eq!(found.cause, Cause::ProbeFailing, "{status}");
        let expected = format!(
            "it runs, but its probe fails: Startup probe failed: HTTP 404, restarted {restarts} times"
        );
        assert_eq!(found.explanation, expected);
    }
    let status = one(&waiting("CrashLoopBackOff", ""), &ended(1, "Error"), 3);
    assert_eq!(
        diagnose(&evidence(&status, vec![failed()], &[])).cause,
        Cause::Crashing
    );
    // The kill was of a run before the last one.
    let mut later = ended(1, "Error");
    later["terminated"]["startedAt"] = json!("2026-01-01T10:00:00Z");
    let status = one(&waiting("CrashLoopBackOff", ""), &later, 3);
    let mut earlier = (*killed()).clone();
    earlier.last_timestamp = serde_json::from_value(json!("2026-01-01T09:00:00Z")).unwrap();
    let found = diagnose(&evidence(&status, vec![failed(), Arc::new(earlier)], &[]));
    assert_eq!(found.cause, Cause::Crashing);
}
