//! What a Dockerfile says about files: just enough of its language for stages, COPY lines and the commands after them.

use std::collections::BTreeMap;

/// A Dockerfile, stage by stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// In the order of the file; the last one is the image unless a target is asked for.
    pub stages: Vec<Stage>,
}

/// From one FROM to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stage {
    /// After `AS`.
    pub name: Option<String>,
    /// An image, or an earlier stage's name.
    pub base: String,
    /// Everything after FROM.
    pub instructions: Vec<Instruction>,
}

/// One instruction, its continuation lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Where it begins, from 1.
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    /// The rest, trimmed.
    pub arguments: String,
}

/// Files that come into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where it stands in the Dockerfile, from 1.
    pub line: usize,
    /// Set where the files come from another stage or image instead of the build context.
    pub from: Option<String>,
    /// Paths or patterns in the context, without leading `./` and trailing `/`; `.` is the empty text.
    pub sources: Vec<String>,
    /// Absolute path in the image; ends in `/` where it can only be a folder.
    pub to: String,
    /// A RUN stands after it in its stage, and may have made something of the files.
    pub used_by_run: bool,
}

impl Dockerfile {
    /// Reads a Dockerfile. What it does not know it keeps as an instruction of no meaning.
    pub fn parse(text: &str) -> Self {
        let mut stages: Vec<Stage> = Vec::new();
        for instruction in instructions(text) {
            if instruction.keyword == "FROM" {
                stages.push(stage(&instruction.arguments));
            } else if let Some(stage) = stages.last_mut() {
                stage.instructions.push(instruction);
            }
        }
        Self { stages }
    }

    /// The stage that becomes the image.
    pub fn target(&self, name: Option<&str>) -> Option<&Stage> {
        match name {
            Some(name) => self.stages.iter().find(|stage| stage.is(name)),
            None => self.stages.last(),
        }
    }

    /// The COPY and ADD lines of a stage and of the earlier stages that it is based on, in their order. `args` are build
    /// arguments, which win over the file's own defaults.
    pub fn copies(&self, stage: &Stage, args: &BTreeMap<String, String>) -> Vec<Copy> {
        let mut chain = vec![stage];
        while let Some(base) = chain.last().and_then(|last| self.before(last)) {
            chain.push(base);
        }
        let mut scope = Scope::new(args);
        let mut copies: Vec<Copy> = Vec::new();
        for instruction in chain.iter().rev().flat_map(|stage| &stage.instructions) {
            let arguments = scope.fill(&instruction.arguments);
            match instruction.keyword.as_str() {
                "WORKDIR" => scope.workdir = join(&scope.workdir, arguments.trim_matches('"')),
                "ARG" => scope.declare(&arguments),
                "ENV" => scope.environment(&arguments),
                "RUN" => copies.iter_mut().for_each(|copy| copy.used_by_run = true),
                "COPY" | "ADD" => copies.extend(copy(instruction.line, &arguments, &scope.workdir)),
                _ => {}
            }
        }
        copies
    }

    /// The commands of RUN lines in all stages.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        let all = self.stages.iter().flat_map(|stage| &stage.instructions);
        all.filter(|instruction| instruction.keyword == "RUN")
            .map(|instruction| instruction.arguments.as_str())
    }

    /// The earlier stage that a stage begins with.
    fn before(&self, stage: &Stage) -> Option<&Stage> {
        let at = self.stages.iter().position(|other| std::ptr::eq(other, stage))?;
        self.stages[..at].iter().rev().find(|other| other.is(&stage.base))
    }
}

impl Stage {
    fn is(&self, name: &str) -> bool {
        self.name
            .as_deref()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

fn stage(arguments: &str) -> Stage {
    let mut words = arguments
        .split_whitespace()
        .filter(|word| !word.starts_with("--"));
    let base = words.next().unwrap_or_default().to_owned();
    let name = words
        .next()
        .filter(|word| word.eq_ignore_ascii_case("as"))
        .and_then(|_| words.next())
        .map(str::to_owned);
    Stage {
        name,
        base,
        instructions: Vec::new(),
    }
}

/// Joins continuation lines, drops comments and the bodies of here-documents.
fn instructions(text: &str) -> Vec<Instruction> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, first)) = lines.next() {
        if first.trim().is_empty() || first.trim_start().starts_with('#') {
            continue;
        }
        let mut whole = String::new();
        let mut line = first;
        loop {
            let Some(part) = line.trim_end().strip_suffix('\\') else {
                whole.push_str(line.trim());
                break;
            };
            whole.push_str(part.trim());
            whole.push(' ');
            match lines.find(|(_, next)| !next.trim_start().starts_with('#')) {
                Some((_, next)) => line = next,
                None => break,
            }
        }
        for end in here_documents(&whole) {
            // To the line that is the mark itself.
            let _ = lines.find(|(_, line)| line.trim() == end);
        }
        let (keyword, arguments) = whole.split_once(char::is_whitespace).unwrap_or((&whole, ""));
        found.push(Instruction {
            line: at + 1,
            keyword: keyword.to_uppercase(),
            arguments: arguments.trim().to_owned(),
        });
    }
    found
}

fn here_documents(line: &str) -> Vec<String> {
    let words = line.split_whitespace().filter_map(|word| word.strip_prefix("<<"));
    words
        .map(|word| word.trim_start_matches('-').trim_matches(['"', '\'']).to_owned())
        .filter(|word| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .collect()
}

/// Variables and the folder at one place of a stage.
struct Scope<'a> {
    given: &'a BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    workdir: String,
}

impl<'a> Scope<'a> {
    fn new(given: &'a BTreeMap<String, String>) -> Self {
        Self {
            given,
            variables: BTreeMap::new(),
            workdir: "/".to_owned(),
        }
    }

    fn declare(&mut self, arguments: &str) {
        for word in arguments.split_whitespace() {
            let (name, default) = word.split_once('=').unwrap_or((word, ""));
            let value = self.given.get(name).cloned();
            let value = value.unwrap_or_else(|| default.trim_matches('"').to_owned());
            self.variables.insert(name.to_owned(), value);
        }
    }

    fn environment(&mut self, arguments: &str) {
        let mut pairs: Vec<(&str, &str)> = arguments
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .collect();
        // The old form: one name, one value.
        if !arguments
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .contains('=')
        {
            pairs = arguments.split_once(char::is_whitespace).into_iter().collect();
        }
        for (name, value) in pairs {
            self.variables
                .insert(name.to_owned(), value.trim().trim_matches('"').to_owned());
        }
    }

    /// `$NAME`, `${NAME}` and `${NAME:-default}`.
    fn fill(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let (name, after) =
                if let Some((inner, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                    (inner, after)
                } else {
                    let end = rest
                        .find(|c: char| !c.is_alphanumeric() && c != '_')
                        .unwrap_or(rest.len());
                    rest.split_at(end)
                };
            let (name, default) = name.split_once(":-").unwrap_or((name, ""));
            match self.variables.get(name).filter(|value| !value.is_empty()) {
                Some(value) => out.push_str(value),
                None => out.push_str(default),
            }
            rest = after;
        }
        out + rest
    }
}

/// A path as WORKDIR and COPY resolve it.
fn join(workdir: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", workdir.trim_end_matches('/'))
    };
    let parts: Vec<&str> = joined
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    format!("/{}", parts.join("/"))
}

/// A source or rule path as it is compared: `./app/` → `app`, `.` → the empty text.
pub fn plain(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

fn copy(line: usize, arguments: &str, workdir: &str) -> Option<Copy> {
    let mut from = None;
    let mut words: Vec<String> = Vec::new();
    let flags = arguments
        .split_whitespace()
        .take_while(|word| word.starts_with("--"));
    for flag in flags.clone() {
        from = flag.strip_prefix("--from=").map(str::to_owned).or(from);
    }
    let rest = arguments
        .split_whitespace()
        .skip(flags.count())
        .collect::<Vec<_>>()
        .join(" ");
    if rest.starts_with('[') {
        words.extend(serde_json::from_str::<Vec<String>>(&rest).unwrap_or_default());
    } else {
        words.extend(rest.split(' ').map(str::to_owned));
    }
    let to = words.pop()?;
    let sources: Vec<String> = words
        .iter()
        .filter(|word| !word.starts_with("<<") && !word.contains("://"))
        .map(|word| plain(word))
        .collect();
    if sources.is_empty() {
        return None;
    }
    let folder = to.ends_with('/') || to == "." || to.ends_with("/.") || sources.len() > 1;
    let mut to = join(workdir, &to);
    if folder && !to.ends_with('/') {
        to.push('/');
    }
    Some(Copy {
        line,
        from,
        sources,
        to,
        used_by_run: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(text: &str) -> Vec<Copy> {
        let file = Dockerfile::parse(text);
        let args = BTreeMap::from([("BASE".to_owned(), "mine".to_owned())]);
        file.copies(file.target(None).unwrap(), &args)
    }

    #[test]
    fn copies_know_where_they_go_and_what_follows() {
        let found = copies(
            "# syntax=docker/dockerfile:1\nARG BASE=x\nFROM ${BASE} AS base\nWORKDIR /srv\nENV APP=/srv/app\n\
             COPY requirements.txt .\nRUN pip install \\\n  # a remark\n  -r requirements.txt\n\
             FROM base\nCOPY --chown=1:1 app $APP\nCOPY [\"a b\", \"static/\"]\nCOPY main.py conf.py ./\nCMD [\"x\"]\n",
        );
        let told: Vec<(Vec<String>, &str, bool)> = found
            .iter()
            .map(|c| (c.sources.clone(), c.to.as_str(), c.used_by_run))
            .collect();
        assert_eq!(
            told,
            [
                (vec!["requirements.txt".to_owned()], "/srv/", true),
                (vec!["app".to_owned()], "/srv/app", false),
                (vec!["a b".to_owned()], "/srv/static/", false),
                (vec!["main.py".to_owned(), "conf.py".to_owned()], "/srv/", false),
            ]
        );
    }

    #[test]
    fn other_stages_and_here_documents_are_told_apart() {
        let found = copies(
            "FROM golang AS build\nCOPY . .\nRUN <<EOF\nCOPY not a line\nEOF\nRUN go build -o /out/x ./cmd\n\
             FROM scratch\nCOPY --from=build /out/x /x\n",
        );
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].from.as_deref(), found[0].to.as_str(), found[0].line),
            (Some("build"), "/x", 8)
        );
    }

    #[test]
    fn variables_have_defaults() {
        let args = BTreeMap::new();
        let mut scope = Scope::new(&args);
        scope.declare("A=1 B");
        scope.environment("OLD form of it");
        assert_eq!(scope.fill("$A-${B:-two}-${OLD}/x$"), "1-two-form of it/x");
    }
}
