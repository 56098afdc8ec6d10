//! The certificate that the ingress gateway serves: checked before it is put there, and seen to be served after.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::der;
use super::error::OperateError;
use super::site::Site;
use crate::failure::Failure;
use crate::k8s::{self, ApplyOptions, KindInfo};
use crate::render::object::COMPONENT;

/// The annotation that says whose certificate it is.
const ORIGIN: &str = "vadev.dev/certificate";

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// DNS names and addresses that it is for.
    pub hosts: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Good from.
    #[schemars(with = "String")]
    pub not_before: Timestamp,
    /// Good until.
    #[schemars(with = "String")]
    pub not_after: Timestamp,
    /// Days until then; negative where it is past.
    pub days_left: i64,
    /// Whether vadev made it, and can renew it.
    pub development: bool,
}

/// A certificate chain with its key, PEM.
pub struct Pair<'a> {
    /// Leaf first.
    pub chain: &'a str,
    /// Never shown.
    pub key: &'a str,
}

fn wrong(problem: impl std::fmt::Display, hint: &str) -> OperateError {
    OperateError::refused(
        format!("the certificate is not served: {problem}; nothing was changed"),
        hint,
    )
}

/// Checks that key and certificate belong together, that each certificate of the chain is signed by the next, that it is
/// valid now, and for these hosts.
pub fn check(pair: &Pair<'_>, hosts: &[String]) -> Result<Served, OperateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pair.chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| {
            wrong(
                format!("it is no PEM ({error})"),
                "give a file with BEGIN CERTIFICATE",
            )
        })?;
    let Some(leaf) = chain.first().cloned() else {
        return Err(wrong("the file has none", "give a file with BEGIN CERTIFICATE"));
    };
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| {
        wrong(
            format!("the key can't be read ({error})"),
            "give a file with BEGIN PRIVATE KEY",
        )
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(key).map_err(|error| {
        wrong(
            format!("the key can't be used ({error})"),
            "give an RSA, ECDSA or Ed25519 key",
        )
    })?;
    CertifiedKey::new(chain.clone(), signer)
        .keys_match()
        .map_err(|_| {
            wrong(
                "the key is not the certificate's",
                "give the key with which the certificate was asked for",
            )
        })?;
    let facts = der::facts(&leaf).ok_or_else(|| wrong("it can't be read", "give an X.509 certificate"))?;
    dated(&chain, Timestamp::now())?;
    let parsed = ParsedCertificate::try_from(&leaf)
        .map_err(|error| wrong(error, "give an X.509 certificate of version 3"))?;
    let algorithms = provider.signature_verification_algorithms.all;
    for at in 0..chain.len().saturating_sub(1) {
        let mut roots = RootCertStore::empty();
        let broken = |error: &dyn std::fmt::Display| {
            wrong(
                format!(
                    "certificate {} of the chain is not signed by certificate {} ({error})",
                    at + 1,
                    at + 2
                ),
                "give the leaf first, then what signed it, then what signed that",
            )
        };
        roots.add(chain[at + 1].clone()).map_err(|error| broken(&error))?;
        // Only the leaf is a server's certificate; links above it are checked through it.
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &roots,
            &chain[1..=at],
            UnixTime::now(),
            algorithms,
        )
        .map_err(|error| broken(&error))?;
    }
    // A name that the certificate spells out as it is asked for needs no matching: `*.localhost` covers nothing by the rules.
    for host in hosts.iter().filter(|host| !facts.hosts.contains(host)) {
        let name = ServerName::try_from(host.replace("*.", "any.")).map_err(|_| {
            wrong(
                format!("`{host}` is no host name"),
                "give names such as shop.example.org",
            )
        })?;
        verify_server_name(&parsed, &name).map_err(|_| {
            wrong(
                format!("it is not for {host}, but for {}", facts.hosts.join(", ")),
                "get one for that host, or name the hosts that it has to be for with --host",
            )
        })?;
    }
    Ok(served(facts, false))
}

/// Whether every certificate of a chain is good now: clients refuse a good leaf whose issuer has expired.
fn dated(chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), OperateError> {
    for (at, certificate) in chain.iter().enumerate() {
        let what = match at {
            0 => "it".to_owned(),
            at => format!("certificate {} of the chain", at + 1),
        };
        let facts = der::facts(certificate)
            .ok_or_else(|| wrong(format!("{what} can't be read"), "give X.509 certificates"))?;
        if now >= facts.not_after {
            return Err(wrong(
                format!("{what} expired on {}", facts.not_after),
                "get a new one from whoever issued it",
            ));
        }
        if now < facts.not_before {
            return Err(wrong(
                format!("{what} is good from {} only", facts.not_before),
                "check the clock of this machine",
            ));
        }
    }
    Ok(())
}

fn served(facts: der::Facts, development: bool) -> Served {
    Served {
        days_left: (facts.not_after.as_second() - Timestamp::now().as_second()).div_euclid(86_400),
        hosts: facts.hosts,
        issuer: facts.issuer,
        not_before: facts.not_before,
        not_after: facts.not_after,
        development,
    }
}

/// Puts a checked pair into the Secret that the gateway takes it from.
pub async fn put(site: &Site, secret: &str, pair: &Pair<'_>, development: bool) -> Result<(), Failure> {
    site.cluster.recheck().await?;
    let labels = BTreeMap::from([(crate::render::object::MANAGED_BY, "vadev"), (COMPONENT, "tls")]);
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret,
            "namespace": site.namespaces.mesh,
            "labels": labels,
            "annotations": { ORIGIN: if development { "development" } else { "given" } },
        },
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": pair.chain, "tls.key": pair.key },
    });
    k8s::apply_one(&site.cluster, &object, ApplyOptions::default()).await?;
    Ok(())
}

/// The hosts for which a gateway serves the certificate of the Secret `secret`, as far as they are named.
pub async fn gateway_hosts(site: &Site, secret: &str) -> Result<Vec<String>, Failure> {
    let kinds = KindInfo::several(&[("networking.istio.io/v1", "Gateway")]);
    let found = k8s::observe_in(&site.cluster, &site.all_namespaces(), "", &kinds).await?;
    let mut hosts: Vec<String> = found
        .iter()
        .flat_map(|(_, gateway)| served_hosts(gateway, secret))
        .collect();
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

fn served_hosts(gateway: &Value, secret: &str) -> Vec<String> {
    let servers = gateway["spec"]["servers"].as_array().into_iter().flatten();
    servers
        .filter(|server| server["tls"]["credentialName"] == secret)
        .flat_map(|server| server["hosts"].as_array().into_iter().flatten())
        // `namespace/host` says too whose routes it takes.
        .filter_map(|host| host.as_str()?.rsplit('/').next())
        .filter(|host| *host != "*")
        .map(str::to_owned)
        .collect()
}

/// The certificate in the gateway's Secret `name`; `None` where there is none.
pub async fn show(site: &Site, name: &str) -> Result<Option<Served>, Failure> {
    let found = site.api::<Secret>(&site.namespaces.mesh).get_opt(name).await;
    let found = found.map_err(|error| OperateError::request("read", name, error))?;
    let Some(secret) = found else { return Ok(None) };
    let annotations = secret.metadata.annotations.unwrap_or_default();
    let chain = secret
        .data
        .and_then(|mut data| data.remove("tls.crt"))
        .unwrap_or_default();
    let leaf = CertificateDer::from_pem_slice(&chain.0)
        .map_err(|error| OperateError::unreadable(format!("the Secret {name}"), error))?;
    let facts = der::facts(&leaf).ok_or_else(|| {
        OperateError::unreadable(format!("the Secret {name}"), "its certificate can't be read")
    })?;
    // Made by `up` before there was an annotation.
    let development = annotations
        .get(ORIGIN)
        .map_or(facts.issuer.starts_with("vadev "), |origin| {
            origin == "development"
        });
    Ok(Some(served(facts, development)))
}

/// Waits until the gateway at this port of this machine shows the pair's leaf to a TLS client.
pub async fn wait_served(port: u16, pair: &Pair<'_>, within: Duration) -> Result<(), Failure> {
    let leaf = CertificateDer::from_pem_slice(pair.chain.as_bytes())
        .map_err(|error| OperateError::unreadable("the certificate", error))?;
    let end = Instant::now() + within;
    loop {
        // Every try is a connection of its own: an open one would keep the old certificate.
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .tls_info(true)
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| OperateError::unreadable("the HTTP client's settings", error))?;
        let answer = client
            .get(format!("https://127.0.0.1:{port}/health"))
            .send()
            .await;
        let shown = answer.as_ref().ok().and_then(|answer| {
            let info = answer.extensions().get::<reqwest::tls::TlsInfo>()?;
            info.peer_certificate().map(<[u8]>::to_vec)
        });
        if shown.as_deref() == Some(leaf.as_ref()) {
            return Ok(());
        }
        if Instant::now() > end {
            let problem = match answer {
                Err(error) => error.to_string(),
                Ok(_) => "it still shows another certificate".to_owned(),
            };
            return Err(OperateError::Unhealthy {
                message: format!("the gateway on port {port} does not serve the certificate: {problem}"),
                hint: "vadev describe istio-ingressgateway shows how the gateway is".to_owned(),
            }
            .into());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(
        name: &str,
        days: (i32, i32),
        by: Option<&(rcgen::CertificateParams, rcgen::KeyPair)>,
    ) -> (String, rcgen::KeyPair) {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(days.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(days.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = match by {
            None => params.self_signed(&key).unwrap().pem(),
            Some((issuer, issuer_key)) => {
                let copy = rcgen::KeyPair::from_pem(&issuer_key.serialize_pem()).unwrap();
                params
                    .signed_by(&key, &rcgen::Issuer::new(issuer.clone(), copy))
                    .unwrap()
                    .pem()
            }
        };
        (pem, key)
    }

    fn authority(name: &str) -> (rcgen::CertificateParams, rcgen::KeyPair) {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params, rcgen::KeyPair::generate().unwrap())
    }

    #[test]
    fn match_chain_dates_and_hosts_are_checked() {
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        let pem = |one: &(rcgen::CertificateParams, rcgen::KeyPair)| one.0.self_signed(&one.1).unwrap().pem();
        let (leaf, key) = signed("shop.example.org", (2020, 2090), Some(&ours));
        let good = format!("{leaf}{}", pem(&ours));
        let said = |chain: &str, key: &rcgen::KeyPair, host: &str| {
            let key = key.serialize_pem();
            check(&Pair { chain, key: &key }, &[host.to_owned()]).map_err(|error| error.to_string())
        };
        assert!(said(&good, &key, "shop.example.org").is_ok());
        assert!(
            said(&leaf, &key, "shop.example.org").is_ok(),
            "whoever issued it need not be there"
        );
        assert!(
            said(&good, &ours.1, "shop.example.org")
                .unwrap_err()
                .contains("key is not")
        );
        assert!(
            said(&good, &key, "other.example.org")
                .unwrap_err()
                .contains("not for other")
        );
        let crossed = format!("{leaf}{}", pem(&theirs));
        assert!(
            said(&crossed, &key, "shop.example.org")
                .unwrap_err()
                .contains("not signed by")
        );
        let (old, old_key) = signed("shop.example.org", (2000, 2001), Some(&ours));
        assert!(
            said(&old, &old_key, "shop.example.org")
                .unwrap_err()
                .contains("expired")
        );
        assert!(said("nothing", &key, "x").unwrap_err().contains("has none"));
        let (mut issuer, issuer_key) = authority("old");
        issuer.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let old = (issuer, issuer_key);
        let (leaf, key) = signed("shop.example.org", (2020, 2090), Some(&old));
        let chain = format!("{leaf}{}", pem(&old));
        let why = said(&chain, &key, "shop.example.org").unwrap_err();
        assert!(why.contains("certificate 2 of the chain expired"), "{why}");
    }

    #[test]
    fn hosts_are_those_that_the_gateway_serves_with_it() {
        let gateway = json!({"spec": {"servers": [
            {"hosts": ["plain.example.org"], "port": {"protocol": "HTTP"}},
            {"hosts": ["apps/shop.example.org", "*.example.org", "*"], "tls": {"credentialName": "cert"}},
            {"hosts": ["other.example.org"], "tls": {"credentialName": "other"}},
        ]}});
        assert_eq!(
            served_hosts(&gateway, "cert"),
            ["shop.example.org", "*.example.org"]
        );
    }
}
