//! How the stand-in is told whose place it takes. Its side of the contract is `src/agent/serve`.

use serde_json::{Value, json};

use super::Setting;
use crate::catalog::Infrastructure;
use crate::catalog::service::Probes;
use crate::profile::Stack;
use crate::profile::stack::SizedService;

/// The environment of `vadev-agent serve`.
pub fn environment(stack: &Stack, sized: &SizedService, setting: &Setting) -> Value {
    let service = &sized.service;
    let mut variables = vec![
        json!({ "name": "VADEV_SERVICE", "value": service.name }),
        json!({ "name": "VADEV_LANGUAGE", "value": service.language.name() }),
        json!({ "name": "VADEV_VERSION", "value": service.image.version }),
        json!({ "name": "VADEV_PORT", "value": service.port.to_string() }),
        json!({ "name": "VADEV_PREFIXES", "value": service.prefixes.join(",") }),
        json!({ "name": "VADEV_DEPENDENCIES", "value": Value::Array(dependencies(stack, sized)).to_string() }),
    ];
    variables.extend(own_paths(&service.probes));
    variables.extend(secrets(sized, setting));
    Value::Array(variables)
}

/// Where it is to answer probes, as far as those are other paths than a stand-in has anyway.
fn own_paths(probes: &Probes) -> Vec<Value> {
    let mut paths = Vec::new();
    if probes.liveness != "/health" {
        paths.push(json!({ "name": "VADEV_LIVENESS", "value": probes.liveness }));
    }
    if !["/health", "/ready"].contains(&probes.readiness.as_str()) && probes.readiness != probes.liveness {
        paths.push(json!({ "name": "VADEV_READINESS", "value": probes.readiness }));
    }
    paths
}

/// The passwords of its stores, by reference: `VADEV_SECRET_POSTGRES` and so on.
fn secrets(sized: &SizedService, setting: &Setting) -> Vec<Value> {
    let service = &sized.service;
    let values = setting.secrets.get(&service.name);
    let has_value = |key: &String| values.is_some_and(|values| values.contains_key(key));
    let reference = |(key, store): (&String, &String)| {
        let variable = format!("VADEV_SECRET_{}", store.to_uppercase().replace(['-', '.'], "_"));
        let from = json!({ "secretKeyRef": { "name": format!("{}-secret", service.name), "key": key } });
        json!({ "name": variable, "valueFrom": from })
    };
    let of_stores = service
        .secrets
        .iter()
        .filter_map(|(key, source)| source.from.as_ref().map(|store| (key, store)));
    of_stores
        .filter(|(key, _)| has_value(key))
        .map(reference)
        .collect()
}

/// What it checks: every service it calls, every store it uses. What the stack has not is optional.
fn dependencies(stack: &Stack, sized: &SizedService) -> Vec<Value> {
    let optional = |name: &String| sized.absent.contains(name);
    let services = sized.service.calls.iter().map(|name| {
        let url = format!(
            "http://{name}.{}:8080{}",
            stack.namespaces.apps,
            stack.health_of(name)
        );
        json!({ "name": name, "kind": "http", "url": url, "optional": optional(name) })
    });
    let stores = sized.service.stores.iter().map(|name| {
        match system(stack, name).and_then(|system| store(stack, sized, name, system)) {
            Some(mut check) => {
                check["optional"] = json!(optional(name));
                check
            }
            // Not deployed here: asked all the same, so that its status says what it runs without.
        None => json!({ "name": name, "kind": "http", "url": format!("http://{name}.{}", stack.namespaces.infra), "optional": true }),
        }
    });
    services.chain(stores).collect()
}

fn system<'a>(stack: &'a Stack, name: &str) -> Option<&'a Infrastructure> {
    let named =
        |system: &Infrastructure| system.name == name || system.aliases.iter().any(|alias| alias == name);
    stack
        .infrastructure
        .iter()
        .map(|sized| &sized.infrastructure)
        .find(|system| named(system))
}

/// The check of one store. Passwords come by `VADEV_SECRET_<NAME>` from the service's Secret, never from here.
fn store(stack: &Stack, sized: &SizedService, name: &str, system: &Infrastructure) -> Option<Value> {
    let endpoint = system.endpoint.as_ref()?;
    let workload = system.workloads.first()?;
    let host = format!("{}.{}", workload.name, stack.namespaces.infra);
    let mut check =
        json!({ "name": name, "kind": endpoint.protocol, "address": format!("{host}:{}", endpoint.port) });
    if let Some(path) = &endpoint.path {
        let port = endpoint.health_port.unwrap_or(endpoint.port);
        check["url"] = json!(format!("http://{host}:{port}{path}"));
    }
    if endpoint.protocol == "postgres" {
        let config = &sized.service.config;
        for (field, key) in [("user", "POSTGRES_USER"), ("database", "POSTGRES_DB")] {
            if let Some(value) = config.get(key) {
                check[field] = json!(value);
            }
        }
    }
    Some(check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::with_cart;

    #[test]
    fn a_stand_in_answers_where_its_service_would_and_asks_others_there() {
        let mut stack = with_cart("minimal", &[], false);
        let variables = |stack: &Stack, service: &str| {
            let mut services = stack.services.iter();
            let sized = services
                .find(|sized| sized.service.name == service)
                .expect(service);
            environment(stack, sized, &Setting::default())
        };
        let of_cart = variables(&stack, "cart-service");
        let value = |name: &str| {
            let mut all = of_cart.as_array().expect("a list").iter();
            all.find(|one| one["name"] == name)
                .map(|one| one["value"].clone())
        };
        assert_eq!(value("VADEV_LIVENESS"), Some(json!("/hz")));
        assert_eq!(value("VADEV_READINESS"), Some(json!("/rz")));
        let of_agent = variables(&stack, "agent-engine").to_string();
        assert!(
            !of_agent.contains("VADEV_LIVENESS") && !of_agent.contains("VADEV_READINESS"),
            "{of_agent}"
        );
        for sized in &mut stack.services {
            if sized.service.name == "agent-engine" {
                sized.service.calls.push("cart-service".into());
            }
        }
        let asked = variables(&stack, "agent-engine").to_string();
        assert!(
            asked.contains("http://cart-service.voiceassistant-prod:8080/hz"),
            "{asked}"
        );
        assert!(
            asked.contains("http://model-adapter.voiceassistant-prod:8080/health"),
            "{asked}"
        );
    }
}
