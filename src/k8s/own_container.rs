//! Which of a pod's containers is the component's own: another program may have put its sidecar before it.

use serde_json::Value;

use super::suspect::SIDECAR;

/// The annotation by which kubectl is told the same.
const DEFAULT: &str = "kubectl.kubernetes.io/default-container";

/// The place of the component's own container in a pod template: the one called like the workload, else the one that the
/// template's annotation names, else the first that is not the mesh's.
pub fn own_container_at(template: &Value, workload: &str) -> usize {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    let names: Vec<&str> = containers
        .into_iter()
        .flatten()
        .map(|container| container["name"].as_str().unwrap_or_default())
        .collect();
    let called = |wanted: &str| names.iter().position(|name| *name == wanted);
    let annotated = || template["metadata"]["annotations"][DEFAULT].as_str();
    called(workload)
        .or_else(|| called(annotated()?))
        .or_else(|| names.iter().position(|name| *name != SIDECAR))
        .unwrap_or(0)
}

/// The component's own container in a pod template; null where it has none.
pub fn own_container<'a>(template: &'a Value, workload: &str) -> &'a Value {
    &template["spec"]["containers"][own_container_at(template, workload)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sidecar_in_front_is_not_the_component() {
        let template = |annotations: Value, names: &[&str]| {
            let containers: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}})
        };
        let of = |template: &Value| own_container(template, "a")["name"].as_str().map(str::to_owned);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(of(&template(json!({}), &["log-shipper", "a"])), is("a"));
        let told = template(json!({DEFAULT: "app"}), &["log-shipper", "app"]);
        assert_eq!(of(&told), is("app"));
        assert_eq!(
            of(&template(json!({DEFAULT: "gone"}), &[SIDECAR, "app"])),
            is("app")
        );
        assert_eq!(of(&template(Value::Null, &[SIDECAR])), is(SIDECAR), "a gateway");
        assert_eq!(of(&json!({})), None);
    }
}
