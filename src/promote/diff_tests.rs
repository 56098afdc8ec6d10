use indexmap::IndexMap;
use serde_json::json;

use super::*;
use crate::profile::profile::Override;
use crate::promote::Environment;

fn deployment(spec: &Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "namespace": "n" }, "spec": spec })
}

#[test]
fn spelling_order_and_defaults_are_no_difference() {
    let live = deployment(
        &json!({ "paused": false, "c": [{ "name": "y" }, { "name": "x", "resources": { "cpu": "1000m", "memory": "1024Mi" } }] }),
    );
    let tree = deployment(&json!({ "c": [{ "name": "x", "resources": { "memory": "1Gi", "cpu": "1" } }] }));
    assert!(differences([&live], [&tree], Sides::Live, &Reasons::default()).is_empty());
    assert_eq!(
        differences([&live], [&tree], Sides::Both, &Reasons::default()).len(),
        1
    );
    let old = json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "g", "namespace": "n" } });
    let mut new = old.clone();
    new["apiVersion"] = json!("networking.istio.io/v1beta1");
    assert!(differences([&old], [&new], Sides::Both, &Reasons::default()).is_empty());
}

#[test]
fn every_difference_has_its_reason() {
    let dev = deployment(
        &json!({ "replicas": 1, "containers": [{ "name": "a", "image": "x:1", "env": [{ "name": "LOG", "value": "b" }] }] }),
    );
    let prod = deployment(
        &json!({ "replicas": 2, "containers": [{ "name": "a", "image": "x:1@sha256:0", "env": [{ "name": "LOG", "value": "c" }] }] }),
    );
    let found = differences([&dev], [&prod], Sides::Live, &Reasons::default());
    let reasons: Vec<_> = found[0]
        .fields
        .iter()
        .map(|field| (field.path.as_str(), field.explanation))
        .collect();
    assert_eq!(
        reasons,
        [
            ("spec.replicas", Some(Explanation::Sizing)),
            ("spec.containers[a].image", Some(Explanation::Environment)),
            ("spec.containers[a].env[LOG].value", Some(Explanation::Drift)),
        ]
    );
    assert_eq!(found[0].explanation, Some(Explanation::Drift));
}

#[test]
fn whole_objects_and_secrets_are_told_without_values() {
    let secret = |value: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "n" }, "data": { "k": value } });
    let found = differences(
        [&secret("b25l")],
        [&secret("dHdv")],
        Sides::Both,
        &Reasons::default(),
    );
    assert_eq!(found[0].fields[0].from.as_deref(), Some("(hidden)"));
    let gone = differences([&secret("b25l")], [], Sides::Both, &Reasons::default());
    assert_eq!((gone[0].change, gone[0].fields.len()), (Change::Removed, 0));
}

#[test]
fn what_only_the_cluster_has_of_configuration_is_told() {
    let reasons = Reasons::default();
    let map = |data: &Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a-config", "namespace": "n" }, "data": data });
    let paths = |before: &Value, after: &Value| -> Vec<String> {
        let found = differences([before], [after], Sides::Live, &reasons);
        assert!(
            found
                .iter()
                .all(|one| one.explanation == Some(Explanation::Drift)),
            "{found:?}"
        );
        let fields = found.into_iter().flat_map(|one| one.fields);
        fields.map(|field| field.path).collect()
    };
    let (more, less) = (map(&json!({ "A": "1", "B": "2" })), map(&json!({ "A": "1" })));
    assert_eq!(paths(&more, &less), ["data.B"]);
    let mut none = less.clone();
    none.as_object_mut().expect("an object").shift_remove("data");
    assert_eq!(paths(&less, &none), ["data.A"]);
    let pod = |container: &Value| deployment(&json!({ "containers": [container] }));
    let live = pod(&json!({ "name": "a", "env": [
        { "name": "X", "value": "1" },
        // The server fills in the version.
        { "name": "Y", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "p" } } },
    ] }));
    let field = json!({ "name": "Y", "valueFrom": { "fieldRef": { "fieldPath": "p" } } });
    assert_eq!(
        paths(&live, &pod(&json!({ "name": "a", "env": [field] }))),
        ["spec.containers[a].env[X]"]
    );
    assert_eq!(
        paths(&live, &pod(&json!({ "name": "a" }))),
        ["spec.containers[a].env[X]", "spec.containers[a].env[Y]"]
    );
    let other = deployment(&json!({ "replicas": 1, "paused": true }));
    assert!(
        differences(
            [&other],
            [&deployment(&json!({ "replicas": 1 }))],
            Sides::Live,
            &reasons
        )
        .is_empty()
    );
}

#[test]
fn what_the_environment_states_or_this_machine_has_not_is_no_drift() {
    let environment = Environment {
        overrides: IndexMap::from([(
            "a".to_owned(),
            Override {
                config: [("LEVEL".to_owned(), "warn".to_owned())].into_iter().collect(),
                ..Override::default()
            },
        )]),
        ..Environment::unnamed()
    };
    let reasons = Reasons {
        left_out: vec!["grafana".to_owned()],
        other_files: vec!["prometheus".to_owned()],
        ..Reasons::of(&environment)
    };
    let map = |name: &str, key: &str, value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("{name}-config"), "namespace": "n", "labels": { "app": name } }, "data": { key: value } });
    let why = |name: &str, key: &str| {
        let (old, new) = (map(name, key, "1"), map(name, key, "2"));
        differences([&old], [&new], Sides::Live, &reasons)[0].explanation
    };
    assert_eq!(why("a", "LEVEL"), Some(Explanation::Environment));
    assert_eq!(why("a", "OTHER"), Some(Explanation::Drift));
    assert_eq!(why("b", "LEVEL"), Some(Explanation::Drift));
    assert_eq!(
        why("prometheus", "etc__prometheus.yml"),
        Some(Explanation::Environment)
    );
    let added = |name: &str| differences([], [&map(name, "k", "v")], Sides::Live, &reasons)[0].explanation;
    assert_eq!(
        (added("grafana"), added("kafka")),
        (Some(Explanation::Environment), Some(Explanation::Drift))
    );
}

#[test]
fn a_connection_pool_is_never_sized() {
    let rule = |most: u32| json!({ "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": { "name": "a", "namespace": "n" }, "spec": { "trafficPolicy": { "connectionPool": { "tcp": { "maxConnections": most } } } } });
    let found = differences([&rule(1)], [&rule(2)], Sides::Live, &Reasons::default());
    assert_eq!(found[0].explanation, Some(Explanation::Drift));
}

#[test]
fn several_files_of_one_volume_are_told_apart_by_where_they_are_mounted() {
    let mount = |path: &str, sub: &str| json!({ "name": "files", "mountPath": path, "subPath": sub });
    let pod =
        |mounts: &[Value]| deployment(&json!({ "containers": [{ "name": "a", "volumeMounts": mounts }] }));
    let two = pod(&[mount("/etc/a", "a"), mount("/etc/b", "b")]);
    for sides in [Sides::Both, Sides::Live] {
        assert!(differences([&two], [&two], sides, &Reasons::default()).is_empty());
    }
    let other = pod(&[mount("/etc/a", "a"), mount("/etc/b", "c")]);
    let found = differences([&two], [&other], Sides::Live, &Reasons::default());
    assert_eq!(
        found[0].fields[0].path,
        "spec.containers[a].volumeMounts[/etc/b].subPath"
    );
}

#[test]
fn what_a_hand_added_to_a_live_pod_is_told() {
    let tree =
        deployment(&json!({ "containers": [{ "name": "a", "securityContext": { "privileged": false } }] }));
    let live = deployment(&json!({
        "hostNetwork": true,
        "dnsPolicy": "ClusterFirst",
        "containers": [
            { "name": "a", "securityContext": { "privileged": false, "capabilities": { "add": ["ALL"] } } },
            { "name": "shell", "image": "x" },
        ],
        "volumes": [{ "name": "root", "hostPath": { "path": "/" } }],
    }));
    let found = differences([&live], [&tree], Sides::Live, &Reasons::default());
    let paths: Vec<&str> = found[0].fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.containers[a].securityContext.capabilities",
            "spec.containers[shell]",
            "spec.hostNetwork",
            "spec.volumes",
        ]
    );
    let bare = unexplained(found);
    assert!(bare[0].explanation.is_none() && bare[0].fields.iter().all(|field| field.explanation.is_none()));
}
