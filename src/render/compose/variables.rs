//! The environment variables that hold the secrets of a Compose file.

use indexmap::IndexMap;

use crate::catalog::service::SecretSource;
use crate::profile::Stack;

/// Component → key of its Secret → variable. A key that comes from another system shares that system's variable; one whose
/// system the stack has not is left out, as in a cluster.
pub fn variables(stack: &Stack) -> IndexMap<String, IndexMap<String, String>> {
    let systems = stack.infrastructure.iter().map(|system| {
        let entry = &system.infrastructure;
        (&entry.name, &entry.secrets)
    });
    let services = stack
        .services
        .iter()
        .map(|sized| (&sized.service.name, &sized.service.secrets));
    let mut all: IndexMap<String, IndexMap<String, String>> = IndexMap::new();
    for (component, keys) in systems.chain(services) {
        let named = keys
            .iter()
            .filter_map(|(key, source)| Some((key.clone(), variable(stack, &all, component, key, source)?)));
        let named: IndexMap<String, String> = named.collect();
        if !named.is_empty() {
            all.insert(component.clone(), named);
        }
    }
    all
}

fn variable(
    stack: &Stack,
    known: &IndexMap<String, IndexMap<String, String>>,
    component: &str,
    key: &str,
    source: &SecretSource,
) -> Option<String> {
    match &source.from {
        Some(from) => {
            let theirs = known.get(stack.system_name(from))?;
            theirs.get(key).or_else(|| theirs.values().next()).cloned()
        }
        None => Some(
            format!("{component}_{key}")
                .to_uppercase()
                .replace(['-', '.'], "_"),
        ),
    }
}
