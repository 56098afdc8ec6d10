//! How the ingress gateway of a platform is asked: by which port, host and scheme.

use std::net::SocketAddr;

use serde_json::Value;

use super::ingress;
use super::verify::ANSWER;
use crate::failure::{Failure, Family, Plain};

/// The container port behind port 80 of Istio's ingress gateway, in every installation by istioctl and by Helm.
pub const GATEWAY_PORT: u16 = 8080;
/// And behind port 443.
const GATEWAY_TLS_PORT: u16 = 8443;

/// How the gateway is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Door {
    /// The host that it serves; `None`: every one.
    pub host: Option<String>,
    /// Whether it takes https only.
    pub tls: bool,
}

impl Door {
    /// As a Gateway object says.
    pub fn of(gateway: &Value) -> Self {
        let servers = || gateway["spec"]["servers"].as_array().into_iter().flatten();
        let mut hosts = servers().flat_map(|server| server["hosts"].as_array().into_iter().flatten());
        let host = hosts.find_map(|host| {
            let host = host.as_str()?;
            // A host may stand behind the namespace that may serve it.
            let host = host.rsplit_once('/').map_or(host, |(_, host)| host);
            (host != "*").then(|| host.replacen('*', "vadev", 1))
        });
        Self {
            host,
            tls: servers().any(|server| server["tls"]["httpsRedirect"] == true),
        }
    }

    /// The port of the gateway's container.
    pub const fn port(&self) -> u16 {
        if self.tls { GATEWAY_TLS_PORT } else { GATEWAY_PORT }
    }

    /// The address by which the gateway is asked at the near end of a forward.
    pub fn base(&self, near: SocketAddr) -> String {
        match (&self.host, self.tls) {
            // The name is in the greeting, by which a gateway chooses certificate and routes.
            (Some(host), true) => format!("https://{host}:{}", near.port()),
            (None, true) => format!("https://{near}"),
            (_, false) => format!("http://{near}"),
        }
    }
}

/// A client that takes a door's host for what is at `near`. Whose the certificate is, is not what is asked here.
pub fn client(door: &Door, near: Option<SocketAddr>) -> Result<reqwest::Client, Failure> {
    let host = door.host.as_deref();
    let mut builder = ingress::builder(ANSWER, host)
        .map_err(|error| {
            let host = host.unwrap_or_default();
            Plain::new(
                Family::Cluster,
                format!("the gateway's host {host} is none: {error}"),
            )
        })?
        .tls_danger_accept_invalid_certs(door.tls);
    if let (Some(host), Some(near)) = (host, near) {
        builder = builder.resolve(host, near);
    }
    Ok(builder.build().map_err(|error| ingress::no_client(&error))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_is_asked_the_way_it_serves() {
        let near = SocketAddr::from(([127, 0, 0, 1], 4000));
        let gateway = |hosts: &Value, redirect: bool| {
            let mut http = json!({ "port": { "protocol": "HTTP" }, "hosts": hosts });
            if redirect {
                http["tls"] = json!({ "httpsRedirect": true });
            }
            let https =
                json!({ "port": { "protocol": "HTTPS" }, "hosts": hosts, "tls": { "mode": "SIMPLE" } });
            Door::of(&json!({ "spec": { "servers": [http, https] } }))
        };
        let any = gateway(&json!(["*"]), false);
        assert_eq!(any, Door::default());
        assert_eq!(
            (any.port(), any.base(near).as_str()),
            (8080, "http://127.0.0.1:4000")
        );
        let named = gateway(&json!(["api.example"]), true);
        assert_eq!(
            (named.port(), named.base(near).as_str()),
            (8443, "https://api.example:4000")
        );
        assert_eq!(
            gateway(&json!(["apps/*.example"]), true).host.as_deref(),
            Some("vadev.example")
        );
    }
}
