//! The equivalents of every built-in profile.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::profile::{Selection, Sources, load_all, resolve};
use crate::render::official;

const PROFILES: [&str; 5] = ["minimal", "dev", "demo", "full", "prod"];

/// As `compose-equivalents/` has it: sized by the profile alone, whatever the machine.
fn equivalent(profile: &str) -> (Stack, Equivalent) {
    let loaded = load_all(&Sources::default(), "voiceassistant").expect("what is built in");
    let stack = resolve(
        &loaded.catalog,
        &loaded.profiles[profile],
        &loaded.workspace,
        &Selection::default(),
        None,
    )
    .expect("resolves");
    let equivalent = render(&stack, &official(&stack), &Helpers::official(&stack)).expect("YAML");
    (stack, equivalent)
}

#[test]
fn the_committed_files_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-equivalents");
    let mut expected = BTreeSet::new();
    for profile in PROFILES {
        let (_, equivalent) = equivalent(profile);
        let files = equivalent
            .files
            .into_iter()
            .chain([(file_name(profile), equivalent.file)]);
        for (name, content) in files {
            let found = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
            assert!(
                found == content,
                "compose-equivalents/{name} is stale: run `just compose`"
            );
            expected.insert(name);
        }
    }
    let listed = std::fs::read_dir(&folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name());
    for name in listed.map(|name| name.to_string_lossy().into_owned()) {
        let known = expected.iter().any(|file| file.split('/').next() == Some(&name));
        assert!(known, "compose-equivalents/{name} belongs to no profile");
    }
}

#[test]
fn nothing_in_them_refers_to_something_that_is_not_there() {
    for profile in PROFILES {
        let (_, equivalent) = equivalent(profile);
        let file: Value = serde_saphyr::from_str(&equivalent.file).expect("YAML");
        let services = file["services"].as_object().expect("services");
        for (name, service) in services {
            for needed in service["depends_on"].as_object().into_iter().flatten() {
                assert!(
                    services.contains_key(needed.0),
                    "{profile}: {name} needs {}",
                    needed.0
                );
            }
            for volume in service["volumes"].as_array().into_iter().flatten() {
                let source = volume.as_str().unwrap().split(':').next().unwrap();
                let known = source.strip_prefix("./").map_or_else(
                    || file["volumes"].get(source).is_some(),
                    |path| equivalent.files.contains_key(path),
                );
                assert!(known, "{profile}: {name} mounts {source}");
            }
            if name != PREPARE {
                assert!(
                    service["healthcheck"]["test"].is_array(),
                    "{profile}: {name} has no health check"
                );
                assert_eq!(service["cap_drop"], json!(["ALL"]), "{profile}: {name}");
                assert!(service["mem_limit"].is_string(), "{profile}: {name}");
            }
        }
    }
}

/// Compose refuses a file in which services wait for each other.
#[test]
fn nothing_waits_for_itself() {
    for profile in PROFILES {
        let (_, equivalent) = equivalent(profile);
        let file: Value = serde_saphyr::from_str(&equivalent.file).expect("YAML");
        let services = file["services"].as_object().expect("services");
        let mut begun: BTreeSet<&str> = BTreeSet::new();
        while begun.len() < services.len() {
            let ready: Vec<&str> = services
                .iter()
                .filter(|(name, _)| !begun.contains(name.as_str()))
                .filter(|(_, service)| {
                    let mut needs = service["depends_on"].as_object().into_iter().flatten();
                    needs.all(|(needed, _)| begun.contains(needed.as_str()))
                })
                .map(|(name, _)| name.as_str())
                .collect();
            assert!(
                !ready.is_empty(),
                "{profile}: a cycle among what is not in {begun:?}"
            );
            begun.extend(ready);
        }
    }
}

#[test]
fn the_gateway_has_every_route_of_the_mesh() {
    let (stack, equivalent) = equivalent("dev");
    let config = &equivalent.files["dev.files/gateway/envoy.yaml"];
    for prefix in stack.services.iter().flat_map(|sized| &sized.service.prefixes) {
        assert!(
            config.contains(&format!("path: {prefix}\n")),
            "{prefix}\n{config}"
        );
        assert!(config.contains(&format!("prefix: {prefix}/\n")), "{prefix}/");
    }
    assert!(config.contains("path: /api/v1/health"));
}

#[test]
fn no_password_is_in_them_and_every_one_has_a_variable() {
    let (stack, equivalent) = equivalent("demo");
    let names = variables(&stack);
    assert_eq!(names["postgres"]["password"], "POSTGRES_PASSWORD");
    assert_eq!(
        names["identity-service"]["POSTGRES_PASSWORD"],
        "POSTGRES_PASSWORD"
    );
    assert!(
        equivalent
            .file
            .contains("POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?")
    );
    assert!(
        equivalent
            .file
            .contains("${REDIS_PASSWORD:?set it or use vadev compose up}")
    );
    assert!(
        !equivalent.file.contains("$(REDIS_PASSWORD)"),
        "the kubelet's own variables mean nothing to Compose"
    );
}

#[test]
fn what_is_missing_is_told_at_the_top() {
    let (_, equivalent) = equivalent("minimal");
    let head: String = equivalent
        .file
        .lines()
        .take_while(|line| line.starts_with('#'))
        .collect();
    for word in ["mutual TLS", "disruption budgets", "secrets as files"] {
        assert!(head.contains(word), "{word}: {head}");
    }
    assert!(equivalent.missing.iter().all(|line| head.contains(line.as_str())));
}

#[test]
fn a_service_on_another_port_is_asked_there() {
    let mut stack = crate::profile::with_cart("minimal", &[], false);
    let agent = stack
        .services
        .iter_mut()
        .find(|sized| sized.service.name == "agent-engine")
        .expect("there");
    agent.service.calls.push("cart-service".to_owned());
    for (key, value) in [
        (
            "CART_URL",
            "http://cart-service:8080/x,http://cart-service.voiceassistant-prod.svc.cluster.local:8080",
        ),
        (
            "OTHERS",
            "http://my-cart-service:8080 cart-service:80801 http://model-adapter:8080",
        ),
    ] {
        agent.service.config.insert(key.to_owned(), value.to_owned());
    }
    let images = stack.services.iter().map(|sized| {
        let image = DeployedImage {
            reference: "vadev.local/vadev-agent:1".to_owned(),
            origin: crate::render::Origin::StandIn,
        };
        (sized.service.name.clone(), image)
    });
    let rendered = render(&stack, &images.collect(), &Helpers::official(&stack)).expect("YAML");
    let file: Value = serde_saphyr::from_str(&rendered.file).expect("YAML");
    let environment = &file["services"]["agent-engine"]["environment"];
    assert_eq!(
        environment["CART_URL"],
        "http://cart-service:9090/x,http://cart-service.voiceassistant-prod.svc.cluster.local:9090"
    );
    assert_eq!(
        environment["OTHERS"],
        "http://my-cart-service:8080 cart-service:80801 http://model-adapter:8080"
    );
    let asked = environment["VADEV_DEPENDENCIES"].to_string();
    assert!(
        asked.contains("http://cart-service.voiceassistant-prod:9090/hz"),
        "{asked}"
    );
    assert!(
        asked.contains("http://model-adapter.voiceassistant-prod:8080/health"),
        "{asked}"
    );
}
