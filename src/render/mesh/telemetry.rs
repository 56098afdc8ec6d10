//! Access logs, traces and request metrics of every sidecar.

use serde_json::{Value, json};

use super::{Mesh, TRACE_SYSTEM, traces};

impl Mesh<'_> {
    /// One Telemetry for the namespace. Traces only where there is somebody to take them; request metrics only where the
    /// proxies can count: Envoy refuses its whole configuration over a filter that it lacks.
    pub(super) fn telemetry(&self) -> Vec<Value> {
        let mut spec = json!({ "accessLogging": [{ "providers": [{ "name": "envoy" }] }] });
        let traced =
            |system: &crate::profile::stack::SizedInfrastructure| system.infrastructure.name == TRACE_SYSTEM;
        if self.stack.infrastructure.iter().any(traced) {
            spec["tracing"] = json!([{
                "providers": [{ "name": traces(self.stack) }],
                "randomSamplingPercentage": self.setting.traces_percent,
            }]);
        }
        if self.setting.istio_filters {
            spec["metrics"] = json!([{ "providers": [{ "name": "prometheus" }] }]);
        }
        vec![Self::object(
            self.setting.api.telemetry(),
            "Telemetry",
            self.apps(),
            "default",
            spec,
        )]
    }
}
