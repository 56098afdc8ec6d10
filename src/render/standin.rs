//! How the stand-in is told whose place it takes. Its side of the contract is `src/agent/serve`.

use serde_json::{Value, json};

use crate::catalog::Infrastructure;
use crate::profile::Stack;
use crate::profile::stack::SizedService;

/// The environment of `vadev-agent serve`.
pub fn environment(stack: &Stack, sized: &SizedService) -> Value {
    let service = &sized.service;
    let variable = |name: &str, value: String| json!({ "name": name, "value": value });
    json!([
        variable("VADEV_SERVICE", service.name.clone()),
        variable("VADEV_LANGUAGE", service.language.name().to_owned()),
        variable("VADEV_VERSION", service.image.version.clone()),
        variable("VADEV_PORT", service.port.to_string()),
        variable("VADEV_PREFIXES", service.prefixes.join(",")),
        variable(
            "VADEV_DEPENDENCIES",
            Value::Array(dependencies(stack, sized)).to_string()
        ),
    ])
}

/// What it checks: every service it calls, every store it uses. What the stack has not is optional.
fn dependencies(stack: &Stack, sized: &SizedService) -> Vec<Value> {
    let optional = |name: &String| sized.absent.contains(name);
    let services = sized.service.calls.iter().map(|name| {
        let url = format!("http://{name}.{}:8080/health", stack.namespaces.apps);
        json!({ "name": name, "kind": "http", "url": url, "optional": optional(name) })
    });
    let stores = sized.service.stores.iter().map(|name| {
        match system(stack, name).and_then(|system| store(stack, name, system)) {
            Some(mut check) => {
                check["optional"] = json!(optional(name));
                check
            }
            None => json!({ "name": name, "kind": "absent", "optional": true }),
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
fn store(stack: &Stack, name: &str, system: &Infrastructure) -> Option<Value> {
    let endpoint = system.endpoint.as_ref()?;
    let workload = system.workloads.first()?;
    let host = format!("{}.{}", workload.name, stack.namespaces.infra);
    let mut check =
        json!({ "name": name, "kind": endpoint.protocol, "address": format!("{host}:{}", endpoint.port) });
    if let Some(path) = &endpoint.path {
        let port = endpoint.health_port.unwrap_or(endpoint.port);
        check["url"] = json!(format!("http://{host}:{port}{path}"));
    }
    Some(check)
}
