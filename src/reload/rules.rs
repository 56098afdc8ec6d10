//! Sync rules, ready to be asked: which path of the source becomes which path in the container.

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::ReloadError;
use super::dockerfile::plain;
use super::infer::{Kind, Look, link_on};
use crate::profile::workspace::SyncRule;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Below the source, plain; the empty text is the source itself.
    pub from: String,
    /// Absolute path in the container, without a trailing slash.
    pub to: String,
    /// `to` ends in a slash: a file goes into it, and so does what is not there yet.
    into: bool,
    /// What `from` was when the rule was read.
    kind: Option<Kind>,
    ignore: GlobSet,
}

/// The rules of a service; the first that takes a path decides where it goes.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Compiles the rules of a workspace file.
    ///
    /// # Errors
    /// A pattern that is none, a target that is not an absolute, plain path, or a symbolic link instead of a file or folder.
    pub fn new(service: &str, rules: &[SyncRule], look: &dyn Look) -> Result<Self, ReloadError> {
        rules
            .iter()
            .map(|rule| Rule::new(service, rule, look))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The rule that takes `path` (relative to the source), and where it goes.
    pub fn target(&self, path: &str) -> Option<(&Rule, String)> {
        self.0.iter().find_map(|rule| Some((rule, rule.target(path)?)))
    }

    /// Whether some rule has `path` below it, though it says to ignore it.
    pub fn ignores(&self, path: &str) -> bool {
        self.target(path).is_none() && self.0.iter().any(|rule| rule.below(path).is_some())
    }

    /// Below these the agent must be allowed to write.
    pub fn roots(&self) -> Vec<String> {
        let mut roots: Vec<String> = Vec::new();
        for rule in &self.0 {
            let root = if rule.into && rule.kind == Some(Kind::File) {
                format!("{}/{}", rule.to, rule.name())
            } else {
                rule.to.clone()
            };
            // `/` itself is no path that an agent takes; below it there is nothing that it must not touch.
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }
}

impl Rule {
    fn new(service: &str, rule: &SyncRule, look: &dyn Look) -> Result<Self, ReloadError> {
        let bad = |problem: String| ReloadError::Rule {
            service: service.to_owned(),
            rule: format!("{} → {}", rule.from, rule.to),
            problem,
        };
        let mut ignore = GlobSetBuilder::new();
        for pattern in &rule.ignore {
            ignore.add(Glob::new(pattern).map_err(|error| bad(error.to_string()))?);
            // A folder's name stands for all that is in it.
            ignore.add(
                Glob::new(&format!("{}/**", pattern.trim_end_matches('/')))
                    .map_err(|e| bad(e.to_string()))?,
            );
        }
        let from = plain(&rule.from);
        if rule.from.starts_with('/') || from.split('/').any(|part| part == "..") {
            return Err(bad("`from` must be a path below the service's source".to_owned()));
        }
        let to = format!("/{}", plain(&rule.to));
        if to.split('/').any(|part| part == "..") || to == "/" {
            return Err(bad(
                "`to` must be an absolute path below `/`, without `..`".to_owned()
            ));
        }
        // A link would take the place of what it leads to, with everything in it; and nothing is looked for behind one.
        if let Some(link) = link_on(&from, look) {
            return Err(bad(format!("{link} is a symbolic link: name what it leads to")));
        }
        let kind = look.kind(&from);
        Ok(Self {
            into: rule.to.ends_with('/') && kind != Some(Kind::Folder),
            kind,
            from,
            to,
            ignore: ignore.build().map_err(|error| bad(error.to_string()))?,
        })
    }

    /// The last part of `from`.
    fn name(&self) -> &str {
        self.from.rsplit('/').next().unwrap_or_default()
    }

    /// What is left of `path` below `from`: empty for `from` itself.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.from.is_empty() {
            return Some(path);
        }
        match path.strip_prefix(&self.from)? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }

    /// Where `path` goes by this rule.
    pub fn target(&self, path: &str) -> Option<String> {
        let rest = self.below(path)?;
        if self.ignore.is_match(rest) {
            return None;
        }
        Some(match (rest, self.into) {
            ("", true) => format!("{}/{}", self.to, self.name()),
            ("", false) => self.to.clone(),
            (rest, _) => format!("{}/{rest}", self.to),
        })
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = if self.from.is_empty() { "." } else { &self.from };
        write!(f, "sync {from} → {}", self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str) -> Option<Kind> {
        match path {
            "" | "app" | "conf.d" => Some(Kind::Folder),
            "main.py" | "bin/server" => Some(Kind::File),
            "current" => Some(Kind::Link),
            _ => None,
        }
    }

    fn rules(list: &[(&str, &str, &[&str])]) -> Rules {
        let rule = |(from, to, ignore): &(&str, &str, &[&str])| SyncRule {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            ignore: ignore.iter().map(ToString::to_string).collect(),
        };
        Rules::new("x", &list.iter().map(rule).collect::<Vec<_>>(), &look).unwrap()
    }

    #[test]
    fn paths_find_their_place() {
        let rules = rules(&[
            ("./app/", "/srv/app", &["**/*.pyc", "fixtures"]),
            ("main.py", "/srv/", &[]),
            ("bin/server", "/server", &[]),
        ]);
        let target = |path: &str| rules.target(path).map(|(_, target)| target);
        assert_eq!(target("app/a/b.py").as_deref(), Some("/srv/app/a/b.py"));
        assert_eq!(target("main.py").as_deref(), Some("/srv/main.py"));
        assert_eq!(target("bin/server").as_deref(), Some("/server"));
        for not in ["application/x", "app/a/b.pyc", "app/fixtures/x.json", "bin/other"] {
            assert_eq!(target(not), None, "{not}");
        }
        assert!(rules.ignores("app/a/b.pyc") && !rules.ignores("bin/other"));
        assert_eq!(rules.roots(), ["/srv/app", "/srv/main.py", "/server"]);
    }

    #[test]
    fn a_folder_is_never_taken_for_a_file() {
        let rules = rules(&[
            ("bin/server", "/app/", &[]),
            ("conf.d", "/etc/conf/", &[]),
            ("made/later", "/opt/", &[]),
        ]);
        let target = |path: &str| rules.target(path).map(|(_, target)| target);
        assert_eq!(target("bin/server").as_deref(), Some("/app/server"));
        assert_eq!(target("conf.d/a").as_deref(), Some("/etc/conf/a"));
        assert_eq!(target("made/later").as_deref(), Some("/opt/later"));
        assert_eq!(target("made/later/a").as_deref(), Some("/opt/a"));
        assert_eq!(rules.roots(), ["/app/server", "/etc/conf", "/opt"]);
    }

    #[test]
    fn the_source_itself_can_be_a_rule() {
        let rules = rules(&[(".", "/app", &[])]);
        assert_eq!(rules.target("x/y").unwrap().1, "/app/x/y");
        assert_eq!(rules.target("x/y").unwrap().0.to_string(), "sync . → /app");
    }

    #[test]
    fn rules_must_stay_inside() {
        for (from, to) in [
            ("../x", "/app"),
            ("/etc", "/app"),
            ("x", "/a/../b"),
            ("x", "/"),
            ("current", "/app"),
            ("current/app", "/app"),
        ] {
            let rule = SyncRule {
                from: from.into(),
                to: to.into(),
                ignore: vec![],
            };
            assert!(Rules::new("x", &[rule], &look).is_err(), "{from} {to}");
        }
    }
}
