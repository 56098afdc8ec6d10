//! Who did what in the cluster: the API server's audit log, read from its node through the kubelet.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::error::OperateError;
use super::site::Site;
use super::steady::Steady;
use crate::failure::Failure;
use crate::k8s;

/// One request that changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLine {
    /// When it came.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Who asked.
    pub user: String,
    /// What was asked: `create`, `patch`, `delete`.
    pub verb: String,
    /// Of which resource.
    pub resource: String,
    /// `namespace/name`, as far as there are.
    pub object: String,
    /// HTTP status of the answer.
    pub code: u64,
    /// The program that asked.
    pub agent: String,
}

/// Which lines.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Only of users whose name contains this.
    pub user: Option<String>,
    /// Only of this verb.
    pub verb: Option<String>,
    /// Only of this resource, as it is called in URLs or on kubectl's command line.
    pub resource: Option<String>,
    /// Only the last so many.
    pub tail: Option<usize>,
    /// Go on with what is written from now on.
    pub follow: bool,
    /// Whether vadev made the cluster, and with it its audit policy.
    pub own: bool,
}

impl AuditQuery {
    fn wants(&self, line: &AuditLine) -> bool {
        let contains = |wanted: &Option<String>, has: &str| {
            wanted.as_ref().is_none_or(|wanted| has.contains(wanted.as_str()))
        };
        let equals = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| has == wanted);
        contains(&self.user, &line.user)
            && equals(&self.verb, &line.verb)
            && self
                .resource
                .as_ref()
                .is_none_or(|wanted| means(wanted, &line.resource))
    }
}

/// Whether somebody who types `wanted` means a resource: URLs have its plural.
fn means(wanted: &str, resource: &str) -> bool {
    const SHORT: [(&str, &str); 8] = [
        ("cm", "configmaps"),
        ("deploy", "deployments"),
        ("hpa", "horizontalpodautoscalers"),
        ("ns", "namespaces"),
        ("po", "pods"),
        ("pvc", "persistentvolumeclaims"),
        ("sts", "statefulsets"),
        ("svc", "services"),
    ];
    let wanted = wanted.to_lowercase();
    let wanted = wanted.split('.').next().unwrap_or_default();
    let ies = wanted.strip_suffix('y').map(|stem| format!("{stem}ies"));
    wanted == resource
        || SHORT.contains(&(wanted, resource))
        || [format!("{wanted}s"), format!("{wanted}es")]
            .iter()
            .any(|plural| plural == resource)
        || ies.is_some_and(|plural| plural == resource)
}

/// Hands the lines to `take`, oldest first.
pub async fn audit_log(
    site: &Site,
    query: &AuditQuery,
    mut take: impl FnMut(AuditLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = path(site).await?;
    let (mut text, mut offset) = read(site, &path, 0, query.own).await?;
    let mut lines: Vec<AuditLine> = text
        .lines()
        .filter_map(parse)
        .filter(|line| query.wants(line))
        .collect();
    let skip = query.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    for line in lines.drain(skip..) {
        take(line)?;
    }
    // A line that is being written is taken when it is whole.
    let mut rest = after_last_line(&text).to_owned();
    if !query.follow {
        return Ok(());
    }
    let mut steady = Steady::new(site.reporter.clone());
    loop {
        sleep(Duration::from_secs(1)).await;
        let Some(found) = steady.look(read(site, &path, offset, query.own).await)? else {
            continue;
        };
        (text, offset) = found;
        let whole = format!("{rest}{text}");
        for line in complete(&whole)
            .lines()
            .filter_map(parse)
            .filter(|line| query.wants(line))
        {
            take(line)?;
        }
        after_last_line(&whole).clone_into(&mut rest);
    }
}

fn complete(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |at| at + 1)]
}

fn after_last_line(text: &str) -> &str {
    &text[text.rfind('\n').map_or(0, |at| at + 1)..]
}

async fn path(site: &Site) -> Result<String, Failure> {
    let nodes: Api<Node> = Api::all(site.cluster.client());
    let params = ListParams::default().labels("node-role.kubernetes.io/control-plane");
    let listed = nodes.list(&params).await;
    let listed = listed.map_err(|error| OperateError::request("list", "nodes", error))?;
    let name = listed.items.into_iter().find_map(|node| node.metadata.name);
    let absent = || OperateError::Absent {
        what: "a control plane that can be asked".to_owned(),
        hint: "clusters of cloud providers keep their audit log elsewhere".to_owned(),
    };
    let name = name.ok_or_else(absent)?;
    Ok(format!("/api/v1/nodes/{name}/proxy/logs/kubernetes/audit.log"))
}

/// The log from an offset on, and the offset of its end. A log that has become shorter was rotated, and begins anew.
async fn read(site: &Site, path: &str, from: u64, own: bool) -> Result<(String, u64), Failure> {
    let answer = k8s::raw_text(&site.cluster, path, from).await?;
    Ok(answer.ok_or_else(|| OperateError::Absent {
        what: "the audit log".to_owned(),
        // Never a `down` for a cluster that others use.
        hint: if own {
            "vadev sets its policy when it makes a cluster: vadev down, then vadev up"
        } else {
            "whoever runs the cluster sets its audit policy (kube-apiserver's --audit-log-path) and keeps its log"
        }
        .to_owned(),
    })?)
}

fn parse(line: &str) -> Option<AuditLine> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/objectRef/namespace"), text("/objectRef/name"));
    let subresource = text("/objectRef/subresource");
    let object = [namespace, name, subresource]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/");
    Some(AuditLine {
        time: text("/requestReceivedTimestamp").parse().ok()?,
        user: text("/user/username").to_owned(),
        verb: text("/verb").to_owned(),
        resource: text("/objectRef/resource").to_owned(),
        object,
        code: value
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        agent: text("/userAgent")
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"verb":"patch","user":{"username":"kubernetes-admin"},"userAgent":"vadev/0.1 (x)",
        "objectRef":{"resource":"deployments","namespace":"n","name":"a","subresource":"scale"},
        "responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-23T18:49:43.331982Z"}"#;

    #[test]
    fn lines_are_read_and_chosen() {
        let line = parse(LINE).unwrap();
        assert_eq!(
            (line.object.as_str(), line.code, line.agent.as_str()),
            ("n/a/scale", 200, "vadev/0.1")
        );
        let query = |user: &str, verb: &str| AuditQuery {
            user: Some(user.into()),
            verb: Some(verb.into()),
            ..AuditQuery::default()
        };
        assert!(query("admin", "patch").wants(&line));
        assert!(!query("admin", "delete").wants(&line));
        assert!(parse("{\"half").is_none());
        for wanted in [
            "deployments",
            "deployment",
            "Deployment",
            "deploy",
            "deployments.apps",
        ] {
            assert!(means(wanted, "deployments"), "{wanted}");
        }
        assert!(means("networkpolicy", "networkpolicies") && means("ingress", "ingresses"));
        assert!(!means("deploy", "pods") && !means("pod", "podtemplates"));
        assert_eq!((complete("a\nb"), after_last_line("a\nb")), ("a\n", "b"));
    }
}
