//! A cluster of several nodes.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Platform, text};

const CLUSTER: &str = "vadev-e2e-three";

/// vadev in a workspace of its own, beside the shared cluster, which is frozen meanwhile: three nodes want the machine.
struct Three<'a>(&'a Platform, std::path::PathBuf);

impl Three<'_> {
    fn vadev(&self, args: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_vadev"))
            .current_dir(&self.1)
            .args(args)
            .stdin(Stdio::null())
            .env("NO_COLOR", "1")
            .env("KUBECONFIG", self.1.join("user.kubeconfig"))
            .output()
            .expect("vadev starts");
        assert!(
            output.status.success(),
            "vadev {}: {}\n{}",
            args.join(" "),
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }
}

impl Drop for Three<'_> {
    fn drop(&mut self) {
        // Whatever became of the test, neither its nodes nor a frozen shared cluster stay behind.
        let _gone = Command::new(env!("CARGO_BIN_EXE_vadev"))
            .current_dir(&self.1)
            .args(["down", "--purge", "--yes"])
            .stdin(Stdio::null())
            .env("KUBECONFIG", self.1.join("user.kubeconfig"))
            .output();
        self.0.run(&["resume"]);
    }
}

#[test]
#[ignore = "needs a cluster"]
fn three_nodes_all_get_the_images() {
    let shared = Platform::turn();
    shared.run(&["pause"]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-three");
    std::fs::create_dir_all(&folder).expect("folder");
    std::fs::write(
        folder.join("vadev.yaml"),
        "apiVersion: vadev.dev/v1\nkind: Workspace\nname: e2e-three\nprofile: minimal\n",
    )
    .expect("workspace file");
    let three = Three(&shared, folder);
    let up = [
        "up",
        "model-adapter",
        "--nodes",
        "3",
        "--http-port",
        "28082",
        "--https-port",
        "28445",
        "--yes",
        "-o",
        "json",
        "--quiet",
    ];
    let report: serde_json::Value = serde_json::from_str(&three.vadev(&up)).expect("a report");
    assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
    let images: Vec<&str> = report["status"]["components"]
        .as_array()
        .expect("components")
        .iter()
        .filter_map(|component| component["image"].as_str())
        .collect();
    assert!(images.len() >= 2, "{images:?}");
    for node in ["control-plane", "worker", "worker2"] {
        let there = Command::new("docker")
            .args([
                "exec",
                &format!("{CLUSTER}-{node}"),
                "ctr",
                "-n",
                "k8s.io",
                "images",
                "list",
                "-q",
            ])
            .output()
            .expect("docker");
        let there = text(&there.stdout);
        for image in &images {
            assert!(there.contains(image), "{node} lacks {image}:\n{there}");
        }
    }
    let again: serde_json::Value = serde_json::from_str(&three.vadev(&up)).expect("a report");
    assert_eq!(again["changed"], false, "{:#}", again["plan"]);
}
