//! The tools that vadev brings itself, where PATH has none that will do.

use super::tools::{self, Found, Range, Tool, ToolError, Version};

/// kind. The least is the first whose own node images have the Kubernetes release that vadev's have: an older one writes
/// kubeadm's configuration for older releases.
const KIND: Tool = Tool {
    name: "kind",
    version_args: &["version"],
    supported: Range {
        least: Version::new(0, 30, 0),
        below: Some(Version::new(1, 0, 0)),
    },
    purpose: "make the cluster",
    debian: None,
    fix: "vadev supply build kind",
};

/// istioctl: it carries the mesh's charts, and so has to be of the mesh's minor version.
const ISTIOCTL: Tool = Tool {
    name: "istioctl",
    version_args: &["version", "--remote=false"],
    supported: Range {
        least: Version::new(1, 31, 0),
        below: Some(Version::new(1, 32, 0)),
    },
    purpose: "install and look at the mesh",
    debian: None,
    fix: "vadev supply build istioctl",
};

/// The tools.
pub const ALL: [Tool; 2] = [KIND, ISTIOCTL];

/// The tool `name` on PATH, if it is of a supported version. The user chose it, and calls it too.
pub async fn on_path(name: &str) -> Option<Found> {
    let tool = ALL.into_iter().find(|tool| tool.name == name)?;
    look(&tool).await.ok()
}

/// As [`on_path`], with the reason where it is not.
pub async fn look(tool: &Tool) -> Result<Found, ToolError> {
    let path = tools::find(tool)?;
    let (version, answer) = tools::ask(tool, &path).await?;
    if tool.supported.contains(version) && is_release(&answer, version) {
        return Ok(Found { path, version });
    }
    Err(ToolError::Unsupported {
        path,
        version,
        supported: tool.supported,
        purpose: tool.purpose,
        fix: tool.fix.to_owned(),
    })
}

/// Whether an answer has exactly this version in it, and neither a candidate for it nor a variant of it.
fn is_release(answer: &str, version: Version) -> bool {
    let version = version.to_string();
    answer
        .split_whitespace()
        .any(|word| word.trim_start_matches('v') == version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::recipe::Book;

    #[test]
    fn what_vadev_makes_itself_is_within_the_ranges() {
        let book = Book::embedded().unwrap();
        for tool in ALL {
            let version = Version::find(&book.recipe(tool.name).unwrap().version).unwrap();
            assert!(tool.supported.contains(version), "{} {version}", tool.name);
        }
    }

    #[test]
    fn only_releases_will_do() {
        let kind = Version::new(0, 33, 0);
        assert!(is_release("kind v0.33.0 go1.26.8 linux/amd64", kind));
        assert!(is_release("client version: 1.31.2", Version::new(1, 31, 2)));
        for other in [
            "kind v0.33.0-alpha+1a2b go1.26.8",
            "client version: 0.33.0-rc.1",
            "0.33.01",
            "",
        ] {
            assert!(!is_release(other, kind), "{other}");
        }
    }

    #[tokio::test]
    async fn a_tool_of_another_version_is_explained() {
        let tool = |answer: &'static [&'static str]| Tool {
            name: "sh",
            version_args: answer,
            ..KIND
        };
        assert!(
            look(&tool(&["-c", "echo kind v0.31.4 go1.26.8 linux/amd64"]))
                .await
                .is_ok()
        );
        let error = look(&tool(&["-c", "echo kind v0.20.0 go1.20"]))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is 0.20.0, but vadev supports 0.30.0 or newer"),
            "{error}"
        );
        assert!(look(&tool(&["-c", "echo kind v0.34.0-alpha"])).await.is_err());
    }
}
