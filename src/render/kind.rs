//! The kind cluster's configuration.

use serde_json::{Value, json};

/// What a cluster is made with. Fixed at creation: kind changes none of it later.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KindCluster {
    /// kind's name for it; the kubeconfig context is `kind-<name>`.
    pub name: String,
    /// Nodes in all, the control plane among them. At least one.
    pub nodes: u32,
    /// The node image.
    pub node_image: String,
    /// Port on 127.0.0.1 for http through the ingress gateway.
    pub http_port: u16,
    /// Port on 127.0.0.1 for https.
    pub https_port: u16,
    /// The host has cgroup v1, which the kubelet refuses from 1.35 on unless told not to.
    pub cgroup_v1: bool,
    /// Folder on the host that holds `audit-policy.yaml`, mounted into the control plane; `None` switches auditing off.
    pub audit_folder: Option<String>,
}

/// `NodePort` of the ingress gateway for http. Any free one of 30000–32767 would do; scripts know these two.
pub const HTTP_NODE_PORT: u16 = 30080;
/// `NodePort` of the ingress gateway for https.
pub const HTTPS_NODE_PORT: u16 = 30443;

/// Name of the policy file in [`KindCluster::audit_folder`].
pub const AUDIT_POLICY_FILE: &str = "audit-policy.yaml";

/// Who did what, without bodies: enough to answer "who changed this", small enough for a laptop. Reads and the noise of
/// leases and events stay out.
pub const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    verbs: [get, list, watch]
  - level: None
    resources:
      - group: coordination.k8s.io
        resources: [leases]
      - group: ''
        resources: [events]
      - group: events.k8s.io
        resources: [events]
  - level: None
    nonResourceURLs: ['/healthz*', '/livez*', '/readyz*', /version]
  - level: Metadata
";

impl KindCluster {
    /// The configuration file for `kind create cluster --config`, as a JSON value (YAML reads JSON).
    pub fn render(&self) -> Value {
        let mut control_plane = json!({
            "role": "control-plane",
            "image": self.node_image,
            "extraPortMappings": [
                { "containerPort": HTTP_NODE_PORT, "hostPort": self.http_port, "listenAddress": "127.0.0.1", "protocol": "TCP" },
                { "containerPort": HTTPS_NODE_PORT, "hostPort": self.https_port, "listenAddress": "127.0.0.1", "protocol": "TCP" },
            ],
        });
        let mut patches = vec![LAPTOP_PATCH.to_owned()];
        if self.cgroup_v1 {
            patches.push("kind: KubeletConfiguration\nfailCgroupV1: false\n".to_owned());
        }
        if let Some(folder) = &self.audit_folder {
            control_plane["extraMounts"] = json!([
                { "hostPath": folder, "containerPath": "/etc/kubernetes/audit", "readOnly": true },
            ]);
            control_plane["kubeadmConfigPatches"] = json!([AUDIT_PATCH]);
        }
        let mut nodes = vec![control_plane];
        nodes.extend((1..self.nodes).map(|_| json!({ "role": "worker", "image": self.node_image })));
        json!({
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "name": self.name,
            "kubeadmConfigPatches": patches,
            "nodes": nodes,
        })
    }
}

/// What a cluster of one control plane on one machine can do without: leader election (a wait at every start, and writes for
/// ever), RSA keys (slow to make) and etcd's flushes to disk. A crash of the host may lose the cluster; `up` makes it anew.
const LAPTOP_PATCH: &str = "\
kind: ClusterConfiguration
featureGates:
  PublicKeysECDSA: true
controllerManager:
  extraArgs:
    leader-elect: 'false'
scheduler:
  extraArgs:
    leader-elect: 'false'
etcd:
  local:
    extraArgs:
      unsafe-no-fsync: 'true'
";

/// Makes the API server write its audit log; kubeadm mounts both folders into its static pod.
const AUDIT_PATCH: &str = "\
kind: ClusterConfiguration
apiServer:
  extraArgs:
    audit-policy-file: /etc/kubernetes/audit/audit-policy.yaml
    audit-log-path: /var/log/kubernetes/audit.log
    audit-log-maxsize: '20'
    audit-log-maxbackup: '2'
  extraVolumes:
    - name: audit-policy
      hostPath: /etc/kubernetes/audit
      mountPath: /etc/kubernetes/audit
      readOnly: true
      pathType: DirectoryOrCreate
    - name: audit-log
      hostPath: /var/log/kubernetes
      mountPath: /var/log/kubernetes
      readOnly: false
      pathType: DirectoryOrCreate
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ingress_listens_on_loopback_only_and_workers_follow() {
        let config = KindCluster {
            name: "vadev-x".into(),
            nodes: 3,
            node_image: "vadev.local/kind-node:v1".into(),
            http_port: 8080,
            https_port: 8443,
            cgroup_v1: true,
            audit_folder: None,
        }
        .render();
        let mappings = config["nodes"][0]["extraPortMappings"]
            .as_array()
            .expect("mappings");
        assert!(
            mappings
                .iter()
                .all(|mapping| mapping["listenAddress"] == "127.0.0.1")
        );
        assert_eq!(config["nodes"].as_array().map(Vec::len), Some(3));
        assert!(
            config["kubeadmConfigPatches"][1]
                .as_str()
                .expect("patch")
                .contains("failCgroupV1: false")
        );
        assert!(config["nodes"][0].get("extraMounts").is_none());
    }
}
