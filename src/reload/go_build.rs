//! `go build` lines of a Dockerfile, as far as they can run on this machine just as well. Pure.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::dockerfile::{Dockerfile, plain};
use super::scope::Scope;
use crate::image::{unquoted, words};

/// A `go build` with a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GoBuild {
    /// Where the result goes in the stage, plain.
    output: String,
    /// Flags and packages, or why it can't be run here.
    pub words: Result<Vec<String>, String>,
    /// What it sets for Go.
    pub env: IndexMap<String, String>,
    /// Link flags that only a build of the image knows.
    pub left_out: Option<String>,
}

impl GoBuild {
    /// Whether its result is at this path of the stage.
    pub fn makes(&self, result: &str) -> bool {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        self.output == result || name(&self.output) == name(result)
    }
}

/// Everything that a stage builds with Go.
pub(super) fn builds(file: &Dockerfile, stage: &str, args: &BTreeMap<String, String>) -> Vec<GoBuild> {
    let mut found = Vec::new();
    file.runs(stage, args, |run, at_root, scope| {
        found.extend(of_run(&run.arguments, at_root, scope));
    });
    found
}

fn of_run(arguments: &str, at_root: bool, scope: &Scope<'_>) -> Vec<GoBuild> {
    let mut at_root = at_root;
    let mut exported = Vec::new();
    let mut found = Vec::new();
    for command in commands(arguments) {
        let assigned = command.iter().take_while(|word| is_assignment(word)).count();
        let (assignments, rest) = command.split_at(assigned);
        match rest.first().map(String::as_str) {
            Some("cd" | "pushd" | "popd") => at_root = false,
            Some("export") => exported.extend(rest[1..].iter().cloned()),
            Some("go") if rest.get(1).is_some_and(|word| word == "build") => {
                let all: Vec<String> = exported.iter().chain(assignments).cloned().collect();
                found.extend(build(&rest[2..], &all, at_root, scope));
            }
            _ => {}
        }
    }
    found
}

/// The simple commands of a line of shell, without the words that only lead to them.
fn commands(arguments: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    for word in words(arguments)
        .into_iter()
        .skip_while(|word| word.starts_with("--"))
    {
        let begun = word.trim_start_matches('(');
        let (bare, ends) = match begun.strip_suffix(';') {
            Some(bare) => (bare, true),
            None => (begun, false),
        };
        let separates = ["&&", "||", "|", "&", ""].contains(&bare);
        if let Some(command) = all.last_mut()
            && !separates
            && !(command.is_empty() && ["then", "do", "else", "env", "time", "exec"].contains(&bare))
        {
            // One that was opened inside the word, as in `$(date)`, is closed there.
            let whole = bare.contains('(');
            let bare = if whole { bare } else { bare.trim_end_matches(')') };
            command.push(bare.to_owned());
        }
        if separates || ends {
            all.push(Vec::new());
        }
    }
    all
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

fn build(words: &[String], assignments: &[String], at_root: bool, scope: &Scope<'_>) -> Option<GoBuild> {
    let known = |word: &str| {
        scope
            .fill(&unquoted(word))
            .filter(|text| !text.contains(['$', '`']))
    };
    let elsewhere = || "in another folder than the source's own".to_owned();
    let (mut kept, mut output, mut left_out) = (Vec::new(), None, None);
    let mut why = (!at_root).then(elsewhere);
    let mut words = words.iter().take_while(|word| !word.contains('>'));
    while let Some(word) = words.next() {
        if word == "-o" {
            output = words.next().and_then(|word| known(word));
        } else if let Some(value) = word.strip_prefix("-o=") {
            output = known(value);
        } else if word == "-ldflags" {
            let value = words.next()?;
            match known(value) {
                Some(value) => kept.extend([word.clone(), value]),
                None => left_out = Some(format!("{word} {value}")),
            }
        } else if let Some(text) = known(word) {
            if text == "-C" || text.starts_with("-C=") {
                why = Some(elsewhere());
            }
            kept.push(text);
        } else if word.starts_with("-ldflags=") {
            left_out = Some(word.clone());
        } else {
            why = Some(format!("with {word}, which only a build of the image knows"));
        }
    }
    let mut env = IndexMap::new();
    for name in ["CGO_ENABLED", "GOFLAGS", "GOEXPERIMENT", "GOPRIVATE"] {
        let value = scope.fill(&format!("${name}")).filter(|value| !value.is_empty());
        env.extend(value.map(|value| (name.to_owned(), value)));
    }
    for (name, value) in assignments.iter().filter_map(|word| word.split_once('=')) {
        // The image's platform is this machine's, whatever a cross build makes of it.
        let platform = ["GOOS", "GOARCH", "GOARM"].contains(&name);
        if platform || !(name.starts_with("GO") || name == "CGO_ENABLED") {
            continue;
        }
        match known(value) {
            Some(value) => drop(env.insert(name.to_owned(), value)),
            None => {
                why = Some(format!(
                    "with {name}={value}, which only a build of the image knows"
                ));
            }
        }
    }
    if env.shift_remove("CGO_ENABLED").is_some_and(|value| value == "1") {
        why = Some("with cgo, against the libraries of its stage".to_owned());
    }
    Some(GoBuild {
        output: plain(&output?),
        words: why.map_or(Ok(kept), Err),
        env,
        left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(run: &str) -> Vec<GoBuild> {
        let text =
            format!("FROM golang AS build\nARG VERSION=dev\nARG CMD=api\nWORKDIR /src\nCOPY . .\n{run}\n");
        builds(&Dockerfile::parse(&text), "build", &BTreeMap::new())
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_line_of_shell_is_taken_apart() {
        let found = of(
            "RUN --mount=type=cache,target=/x set -eux; GOAMD64=v2 go build -o /out/a ./cmd/a; \
             (go build -o=/out/b -tags 'x y' ./cmd/$CMD) && cargo build -o /c > log",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].output, "out/a");
        assert_eq!(found[0].words, Ok(owned(&["./cmd/a"])));
        assert_eq!(found[0].env["GOAMD64"], "v2");
        assert_eq!(found[1].output, "out/b");
        assert_eq!(found[1].words, Ok(owned(&["-tags", "x y", "./cmd/api"])));
        assert!(found[0].makes("out/a") && found[0].makes("usr/bin/a") && !found[0].makes("out/b"));
    }

    #[test]
    fn values_are_filled_in_or_left_out() {
        let found = of("RUN go build -ldflags \"-X main.v=$VERSION\" -o /out/$CMD .").remove(0);
        assert_eq!(found.output, "out/api");
        assert_eq!(found.words, Ok(owned(&["-ldflags", "-X main.v=dev", "."])));
        let found = of("RUN go build -ldflags=\"-X main.v=$(git describe --tags)\" -o /out/a .").remove(0);
        assert_eq!(found.words, Ok(owned(&["."])));
        assert!(found.left_out.unwrap().contains("git describe"));
    }

    #[test]
    fn what_would_be_another_build_here_is_none() {
        for (run, why) in [
            ("RUN cd cmd/a && go build -o /out/a .", "another folder"),
            ("RUN go build -C cmd/a -o /out/a .", "another folder"),
            ("WORKDIR /src/cmd/a\nRUN go build -o /out/a .", "another folder"),
            ("WORKDIR cmd/a\nRUN go build -o /out/a .", "another folder"),
            ("RUN CGO_ENABLED=1 go build -o /out/a .", "cgo"),
            ("RUN export CGO_ENABLED=1; go build -o /out/a .", "cgo"),
            ("ENV CGO_ENABLED=1\nRUN go build -o /out/a .", "cgo"),
            (
                "RUN go build -o /out/a ./cmd/$(basename x)",
                "only a build of the image knows",
            ),
            (
                "RUN go build -o /out/a -tags $TAGS .",
                "only a build of the image knows",
            ),
        ] {
            let words = of(run).remove(0).words;
            assert!(
                words.as_ref().is_err_and(|told| told.contains(why)),
                "{run}: {words:?}"
            );
        }
        assert!(of("RUN go build ./...").is_empty() && of("RUN go vet && go test -o /x").is_empty());
        let text = "FROM golang AS build\nCOPY . .\nRUN go build -o /a\nWORKDIR x\nRUN go build -o /b\n";
        let found = builds(&Dockerfile::parse(text), "build", &BTreeMap::new());
        let found: Vec<bool> = found.iter().map(|one| one.words.is_ok()).collect();
        assert_eq!(found, [true, false]);
    }
}
