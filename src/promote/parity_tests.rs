//! What runs here against production: which differences nothing explains.

use serde_json::{Value, json};

use super::diff::Sides;
use super::tests::tree_of;
use super::*;
use crate::profile::{Sources, load_all};
use crate::render::mesh::{MeshSetting, TokenKeys, TokenTrust};
use crate::render::{DeployedImage, Object, Origin, Setting};

/// What a laptop has of a profile, with images from packages.
fn laptop(profile: &str) -> (Vec<Object>, Vec<String>) {
    let loaded = load_all(&Sources::default(), "shop").expect("what is built in");
    let host = crate::catalog::service::Amount {
        cpu: crate::catalog::MilliCpu(2000),
        memory: crate::catalog::Bytes::mib(24 * 1024),
    };
    let profile = &loaded.profiles[profile];
    let selection = crate::profile::Selection::default();
    let stack = crate::profile::resolve(
        &loaded.catalog,
        profile,
        &loaded.workspace,
        &selection,
        Some(host),
    );
    let stack = stack.expect("resolves");
    let image = |origin: Origin| DeployedImage {
        reference: "vadev.local/any:1".to_owned(),
        origin,
    };
    let workloads = || {
        stack
            .infrastructure
            .iter()
            .flat_map(|system| &system.infrastructure.workloads)
    };
    let systems = workloads().map(|workload| (workload.name.clone(), image(Origin::Packages)));
    let services = stack
        .services
        .iter()
        .map(|sized| (sized.service.name.clone(), image(Origin::StandIn)));
    let setting = Setting {
        // Of Grafana there is no package.
        images: systems
            .filter(|(name, _)| name != "grafana")
            .chain(services)
            .collect(),
        secret_references: true,
        mesh: MeshSetting {
            tokens: Some(TokenTrust {
                issuer: "vadev.dev/development".to_owned(),
                audience: "voiceassistant".to_owned(),
                keys: TokenKeys::Inline(r#"{"keys":[]}"#.to_owned()),
            }),
            traces_percent: 100,
            ..MeshSetting::default()
        },
        ..Setting::default()
    };
    let with_files = workloads().filter(|workload| workload.image.with_recipe.is_some());
    let other_files = with_files.map(|workload| workload.name.clone()).collect();
    (crate::render::objects(&stack, &setting), other_files)
}

#[test]
fn a_laptop_differs_from_production_by_size_and_environment_until_somebody_changes_it() {
    for profile in ["minimal", "dev", "full"] {
        let (objects, other_files) = laptop(profile);
        let reasons = Reasons {
            left_out: vec!["grafana".to_owned()],
            other_files,
            ..Reasons::default()
        };
        let tree = tree_of(profile);
        let mut here: Vec<Value> = objects.iter().map(|object| object.value().clone()).collect();
        let drifted = |here: &[Value]| -> Vec<String> {
            let wanted = tree.objects().map(|(_, object)| object);
            let found = differences(here, wanted, Sides::Live, &reasons);
            let drift = found
                .iter()
                .filter(|one| one.explanation == Some(Explanation::Drift));
            drift
                .map(|one| format!("{} {:?} {:?}", one.object, one.change, one.fields))
                .collect()
        };
        assert_eq!(drifted(&here), Vec::<String>::new(), "{profile}");
        let map = here
            .iter_mut()
            .find(|object| object["metadata"]["name"] == "agent-engine-config");
        map.expect("there")["data"]["NEW"] = json!("1");
        assert_eq!(drifted(&here).len(), 1, "{profile}");
    }
}

#[test]
fn no_profiles_tree_differs_from_itself() {
    for profile in ["minimal", "dev", "demo", "full", "prod"] {
        let tree = tree_of(profile);
        let objects = || tree.objects().map(|(_, object)| object);
        for sides in [Sides::Both, Sides::Live] {
            assert_eq!(
                differences(objects(), objects(), sides, &Reasons::default()),
                [],
                "{profile}"
            );
        }
    }
}
