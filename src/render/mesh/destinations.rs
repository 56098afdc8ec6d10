//! How clients connect to a service: mutual TLS, bounds, and when an instance is left out.

use serde_json::{Value, json};

use super::Mesh;
use crate::catalog::mesh::Outliers;
use crate::profile::stack::SizedService;

impl Mesh<'_> {
    /// One `DestinationRule` a service.
    pub(super) fn destinations(&self) -> Vec<Value> {
        self.stack
            .services
            .iter()
            .map(|sized| self.destination(sized))
            .collect()
    }

    fn destination(&self, sized: &SizedService) -> Value {
        let name = &sized.service.name;
        let pool = self.policy.connections;
        let mut spec = json!({
            "host": self.host(name),
            "trafficPolicy": {
                "tls": { "mode": "ISTIO_MUTUAL" },
                "connectionPool": {
                    "tcp": { "maxConnections": pool.max, "connectTimeout": format!("{}s", pool.connect_seconds) },
                    "http": {
                        "http1MaxPendingRequests": pool.pending,
                        "http2MaxRequests": pool.requests,
                        "maxRetries": pool.retries,
                    },
                },
            },
        });
        // What is built here starts anew with every save. Whoever asks meanwhile gets errors, several a question with its
        // second attempts, and a circuit that opens for those keeps the new version from being served for seconds.
        if !self.setting.built.contains(name) {
            let outliers = outliers(self.policy.outliers, sized.replicas);
            spec["trafficPolicy"]["outlierDetection"] = json!({
                "consecutive5xxErrors": outliers.consecutive_errors,
                "interval": format!("{}s", outliers.interval_seconds),
                "baseEjectionTime": format!("{}s", outliers.ejection_seconds),
                "maxEjectionPercent": outliers.max_ejection_percent,
            });
        }
        let mut object = self.networking("DestinationRule", name, spec);
        object["metadata"]["labels"] = json!({ "app": name });
        object
    }
}

/// With one instance an open circuit is an outage: it takes ten times the errors, lasts a fifth of the time, and the one instance may be left out at all.
fn outliers(policy: Outliers, replicas: u32) -> Outliers {
    if replicas > 1 {
        return policy;
    }
    Outliers {
        consecutive_errors: policy.consecutive_errors.saturating_mul(10),
        interval_seconds: (policy.interval_seconds / 5).max(1),
        ejection_seconds: (policy.ejection_seconds / 5).max(1),
        max_ejection_percent: 100,
    }
}
