//! Plans asserted as text, without Docker or a cluster.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::json;

use super::*;
use crate::profile::Stack;
use crate::profile::stack::Namespaces;
use crate::render::Object;

mod scaled;

pub fn stack() -> Stack {
    Stack {
        profile: "dev".into(),
        workspace: "test".into(),
        namespaces: Namespaces::default(),
        host: None,
        mesh: None,
        infrastructure: vec![],
        services: vec![],
        seed: false,
        metrics: false,
        left_out: vec![],
        figures: vec![],
        rolling: crate::catalog::service::Amount::default(),
        partial: false,
    }
}

fn objects() -> Vec<Object> {
    let object = |component: &str, value: serde_json::Value| Object::new(component, value);
    vec![
        object(
            "namespaces",
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "infra" } }),
        ),
        object(
            "redis",
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "redis", "namespace": "infra" }, "spec": { "replicas": 1 } }),
        ),
        object(
            "mesh",
            json!({ "apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication", "metadata": { "name": "default", "namespace": "apps" } }),
        ),
    ]
}

fn images() -> IndexMap<String, Vec<String>> {
    IndexMap::from([
        ("cluster".to_owned(), vec!["node:1".to_owned()]),
        ("mesh".to_owned(), vec!["pilot:1".to_owned()]),
        ("redis".to_owned(), vec!["redis:7".to_owned()]),
    ])
}

fn text(observed: &Observed) -> String {
    planned(observed, false)
}

fn planned(observed: &Observed, pushes: bool) -> String {
    let (stack, objects, images) = (stack(), objects(), images());
    let desired = Desired {
        stack: &stack,
        objects: &objects,
        images: &images,
        mesh_digest: Some("d1"),
        pushes,
        whole: true,
    };
    plan(&desired, observed).to_string()
}

fn everything_there() -> Observed {
    let live: BTreeMap<_, _> = objects()
        .iter()
        .map(|object| (object.id(), object.value().clone()))
        .collect();
    Observed {
        cluster: ClusterState::Running,
        mesh: MeshState::Installed("d1".into()),
        objects: live,
        ..Observed::default()
    }
}

#[test]
fn an_empty_machine_gets_everything_in_order() {
    let missing = |reference: &str| (reference.to_owned(), "missing".to_owned());
    let observed = Observed {
        images_to_supply: ["node:1", "redis:7"].map(missing).into(),
        tools_to_supply: ["kind", "istioctl"].map(missing).into(),
        ..Observed::default()
    };
    insta::assert_snapshot!(text(&observed), @r"
    image/node:1: Get image node:1 (missing)
    image/redis:7: Get image redis:7 (missing)
    tool/kind: Get kind (missing)
    cluster: Create the kind cluster (missing)  [after image/node:1, tool/kind]
    nodes: Wait for the nodes (missing)  [after image/node:1, tool/kind]
    api: Wait for the API server (missing)  [after image/node:1, tool/kind]
    ship/mesh: Load into the nodes: pilot:1 (not in the nodes)  [after nodes]
    ship/redis: Load into the nodes: redis:7 (not in the nodes)  [after nodes, image/redis:7]
    tool/istioctl: Get istioctl (missing)
    mesh: Install Istio (missing)  [after api, ship/mesh, tool/istioctl]
    gateway: Wait for the ingress gateway (missing)  [after mesh]
    apply/namespaces: Apply namespaces (Namespace/infra: missing)  [after api]
    apply/redis: Apply redis (StatefulSet/redis in infra: missing)  [after api, apply/namespaces, ship/redis]
    ready/redis: Wait for redis (StatefulSet/redis in infra: missing)  [after apply/redis, cluster]
    apply/mesh: Apply mesh (PeerAuthentication/default in apps: missing)  [after api, apply/namespaces, mesh, ship/mesh]
    ");
}

#[test]
fn a_second_up_has_nothing_to_do() {
    assert_eq!(text(&everything_there()), "");
}

#[test]
fn an_istio_that_somebody_else_shares_is_not_installed_anew() {
    let mut observed = everything_there();
    observed.mesh = MeshState::Installed("another's".into());
    assert_eq!(planned(&observed, true), "");
    assert!(planned(&observed, false).contains("Install Istio (installation changed)"));
}

#[test]
fn a_newer_node_image_is_for_the_next_cluster() {
    let mut observed = everything_there();
    let changed = ("node:1".to_owned(), "recipe changed".to_owned());
    observed.images_to_supply.extend([changed]);
    assert_eq!(text(&observed), "");
    observed.cluster = ClusterState::Missing;
    assert!(text(&observed).contains("image/node:1"));
}

#[test]
fn what_an_interrupted_run_applied_is_waited_for() {
    let mut observed = everything_there();
    for (id, value) in &mut observed.objects {
        if id.kind == "StatefulSet" {
            value["status"] = json!({});
        }
    }
    insta::assert_snapshot!(text(&observed), @"ready/redis: Wait for redis (not ready yet)");
    for (id, value) in &mut observed.objects {
        if id.kind == "StatefulSet" {
            value["status"] = json!({ "readyReplicas": 1 });
        }
    }
    assert_eq!(text(&observed), "");
}

#[test]
fn drift_is_named_and_leftovers_are_pruned() {
    let mut observed = everything_there();
    for (id, value) in &mut observed.objects {
        if id.kind == "StatefulSet" {
            value["spec"]["replicas"] = json!(3);
        }
    }
    let old = Object::new(
        "kafka",
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "kafka", "namespace": "infra" } }),
    );
    observed.objects.insert(old.id(), old.value().clone());
    insta::assert_snapshot!(text(&observed), @r"
    apply/redis: Apply redis (StatefulSet/redis in infra: drifted: spec.replicas 3 → 1)
    ready/redis: Wait for redis (StatefulSet/redis in infra: drifted: spec.replicas 3 → 1)  [after apply/redis]
    prune: Remove objects: 1 (no longer in the profile)
    ");
}

#[test]
fn a_stopped_cluster_is_started_and_a_broken_one_made_again() {
    let mut observed = everything_there();
    observed.cluster = ClusterState::Stopped;
    insta::assert_snapshot!(text(&observed), @"cluster: Start the cluster (stopped)");
    let broken = Observed {
        cluster: ClusterState::Broken("creation was interrupted".into()),
        ..Observed::default()
    };
    assert!(text(&broken).contains("cluster: Create the kind cluster (creation was interrupted)"));
    assert!(text(&broken).contains("remove: Remove the unfinished cluster (creation was interrupted)"));
    assert!(text(&broken).contains("[after remove]"));
    assert!(text(&broken).contains("ship/redis"));
}

#[test]
fn pods_get_a_new_image_after_it_was_shipped_and_without_a_rollout() {
    let mut observed = everything_there();
    observed
        .images_to_supply
        .insert("redis:7".into(), "source changed".into());
    observed.stale = BTreeMap::from([
        ("redis".to_owned(), "image changed".to_owned()),
        ("not-in-this-run".to_owned(), "image changed".to_owned()),
    ]);
    insta::assert_snapshot!(text(&observed), @r"
    image/redis:7: Get image redis:7 (source changed)
    ship/redis: Load into the nodes: redis:7 (not in the nodes)  [after image/redis:7]
    swap/redis: Start the new redis (image changed)  [after ship/redis]
    ");
}

#[test]
fn a_mesh_that_lost_a_part_is_installed_again() {
    let mut observed = everything_there();
    observed.mesh = MeshState::Damaged("Deployment/istio-ingressgateway missing".into());
    // Installing brings a certificate along.
    observed.certificate_missing = Some("Secret/cert".into());
    insta::assert_snapshot!(text(&observed), @r"
    mesh: Install Istio (Deployment/istio-ingressgateway missing)
    gateway: Wait for the ingress gateway (Deployment/istio-ingressgateway missing)  [after mesh]
    ");
}

#[test]
fn a_lost_certificate_is_a_step_of_its_own() {
    let mut observed = everything_there();
    observed.certificate_missing = Some("Secret/cert".into());
    insta::assert_snapshot!(text(&observed), @"certificate: Give the ingress gateway a certificate (Secret/cert missing)");
    observed.mesh = MeshState::Foreign;
    assert_eq!(text(&observed), "", "somebody else's gateway is somebody else's");
}

#[test]
fn what_is_taken_out_of_the_workspace_is_taken_out_of_the_cluster() {
    let mut observed = everything_there();
    for (id, value) in &mut observed.objects {
        if id.kind == "StatefulSet" {
            value["metadata"]["managedFields"] = json!([{
                "manager": "vadev", "operation": "Apply", "apiVersion": "apps/v1",
                "fieldsV1": { "f:spec": { "f:replicas": {}, "f:paused": {} } },
            }]);
        }
    }
    insta::assert_snapshot!(text(&observed), @r"
    apply/redis: Apply redis (StatefulSet/redis in infra: drifted: spec.paused not wanted any more)
    ready/redis: Wait for redis (StatefulSet/redis in infra: drifted: spec.paused not wanted any more)  [after apply/redis]
    ");
}

/// A part of the built-in profile `dev` on a cluster that runs some of it already.
mod parts {
    use std::collections::BTreeSet;

    use super::*;
    use crate::profile::{Selection, Sources, load_all, resolve};
    use crate::render::{self, Setting, official};

    fn resolved(selection: &Selection) -> Stack {
        let loaded = load_all(&Sources::default(), "test").expect("what is built in");
        let profile = &loaded.profiles["dev"];
        resolve(&loaded.catalog, profile, &loaded.workspace, selection, None).expect("resolves")
    }

    fn setting(stack: &Stack) -> Setting {
        // The stand-in asks its stores, and so depends on what runs beside it.
        let mut images = official(stack);
        for image in images.values_mut() {
            image.origin = render::Origin::StandIn;
        }
        Setting {
            images,
            ..Setting::default()
        }
    }

    /// The plan of a part, and its objects.
    fn planned(
        selection: &Selection,
        running: &[Object],
        runs: impl Fn(&str) -> bool,
    ) -> (String, Vec<Object>) {
        let (part, whole) = (resolved(selection), resolved(&Selection::default()));
        let objects = render::part(&part, &part.amid(&whole, runs), &setting(&part));
        let desired = Desired {
            stack: &part,
            objects: &objects,
            images: &IndexMap::new(),
            mesh_digest: Some("d1"),
            pushes: false,
            whole: false,
        };
        let observed = Observed {
            cluster: ClusterState::Running,
            mesh: MeshState::Installed("d1".into()),
            objects: running
                .iter()
                .map(|object| (object.id(), object.value().clone()))
                .collect(),
            ..Observed::default()
        };
        let text = plan(&desired, &observed).to_string();
        (text, objects)
    }

    fn selections() -> [Selection; 4] {
        let base = Selection::default();
        [
            Selection {
                services: vec!["agent-engine".into()],
                ..base.clone()
            },
            Selection {
                only: vec!["agent-engine".into()],
                ..base.clone()
            },
            Selection {
                only: vec!["core-storage".into()],
                ..base.clone()
            },
            Selection {
                skip_infra: true,
                ..base
            },
        ]
    }

    #[test]
    fn beside_the_whole_a_part_changes_nothing() {
        let whole = resolved(&Selection::default());
        let running = render::objects(&whole, &setting(&whole));
        for selection in selections() {
            let (text, _) = planned(&selection, &running, |_| true);
            assert_eq!(text, "", "{selection:?}");
        }
    }

    #[test]
    fn a_service_that_joins_others_gets_its_routes_and_leaves_them_theirs() {
        let first = resolved(&selections()[0]);
        let running = render::objects(&first, &setting(&first));
        let there: BTreeSet<&str> = first.component_names().collect();
        let joins = Selection {
            only: vec!["ai-orchestrator".into()],
            ..Selection::default()
        };
        let (text, objects) = planned(&joins, &running, |name| there.contains(name));
        // It calls the agent engine, and is a way in.
        let steps: Vec<&str> = text.lines().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(
            steps,
            ["apply/mesh", "apply/ai-orchestrator", "ready/ai-orchestrator"],
            "{text}"
        );
        let (before, after) = (routes(&running), routes(&objects));
        assert!(
            before.is_subset(&after) && before.len() < after.len(),
            "{before:?} {after:?}"
        );
        let policy = |objects: &[Object]| {
            let found = objects.iter().find(|object| {
                object.id().kind == "AuthorizationPolicy" && object.id().name == "agent-engine"
            });
            found.expect("the agent engine's policy").value().to_string()
        };
        assert!(policy(&objects).contains("sa/ai-orchestrator"));
        assert!(!policy(&running).contains("sa/ai-orchestrator"));
    }

    #[test]
    fn on_an_empty_cluster_a_part_has_a_mesh_for_itself_alone() {
        let part = resolved(&selections()[0]);
        let (_, objects) = planned(&selections()[0], &[], |_| false);
        let same = render::objects(&part, &setting(&part));
        let ids = |objects: &[Object]| objects.iter().map(Object::id).collect::<BTreeSet<_>>();
        assert_eq!(ids(&objects), ids(&same));
        assert_eq!(routes(&objects), routes(&same));
    }

    /// The names of the routes from the gateway.
    fn routes(objects: &[Object]) -> BTreeSet<String> {
        let all = objects
            .iter()
            .find(|object| object.id().name == "voiceassistant-routes");
        let all = all.expect("routes").value()["spec"]["http"].as_array();
        let names = all
            .into_iter()
            .flatten()
            .filter_map(|route| route["name"].as_str());
        // The platform's own health is answered by its entry, which may be another one now.
        names
            .filter(|name| !name.ends_with("/health"))
            .map(str::to_owned)
            .collect()
    }
}
