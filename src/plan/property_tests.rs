//! The planner over whatever may live in a cluster: it never panics, and what it wants is there once it was done.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::tests::stack;
use super::*;
use crate::render::develop::DEVELOPMENT;
use crate::render::{Object, ObjectId};

/// Objects with what makes comparing hard: lists of names, lists of places, empty values, numbers and their texts.
fn wanted() -> Vec<Object> {
    let container = json!({
        "name": "a", "image": "x:1", "args": ["serve"], "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "" }],
        "volumeMounts": [{ "name": "files", "mountPath": "/a" }, { "name": "files", "mountPath": "/b" }],
        "ports": [{ "containerPort": 80, "name": "http" }], "resources": {},
    });
    vec![
        Object::new(
            "namespaces",
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "infra" } }),
        ),
        Object::new(
            "one",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "one", "namespace": "apps" },
                "spec": { "replicas": 1, "template": { "spec": { "containers": [container], "tolerations": [] } } },
            }),
        ),
        Object::new(
            "one",
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "one-secret", "namespace": "apps" },
                "data": { "KEY": "dmFsdWU=" },
            }),
        ),
    ]
}

/// Words that mean something to Kubernetes or to the planner, and others.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "metadata",
        "labels",
        "annotations",
        "spec",
        "status",
        "name",
        "mountPath",
        "template",
        "containers",
        "env",
        "data",
        "replicas",
        "readyReplicas",
        "managedFields",
        "fieldsV1",
        "manager",
        "operation",
        "subresource",
        "vadev",
        "Apply",
        "apiVersion",
        "apps/v1",
        "f:spec",
        "f:metadata",
        "f:replicas",
        "k:{\"name\":\"a\"}",
        "k:[",
        "v:1",
        ".",
        "a",
        DEVELOPMENT,
        "vadev.dev/component",
        "one",
    ];
    prop_oneof![3 => select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        let pairs = proptest::collection::vec((word(), inner.clone()), 0..5);
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            pairs.prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every place in a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            places(
                value,
                &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                found,
            );
        }),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// An object as it is wanted, with anything at one of its places, and with any account of what was applied.
fn disturbed(value: Value) -> impl Strategy<Value = Value> {
    let mut all = Vec::new();
    places(&value, "", &mut all);
    (select(all), anything(), anything()).prop_map(move |(place, with, fields)| {
        let mut value = value.clone();
        if let Some(metadata) = value["metadata"].as_object_mut() {
            let entry = json!({ "manager": "vadev", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": fields });
            metadata.insert("managedFields".into(), json!([entry]));
        }
        if let Some(there) = value.pointer_mut(&place) {
            *there = with;
        }
        value
    })
}

/// What lives under each wanted name: nothing, anything, or nearly what is wanted.
fn world() -> impl Strategy<Value = BTreeMap<ObjectId, Value>> {
    let each: Vec<_> = wanted()
        .into_iter()
        .map(|object| {
            let nearly = disturbed(object.value().clone()).prop_map(Some);
            let live = prop_oneof![1 => Just(None), 2 => anything().prop_map(Some), 4 => nearly];
            (Just(object.id()), live)
        })
        .collect();
    let others = proptest::collection::vec(anything(), 0..3);
    (each, others).prop_map(|(each, others)| {
        let named = each.into_iter().filter_map(|(id, live)| Some((id, live?)));
        let strange = others.into_iter().enumerate().map(|(number, live)| {
            let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("left-{number}") } });
            (Object::new("gone", value).id(), live)
        });
        named.chain(strange).collect()
    })
}

/// The API server's part, in short: what is applied wins, what others have said stays, and the account is of what was applied.
fn applied(wanted: &Value, live: Option<&Value>) -> Value {
    let mut now = live.map_or_else(|| wanted.clone(), |live| merged(wanted, live));
    if let Some(metadata) = now["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(notes) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            notes.remove(DEVELOPMENT);
        }
    }
    now
}

fn merged(wanted: &Value, live: &Value) -> Value {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            let mut now = live.clone();
            for (key, value) in wanted {
                let there = now
                    .get(key)
                    .map_or_else(|| value.clone(), |there| merged(value, there));
                now.insert(key.clone(), there);
            }
            Value::Object(now)
        }
        (wanted, _) => wanted.clone(),
    }
}

fn observed(objects: BTreeMap<ObjectId, Value>) -> Observed {
    Observed {
        cluster: ClusterState::Running,
        objects,
        ..Observed::default()
    }
}

proptest! {
    #[test]
    fn what_was_planned_and_done_leaves_nothing_to_plan(before in world(), whole in any::<bool>()) {
        let (stack, objects, images) = (stack(), wanted(), IndexMap::new());
        let desired = Desired { stack: &stack, objects: &objects, images: &images, mesh_digest: None, pushes: false, whole };
        let mut live = before.clone();
        let first = plan(&desired, &observed(before));
        prop_assert!(!first.view().iter().any(|step| step.cause.is_empty()), "every step has a cause:\n{first}");
        for step in &first.steps {
            match &step.action {
                Action::Apply(changes) => for change in changes {
                    let id = change.object.id();
                    let now = applied(change.object.value(), live.get(&id));
                    live.insert(id, now);
                },
                Action::Prune(ids) => live.retain(|id, _| !ids.contains(id)),
                // Its pods, which are none of the planner's doing.
                _ => {}
            }
        }
        let again = plan(&desired, &observed(live));
        let left: Vec<_> = again.steps.iter().filter(|step| !matches!(step.action, Action::Wait(_))).collect();
        prop_assert!(left.is_empty(), "{again}");
    }
}
