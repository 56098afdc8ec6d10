//! What must not reach production, found in the objects themselves and not in what they were made from.

mod looks;
mod pods;
mod secret;
mod values;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::tree::{Tree, id};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The tree is refused.
    Error,
    /// Worth a look.
    Warning,
}

/// One thing that must not, or should not, reach production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// A stable name of the rule, for instance `image-not-pinned`.
    pub rule: &'static str,
    /// Whether the tree is refused.
    pub severity: Severity,
    /// The file below `k8s/`.
    pub file: String,
    /// For instance `Deployment/agent-engine in voiceassistant-prod`.
    pub object: String,
    /// For instance `spec.template.spec.containers[agent-engine].image`.
    pub field: String,
    /// What is wrong with it. Never a secret's value.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// What the rules know beside the tree.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Values of development secrets on this machine: none of them may occur.
    pub development_secrets: Vec<String>,
    /// The issuer of development tokens.
    pub development_issuer: String,
    /// The registry that was named for this promotion, wherever it is.
    pub registry: Option<String>,
}

/// All findings, errors first, then in the order of the files.
pub fn check(tree: &Tree, known: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, object) in tree.objects() {
        if !object["kind"].is_string() || !object["apiVersion"].is_string() {
            findings.push(Finding {
                rule: "no-object",
                severity: Severity::Error,
                file: file.to_owned(),
                object: "a document".to_owned(),
                field: "kind".to_owned(),
                problem: "it has no kind or apiVersion, and a cluster would refuse it".to_owned(),
                remedy: "take it out, or make an object of it".to_owned(),
            });
            continue;
        }
        let mut place = Place {
            file,
            object,
            findings: &mut findings,
        };
        pods::check(&mut place, known);
        values::check(&mut place, known);
        kinds(&mut place, known);
    }
    whole(tree, &mut findings);
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// What the rules find in manifests that are beside a tree and not of it: theirs, and so a warning.
pub fn check_beside(tree: &Tree, beside: &Tree, known: &Known) -> Vec<Finding> {
    let mut all = tree.clone();
    all.files.extend(beside.files.clone());
    let mut findings = check(&all, known);
    findings.retain(|finding| beside.files.contains_key(&finding.file));
    for finding in &mut findings {
        finding.severity = Severity::Warning;
    }
    findings
}

/// An object under examination.
struct Place<'a> {
    file: &'a str,
    object: &'a Value,
    findings: &'a mut Vec<Finding>,
}

impl Place<'_> {
    fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    fn note(
        &mut self,
        severity: Severity,
        rule: &'static str,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding {
            rule,
            severity,
            file: self.file.to_owned(),
            object: id(self.object).to_string(),
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    fn refuse(
        &mut self,
        rule: &'static str,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(Severity::Error, rule, field, problem, remedy);
    }
}

fn kinds(place: &mut Place<'_>, known: &Known) {
    let object = place.object;
    match place.kind() {
        "Secret" => place.refuse(
            "secret-in-tree",
            "data",
            "a Secret would carry its values into every copy of the tree",
            "delete it; make the Secret in the cluster, or take `secrets: { mode: external }` in the environment file",
        ),
        "Service" => service(place),
        "RequestAuthentication" => {
            for (index, rule) in object["spec"]["jwtRules"].as_array().into_iter().flatten().enumerate() {
                if rule.get("jwks").is_some() {
                    place.refuse(
                        "development-key",
                        format!("spec.jwtRules[{index}].jwks"),
                        "the key set is in the object, as a laptop has it",
                        "state `tokens: { issuer, jwksUri }` in the environment file",
                    );
                }
                if !known.development_issuer.is_empty()
                    && rule["issuer"].as_str().is_some_and(|issuer| issuer.starts_with(&known.development_issuer))
                {
                    place.refuse(
                        "development-key",
                        format!("spec.jwtRules[{index}].issuer"),
                        "the issuer is that of development tokens",
                        "state the real issuer under `tokens` in the environment file",
                    );
                }
                let uri = rule["jwksUri"].as_str().unwrap_or("https://");
                if !uri.starts_with("https://") {
                    place.refuse(
                        "insecure-keys",
                        format!("spec.jwtRules[{index}].jwksUri"),
                        "keys that come over plain http can be replaced on their way",
                        "give an https address",
                    );
                }
            }
        }
        "PeerAuthentication" if object["spec"]["mtls"]["mode"] != "STRICT" => place.refuse(
            "mtls-not-strict",
            "spec.mtls.mode",
            "plaintext would be taken",
            "set STRICT",
        ),
        "Gateway" => {
            for (index, server) in object["spec"]["servers"].as_array().into_iter().flatten().enumerate() {
                let redirects = server["tls"]["httpsRedirect"] == true;
                if server["hosts"].as_array().is_some_and(|hosts| hosts.iter().any(|host| host == "*")) {
                    place.note(
                        Severity::Warning,
                        "any-host",
                        format!("spec.servers[{index}].hosts"),
                        if redirects || server["port"]["protocol"] != "HTTP" {
                            "the gateway serves every host name"
                        } else {
                            "the gateway serves every host name, and http without sending it to https"
                        },
                        "name the hosts under `hosts` in the environment file",
                    );
                }
            }
        }
        _ => {}
    }
}

fn service(place: &mut Place<'_>) {
    let spec = &place.object["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    if matches!(kind, "NodePort" | "LoadBalancer") {
        place.refuse(
            "open-service",
            "spec.type",
            format!("{kind} opens the service to the network past the gateway"),
            "leave it ClusterIP; what is to be reached from outside gets a prefix in the catalog",
        );
    }
    for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
        if port.get("nodePort").is_some() {
            place.refuse(
                "open-service",
                format!("spec.ports[{index}].nodePort"),
                "a node port opens the service to the network past the gateway",
                "remove it",
            );
        }
    }
}

/// What only the whole tree can lack.
fn whole(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (file, object) in tree.objects() {
        // Whatever version states it, a server has one object of a kind and name.
        let id = id(object);
        let group = id.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let identity = format!("{group} {}/{} {:?}", id.kind, id.name, id.namespace);
        if let Some(first) = seen.insert(identity, file) {
            findings.push(Finding {
                rule: "object-twice",
                severity: Severity::Error,
                file: file.to_owned(),
                object: id.to_string(),
                field: "metadata.name".to_owned(),
                problem: format!(
                    "{first} has this object too, and the last one applied would replace the other"
                ),
                remedy: "give one of them another name, or take it out".to_owned(),
            });
        }
    }
    let has = |kind: &str| tree.objects().any(|(_, object)| object["kind"] == kind);
    let of_mesh = |object: &Value| {
        object["apiVersion"]
            .as_str()
            .is_some_and(|api| api.contains("istio.io/"))
    };
    let meshed = tree.objects().any(|(_, object)| of_mesh(object));
    if !meshed {
        findings.push(Finding {
            rule: "no-mesh",
            severity: Severity::Warning,
            file: "deploy-all.yaml".to_owned(),
            object: "the profile".to_owned(),
            field: "mesh".to_owned(),
            problem:
                "without a mesh nothing checks tokens, encrypts what pods tell each other, or lets anybody in"
                    .to_owned(),
            remedy:
                "take a profile with `mesh: true`, or see to all three in front of and between the services"
                    .to_owned(),
        });
    }
    if meshed && !has("RequestAuthentication") {
        findings.push(Finding {
            rule: "no-token-issuer",
            severity: Severity::Error,
            file: "istio/security.yaml".to_owned(),
            object: "RequestAuthentication/tokens in voiceassistant-prod".to_owned(),
            field: "spec.jwtRules".to_owned(),
            problem: "nobody's tokens are believed, so that nothing but public paths is served".to_owned(),
            remedy: "state `tokens: { issuer: …, jwksUri: … }` in a file and name it with --env".to_owned(),
        });
    }
}
