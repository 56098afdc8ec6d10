//! Proposed services as text for a workspace file, without touching what a person wrote there.

use super::infer::Inferred;
use crate::profile::workspace::{HostBuild, SyncRule, WorkspaceService};
use crate::profile::{edit, read_workspace};

/// A service to be written down.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its source folder.
    pub source: &'a str,
    /// What its Dockerfile implies.
    pub inferred: &'a Inferred,
}

impl<'a> Draft<'a> {
    /// What of it is written down: of a part of it alone, a session would not look for the rest.
    fn written(&self) -> Option<&'a Inferred> {
        Some(self.inferred).filter(|inferred| !inferred.partly)
    }
}

/// Where the proposal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The file with it.
    Whole(String),
    /// It has no place that could be found without rewriting what is there: this part has to be put in by hand.
    Beside(String),
    /// There is nothing to write.
    Nothing,
}

/// Puts services into the text of a workspace file; an empty text becomes a whole file for a workspace of this name.
pub fn place(text: &str, name: &str, drafts: &[Draft<'_>]) -> Placed {
    match laid(text, name, drafts) {
        // Other ways to write the same, such as a `services` in quotes, are found by reading what would stand there.
        Placed::Whole(whole) if read_workspace(&(String::new(), whole.clone())).is_err() => {
            Placed::Beside(drafts.iter().map(section).collect())
        }
        placed => placed,
    }
}

fn laid(text: &str, name: &str, drafts: &[Draft<'_>]) -> Placed {
    if drafts.is_empty() {
        return Placed::Nothing;
    }
    if text.contains("\r\n") {
        return match laid(&text.replace("\r\n", "\n"), name, drafts) {
            Placed::Whole(text) => Placed::Whole(text.replace('\n', "\r\n")),
            other => other,
        };
    }
    let part: String = drafts.iter().map(section).collect();
    if text.trim().is_empty() {
        return Placed::Whole(format!(
            "apiVersion: vadev.dev/v1\nkind: Workspace\nname: {}\nservices:\n{part}",
            quoted(name)
        ));
    }
    let Some(at) = text.lines().position(|line| line.starts_with("services:")) else {
        let gap = if text.ends_with('\n') { "" } else { "\n" };
        return Placed::Whole(format!("{text}{gap}services:\n{part}"));
    };
    let stands = |draft: &Draft<'_>| {
        text.lines()
            .any(|line| line.starts_with([' ', '\t']) && line.trim().starts_with(&format!("{}:", draft.name)))
    };
    let elsewhere = || edited(text, drafts).map_or_else(|| Placed::Beside(part.clone()), Placed::Whole);
    let line = text.lines().nth(at).unwrap_or_default();
    let block = line.trim_end() == "services:" || line.starts_with("services: #");
    // Another indentation, or a service that is there with other fields: its lines are found one by one.
    let next = text
        .lines()
        .skip(at + 1)
        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let two = next
        .is_none_or(|line| !line.starts_with(' ') || (line.starts_with("  ") && !line.starts_with("   ")));
    if !block || !two || drafts.iter().any(stands) {
        return elsewhere();
    }
    let mut whole = String::new();
    for (number, line) in text.lines().enumerate() {
        whole.push_str(line);
        whole.push('\n');
        if number == at {
            whole.push_str(&part);
        }
    }
    Placed::Whole(whole)
}

/// The text with each field put where it belongs; `None` where that can't be done, or would say something else.
fn edited(text: &str, drafts: &[Draft<'_>]) -> Option<String> {
    let read = |text: &str| read_workspace(&(String::new(), text.to_owned())).ok();
    let before = read(text)?;
    let mut now = text.to_owned();
    for draft in drafts {
        let said = before.services.get(draft.name);
        let mut put = |field: &str, value: &str| -> Option<()> {
            now = edit::set(&now, &["services", draft.name, field], value).ok()?;
            Some(())
        };
        if said.is_none() {
            put("source", &quoted(draft.source))?;
        }
        let Some(inferred) = draft.written() else {
            continue;
        };
        let rules: Vec<String> = inferred.sync.iter().map(rule).collect();
        put("sync", &format!("[{}]", rules.join(", ")))?;
        if let Some(build) = &inferred.build {
            let env = env(build).map(|env| format!(", env: {env}")).unwrap_or_default();
            put("build", &format!("{{ command: {}{env} }}", command(build)))?;
        }
    }
    let mut wanted = before;
    for draft in drafts {
        let service = wanted
            .services
            .entry(draft.name.to_owned())
            .or_insert_with(|| WorkspaceService {
                source: Some(draft.source.to_owned()),
                ..WorkspaceService::default()
            });
        if let Some(inferred) = draft.written() {
            service.sync = Some(inferred.sync.clone());
            service.build = inferred.build.clone().or(service.build.take());
        }
    }
    (read(&now)? == wanted).then_some(now)
}

/// One service, indented by two.
fn section(draft: &Draft<'_>) -> String {
    let mut text = vec![format!(
        "  {}:\n    source: {}\n",
        draft.name,
        quoted(draft.source)
    )];
    let Some(inferred) = draft.written() else {
        text.push(
            "    # Its sync rules are read off the Dockerfile: `vadev init --dry-run` shows them.\n"
                .to_owned(),
        );
        return text.concat();
    };
    text.push("    sync:\n".to_owned());
    for one in &inferred.sync {
        text.push(format!("      - {}\n", rule(one)));
    }
    if let Some(build) = &inferred.build {
        text.push(format!("    build:\n      command: {}\n", command(build)));
        text.extend(env(build).map(|env| format!("      env: {env}\n")));
    }
    text.concat()
}

fn rule(rule: &SyncRule) -> String {
    format!("{{ from: {}, to: {} }}", quoted(&rule.from), quoted(&rule.to))
}

fn command(build: &HostBuild) -> String {
    let words: Vec<String> = build.command.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

fn env(build: &HostBuild) -> Option<String> {
    let pairs = build
        .env
        .iter()
        .map(|(name, value)| format!("{name}: {}", json(value)));
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty()).then(|| format!("{{ {} }}", pairs.join(", ")))
}

/// Plain where YAML reads it as the same text, else quoted.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.starts_with(|c: char| c.is_alphanumeric() || c == '/' || c == '.')
        && text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))
        && text.parse::<f64>().is_err()
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_lowercase().as_str())
        && text != ".";
    if plain { text.to_owned() } else { json(text) }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;

    fn inferred() -> Inferred {
        Inferred {
            sync: vec![SyncRule {
                from: ".".into(),
                to: "/app".into(),
                ignore: vec![],
            }],
            build: Some(HostBuild {
                command: vec!["go".into(), "-ldflags".into(), "-s -w".into()],
                env: IndexMap::from([("CGO_ENABLED".to_owned(), "0".to_owned())]),
            }),
            partly: false,
            notes: vec![],
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let inferred = inferred();
        let drafts = [Draft {
            name: "agent-engine",
            source: "services/agent-engine",
            inferred: &inferred,
        }];
        let head = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";
        for before in [
            String::new(),
            format!("{head}# mine\n"),
            format!("{head}services:\n  # mine\n  rag-engine:\n    replicas: 2\nprofile: dev\n"),
        ] {
            let Placed::Whole(text) = place(&before, "shop", &drafts) else {
                panic!("{before}")
            };
            let read = crate::profile::read_workspace(&("vadev.yaml".into(), text.clone()))
                .unwrap_or_else(|e| panic!("{e}\n{text}"));
            let service = &read.services["agent-engine"];
            assert_eq!(
                {
                    let rule = &service.sync.as_ref().unwrap()[0];
                    (rule.from.as_str(), rule.to.as_str())
                },
                (".", "/app")
            );
            assert_eq!(service.build.as_ref().unwrap().command[2], "-s -w");
            assert_eq!(service.build.as_ref().unwrap().env["CGO_ENABLED"], "0");
            assert_eq!(text.contains("# mine"), before.contains("# mine"));
            assert_eq!(
                read.services.contains_key("rag-engine"),
                before.contains("rag-engine")
            );
        }
    }

    #[test]
    fn what_only_the_dockerfile_says_right_is_not_written_in_part() {
        let inferred = Inferred {
            partly: true,
            ..inferred()
        };
        let drafts = [Draft {
            name: "agent-engine",
            source: "svc",
            inferred: &inferred,
        }];
        let head = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";
        for before in [
            String::new(),
            format!("{head}services:\n    rag-engine: {{ replicas: 2 }}\n"),
        ] {
            let Placed::Whole(text) = place(&before, "shop", &drafts) else {
                panic!("{before}")
            };
            let read = read_workspace(&(String::new(), text)).unwrap();
            let service = &read.services["agent-engine"];
            assert_eq!(service.source.as_deref(), Some("svc"));
            assert!(service.sync.is_none() && service.build.is_none());
        }
    }

    #[test]
    fn what_has_no_certain_place_is_shown_and_not_written() {
        let inferred = inferred();
        let drafts = [Draft {
            name: "agent-engine",
            source: "svc",
            inferred: &inferred,
        }];
        let head = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";
        for before in [
            format!("{head}\"services\":\n  rag-engine: {{ replicas: 2 }}\n"),
            format!("{head}services :\n  rag-engine: {{ replicas: 2 }}\n"),
            "{ apiVersion: vadev.dev/v1, kind: Workspace, name: shop }\n".to_owned(),
            format!("{head}services:\n  'agent-engine':\n    source: svc\n"),
            format!("{head}profile: dev\n...\n"),
        ] {
            let Placed::Beside(part) = place(&before, "shop", &drafts) else {
                panic!("{before}")
            };
            assert!(part.contains("sync:"), "{part}");
        }
        // A name that reads as nothing is a name all the same.
        assert!(matches!(place("", "null", &drafts), Placed::Whole(_)));
    }

    #[test]
    fn a_service_that_is_there_gets_only_what_it_lacks() {
        let inferred = inferred();
        let draft = |name, source| Draft {
            name,
            source,
            inferred: &inferred,
        };
        let drafts = [draft("agent-engine", "svc"), draft("rag-engine", "services/rag")];
        let head = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";
        for (before, kept) in [
            (
                "services:\n  agent-engine: {source: svc} # mine\n",
                "source: svc} # mine",
            ),
            (
                "services:\n    agent-engine:\n        source: svc\n        replicas: 1 # one\n",
                "replicas: 1 # one",
            ),
            ("services: {}\n", "services:"),
            (
                "services:\r\n  agent-engine:\r\n    source: svc\r\nprofile: dev\r\n",
                "    source: svc\r\n",
            ),
        ] {
            let before = format!("{head}{before}");
            let Placed::Whole(text) = place(&before, "shop", &drafts) else {
                panic!("{before}")
            };
            assert!(text.contains(kept), "{text}");
            let read = crate::profile::read_workspace(&("vadev.yaml".into(), text.clone())).expect("reads");
            assert_eq!(
                read.services["agent-engine"].source.as_deref(),
                Some("svc"),
                "{text}"
            );
            assert_eq!(
                read.services["rag-engine"].source.as_deref(),
                Some("services/rag"),
                "{text}"
            );
            for service in read.services.values() {
                assert_eq!(
                    (&service.sync, &service.build),
                    (&Some(inferred.sync.clone()), &inferred.build),
                    "{text}"
                );
            }
            let returns = text.matches("\r\n").count();
            assert!(returns == 0 || returns == text.matches('\n').count(), "{text:?}");
        }
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let inferred = inferred();
        let drafts = [Draft {
            name: "agent-engine",
            source: "a",
            inferred: &inferred,
        }];
        for before in [
            "services: {}\n",
            "services:\n  agent-engine:\n    replicas: 1\n",
            "services:\n    x:\n",
        ] {
            assert!(
                matches!(place(before, "shop", &drafts), Placed::Beside(_)),
                "{before}"
            );
        }
        assert_eq!(place("", "shop", &[]), Placed::Nothing);
    }
}
