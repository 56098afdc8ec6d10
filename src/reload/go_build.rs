//! `go build` lines of a Dockerfile, as far as they can run on this machine just as well. Pure.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::copied::mounted;
use super::dockerfile::{Dockerfile, plain};
use super::scope::{Scope, join};
use crate::image::{unquoted, words};

/// A `go build` with a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GoBuild {
    /// Where the result goes in the stage.
    output: Output,
    /// Flags and packages, or why it can't be run here.
    pub words: Result<Vec<String>, String>,
    /// What it sets for Go.
    pub env: IndexMap<String, String>,
    /// Link flags that only a build of the image knows.
    pub left_out: Option<String>,
    /// Whether the Dockerfile says that it is built without cgo.
    pub says_cgo: bool,
}

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Output {
    /// An absolute path.
    At(String),
    /// Below a folder that only the base image knows, plain.
    Below(String),
}

impl GoBuild {
    /// Whether its result is at this path of the stage, as far as that is known: where only the base image knows the folder
    /// that it is built in, names have to do.
    pub fn makes(&self, result: &str) -> bool {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match &self.output {
            Output::At(path) => *path == format!("/{result}"),
            Output::Below(path) => {
                name(path) == name(result) && format!("/{result}").ends_with(&format!("/{path}"))
            }
        }
    }
}

/// Everything that a stage builds with Go.
pub(super) fn builds(file: &Dockerfile, stage: &str, args: &BTreeMap<String, String>) -> Vec<GoBuild> {
    let copies = file.target(Some(stage)).map(|one| file.copies(one, args));
    let others: Vec<_> = copies
        .into_iter()
        .flatten()
        .filter(|copy| copy.from.is_some())
        .collect();
    let mut found = Vec::new();
    let mut changed = None;
    file.runs(stage, args, |run, at_root, scope| {
        // What another stage has made lies in the source.
        let within = |to: &String| {
            scope
                .workdir
                .as_ref()
                .is_none_or(|folder| to.starts_with(folder.as_str()))
        };
        let earlier = others
            .iter()
            .find(|copy| copy.line < run.line && copy.to.as_ref().is_none_or(within));
        changed = changed.or(earlier.map(|copy| copy.line));
        found.extend(of_run(run.line, &run.arguments, at_root, scope, &mut changed));
    });
    found
}

/// Begins what comes to be only under a condition, or more than once.
const CONDITIONS: [&str; 6] = ["if", "elif", "case", "for", "while", "until"];

/// Whether a command of the shell leaves a source as it is: what else it does, a build on this machine does without.
fn is_harmless(command: &[String]) -> bool {
    const TOOLS: [&str; 28] = [
        "addgroup",
        "adduser",
        "apk",
        "apt",
        "apt-get",
        "cd",
        "dnf",
        "echo",
        "export",
        "getent",
        "go",
        "groupadd",
        "ldd",
        "ls",
        "microdnf",
        "mkdir",
        "popd",
        "pushd",
        "pwd",
        "set",
        "strip",
        "test",
        "true",
        "uname",
        "update-ca-certificates",
        "upx",
        "useradd",
        "yum",
    ];
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let into = |at: usize| {
        let (_, file) = words[at].rsplit_once('>')?;
        let file = if file.is_empty() { words.get(at + 1)? } else { file };
        (!file.starts_with("/dev/") && !file.starts_with('&')).then_some(())
    };
    let writes = (0..words.len()).any(|at| into(at).is_some());
    let apart = |path: &&str| {
        ["/var/lib/", "/var/cache/", "/tmp/", "/root/.cache", "/usr/share/"]
            .iter()
            .any(|folder| path.starts_with(folder))
    };
    !writes
        && match words.as_slice() {
            [] | ["chmod" | "chown", ..] => true,
            ["go", "mod", verb, ..] => ["download", "verify"].contains(verb),
            ["go", verb, ..] => !["generate", "fmt", "fix", "get", "run", "work", "tool"].contains(verb),
            ["git", rest @ ..] => matches!(rest, ["config", ..]),
            ["rm", rest @ ..] => rest.iter().filter(|word| !word.starts_with('-')).all(apart),
            [tool, ..] => TOOLS.contains(tool),
        }
}

fn of_run(
    line: usize,
    arguments: &str,
    at_root: bool,
    scope: &Scope<'_>,
    changed: &mut Option<usize>,
) -> Vec<GoBuild> {
    let mut at_root = at_root;
    let mut exported = Vec::new();
    let mut found = Vec::new();
    let commands = commands(arguments);
    let begins = |command: &Vec<String>| {
        command
            .first()
            .is_some_and(|word| CONDITIONS.contains(&word.as_str()))
    };
    let instead = words(arguments)
        .windows(2)
        .any(|pair| pair[0] == "||" && !["true", "exit", ":"].contains(&pair[1].as_str()));
    let conditional = instead || commands.iter().any(begins);
    // What another stage has lies in the source for as long as this runs.
    let mounts = mounted(line, arguments, scope);
    if mounts.iter().any(|mount| mount.from.is_some()) {
        changed.get_or_insert(line);
    }
    for command in commands {
        let assigned = command.iter().take_while(|word| is_assignment(word)).count();
        let (assignments, rest) = command.split_at(assigned);
        match rest.first().map(String::as_str) {
            Some("cd" | "pushd" | "popd") => at_root = false,
            Some("export") => exported.extend(rest[1..].iter().cloned()),
            Some("go") if rest.get(1).is_some_and(|word| word == "build") => {
                let all: Vec<String> = exported.iter().chain(assignments).cloned().collect();
                found.extend(build(&rest[2..], &all, at_root, scope).map(|mut build| {
                    if conditional {
                        build.words =
                            Err("under a condition, which only a build of the image knows".to_owned());
                    } else if let Some(line) = changed {
                        build.words = Err(format!("after line {line}, which may change what it is made of"));
                    }
                    build
                }));
            }
            _ => {}
        }
        if !is_harmless(rest) {
            changed.get_or_insert(line);
        }
    }
    found
}

/// The simple commands of a line of shell, without the words that only lead to them.
pub(super) fn commands(arguments: &str) -> Vec<Vec<String>> {
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
    let cgo = env.shift_remove("CGO_ENABLED");
    let says_cgo = cgo.is_some();
    if cgo.is_some_and(|value| value == "1") {
        why = Some("with cgo, against the libraries of its stage".to_owned());
    }
    let output = output?;
    let output = match join(scope.workdir.as_deref(), &output) {
        Some(path) => Output::At(path),
        None => Output::Below(plain(&output)),
    };
    Some(GoBuild {
        output,
        words: why.map_or(Ok(kept), Err),
        env,
        left_out,
        says_cgo,
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
        assert!(found[0].makes("out/a"));
        assert_eq!(found[0].words, Ok(owned(&["./cmd/a"])));
        assert_eq!(found[0].env["GOAMD64"], "v2");
        assert!(found[1].makes("out/b") && !found[1].makes("out/x/b"));
        assert_eq!(found[1].words, Ok(owned(&["-tags", "x y", "./cmd/api"])));
        assert!(!found[0].makes("usr/bin/a") && !found[0].makes("out/b"));
    }

    #[test]
    fn values_are_filled_in_or_left_out() {
        let found = of("RUN go build -ldflags \"-X main.v=$VERSION\" -o /out/$CMD .").remove(0);
        assert!(found.makes("out/api"));
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
                "RUN if [ -n \"$RACE\" ]; then go build -race -o /out/a .; else go build -o /out/a .; fi",
                "under a condition",
            ),
            ("RUN go generate ./...\nRUN go build -o /out/a .", "after line 6"),
            ("RUN sed -i s/a/b/ x.go && go build -o /out/a .", "after line 6"),
            ("RUN rm -rf internal/dev; go build -o /out/a .", "after line 6"),
            ("RUN echo x > version.go && go build -o /out/a .", "after line 6"),
            (
                "COPY --from=web /dist ./web/dist\nRUN go build -o /out/a .",
                "after line 6",
            ),
            (
                "RUN --mount=from=web,target=web go build -o /out/a .",
                "after line 6",
            ),
            (
                "RUN rm -rf /src/internal/dev && go build -o /out/a .",
                "after line 6",
            ),
            ("RUN go mod tidy\nRUN go build -o /out/a .", "after line 6"),
            (
                "RUN go build -o /out/a . || go build -tags x -o /out/a .",
                "under a condition",
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
        for run in [
            "RUN apt-get update && apt-get install -y git > /dev/null && rm -rf /var/lib/apt/lists/*\nRUN go mod download\n\
             RUN mkdir -p /out && go vet ./... && go build -o /out/a .",
            "COPY --from=tools /usr/bin/upx /usr/bin/upx\nRUN go build -o /out/a . && upx /out/a",
        ] {
            assert_eq!(of(run).remove(0).words, Ok(owned(&["."])), "{run}");
        }
        assert!(of("RUN go build ./...").is_empty() && of("RUN go vet && go test -o /x").is_empty());
        let text = "FROM golang AS build\nCOPY . .\nRUN go build -o /a\nWORKDIR x\nRUN go build -o /b\n";
        let found = builds(&Dockerfile::parse(text), "build", &BTreeMap::new());
        let found: Vec<bool> = found.iter().map(|one| one.words.is_ok()).collect();
        assert_eq!(found, [true, false]);
    }
}
