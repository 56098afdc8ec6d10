//! What istioctl finds wrong with the mesh's configuration.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use crate::k8s::Target;
use crate::supply::process::Command;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `Error`, `Warning` or `Info`.
    pub level: String,
    /// For instance `IST0101`.
    pub code: String,
    /// About what: `VirtualService voiceassistant-prod/routes`.
    #[serde(default)]
    pub origin: String,
    /// What is wrong.
    pub message: String,
    /// Where it is explained.
    #[serde(default, rename(deserialize = "documentationUrl"))]
    pub documentation: String,
}

impl Finding {
    /// Whether something does not work because of it.
    pub fn is_error(&self) -> bool {
        self.level == "Error"
    }
}

/// Runs `istioctl analyze` on namespaces. `program` is istioctl.
pub async fn findings(
    program: &Path,
    target: &Target,
    namespaces: &[&str],
) -> Result<Vec<Finding>, ClusterError> {
    let mut found = Vec::new();
    // It takes one namespace at a time: the last one would count.
    for namespace in namespaces {
        let command = Command::new(program)
            .args(["analyze", "-o", "json", "-n", namespace, "--kubeconfig"])
            .arg(&target.kubeconfig)
            .args(["--context", &target.context])
            .deadline(Duration::from_mins(1));
        let failed = |source| ClusterError::Tool {
            action: "istioctl analyze".to_owned(),
            source,
        };
        let output = command.finish(|_, _| {}).await.map_err(failed)?;
        let here = read(&output.text()).map_err(|problem| ClusterError::Content {
            path: program.to_owned(),
            problem,
        })?;
        // Findings make it exit with another code than 0; they are what is asked for. Without any it could not look.
        if here.is_empty() {
            command.check(output).map_err(failed)?;
        }
        found.extend(here);
    }
    found.sort_by_key(|one| (rank(&one.level), one.origin.clone(), one.code.clone()));
    found.dedup();
    Ok(found)
}

fn rank(level: &str) -> usize {
    ["Error", "Warning", "Info"]
        .iter()
        .position(|one| *one == level)
        .unwrap_or(3)
}

/// The JSON that it prints; nothing found is nothing printed, or `[]`, by version.
fn read(text: &str) -> Result<Vec<Finding>, String> {
    let Some(start) = text.find('[') else {
        return if text.trim().is_empty() {
            Ok(Vec::new())
        } else {
            Err(text.trim().to_owned())
        };
    };
    let mut documents = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Vec<Finding>>();
    match documents.next() {
        Some(Ok(found)) => Ok(found),
        Some(Err(error)) => Err(format!("{error}: {}", text.lines().next().unwrap_or_default())),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read() {
        let text = r#"[{"code": "IST0101", "documentationUrl": "https://x", "level": "Error", "message": "m", "origin": "o"}]"#;
        let found = read(text).unwrap();
        assert!(found[0].is_error() && found[0].documentation == "https://x");
        assert!(read("").unwrap().is_empty() && read("[]\n").unwrap().is_empty());
        assert!(read("Error: no such context").is_err());
    }
}
