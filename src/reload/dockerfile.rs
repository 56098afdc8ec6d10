//! What a Dockerfile says about files: just enough of its language for stages, COPY lines and the commands after them.
//!
//! What cannot be known from the file alone (a variable or a folder that a base image sets) stays unknown: a guess would put
//! files where nobody reads them.

use std::collections::BTreeMap;
use std::path::Path;

use super::copied::{Mount, copy, mounted};
use super::scope::Scope;
pub use crate::image::Instruction;
use crate::image::instructions;

/// A Dockerfile, stage by stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// In the order of the file; the last one is the image unless a target is asked for.
    pub stages: Vec<Stage>,
    /// What stands after each ARG before the first FROM.
    globals: Vec<String>,
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

/// Where files come from that a here-document or an address of the network is.
pub const WRITTEN: &str = "the Dockerfile itself or the network";

/// Files that come into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where it stands in the Dockerfile, from 1.
    pub line: usize,
    /// Set where the files come from another stage or image instead of the build context, or are none: [`WRITTEN`].
    pub from: Option<String>,
    /// Paths or patterns in the context, without leading `./` and trailing `/`; `.` is the empty text, and so is what
    /// cannot be known.
    pub sources: Vec<String>,
    /// Absolute path in the image; ends in `/` where it can only be a folder. `None` where the file does not say it.
    pub to: Option<String>,
    /// Whether a file goes into `to` or becomes it, only the image knows; a folder's content goes into it in any case.
    pub unsettled: bool,
    /// What it says about owner and mode; `None` where only a build knows what that means.
    pub attributes: Option<Attributes>,
    /// A RUN stands after it in its stage, and may have made something of the files.
    pub used_by_run: bool,
    /// ADD of an archive, whose content comes into the image.
    pub unpacked: bool,
}

/// Owner and mode of copied files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// User and group.
    pub owner: (u64, u64),
    /// Instead of each file's own.
    pub mode: Option<u32>,
}

/// A path of the context that a RUN makes something of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Where that stands in the Dockerfile, from 1.
    pub line: usize,
    /// Path or pattern, as in a COPY line.
    pub source: String,
}

/// Where the root of the context was copied to.
enum Root {
    At(String),
    /// A folder that only the base image knows; whether it is still the current one.
    Here(bool),
}

impl Dockerfile {
    /// Reads a Dockerfile. What it does not know it keeps as an instruction of no meaning.
    pub fn parse(text: &str) -> Self {
        let mut file = Self::default();
        for instruction in instructions(text) {
            if instruction.keyword == "FROM" {
                file.stages.push(stage(&instruction.arguments));
            } else if let Some(stage) = file.stages.last_mut() {
                stage.instructions.push(instruction);
            } else if instruction.keyword == "ARG" {
                file.globals.push(instruction.arguments);
            }
        }
        file
    }

    /// The stage that becomes the image.
    pub fn target(&self, name: Option<&str>) -> Option<&Stage> {
        match name {
            Some(name) => self.named(name),
            None => self.stages.last(),
        }
    }

    /// By its name, or by its number.
    fn named(&self, name: &str) -> Option<&Stage> {
        let number = || self.stages.get(name.parse::<usize>().ok()?);
        self.stages.iter().find(|stage| stage.is(name)).or_else(number)
    }

    /// The COPY and ADD lines of a stage and of the earlier stages that it is based on, in their order. `args` are build
    /// arguments, which win over the file's own defaults.
    pub fn copies(&self, stage: &Stage, args: &BTreeMap<String, String>) -> Vec<Copy> {
        self.read(stage, args).0
    }

    /// What of the context a RUN has made something of that is in this stage: by a COPY line before it, by a mount, or in
    /// another stage that this one takes files from.
    pub fn used(&self, stage: &Stage, args: &BTreeMap<String, String>) -> Vec<Used> {
        let mut used = Vec::new();
        for (one, copies, mounts) in self.reached(stage, args) {
            let own = std::ptr::eq(one, stage);
            for copy in copies.into_iter().filter(|copy| copy.from.is_none()) {
                if copy.used_by_run || !own {
                    let line = copy.line;
                    used.extend(copy.sources.into_iter().map(|source| Used { line, source }));
                }
            }
            let mounts = mounts.into_iter().filter(|mount| mount.from.is_none());
            used.extend(mounts.map(|Mount { line, source, .. }| Used { line, source }));
        }
        used
    }

    /// A stage and every other that it takes files from, directly or not, with what each copies and mounts.
    fn reached<'f>(
        &'f self,
        stage: &'f Stage,
        args: &BTreeMap<String, String>,
    ) -> Vec<(&'f Stage, Vec<Copy>, Vec<Mount>)> {
        let (mut reached, mut open) = (Vec::<(&Stage, _, _)>::new(), vec![stage]);
        while let Some(one) = open.pop() {
            if reached.iter().any(|(other, ..)| std::ptr::eq(*other, one)) {
                continue;
            }
            let (copies, mounts) = self.read(one, args);
            let from = copies.iter().map(|copy| &copy.from);
            let from = from.chain(mounts.iter().map(|mount| &mount.from));
            open.extend(from.flatten().filter_map(|from| self.named(from)));
            reached.push((one, copies, mounts));
        }
        reached
    }

    /// What RUN lines of any stage have of the context without a COPY line.
    pub fn mounted(&self, args: &BTreeMap<String, String>) -> Vec<String> {
        let mounts = self.stages.iter().flat_map(|stage| self.read(stage, args).1);
        mounts
            .filter(|mount| mount.from.is_none())
            .map(|mount| mount.source)
            .collect()
    }

    fn read(&self, stage: &Stage, args: &BTreeMap<String, String>) -> (Vec<Copy>, Vec<Mount>) {
        let (mut copies, mut mounts) = (Vec::<Copy>::new(), Vec::new());
        self.walk(stage, args, |instruction, copied, scope| {
            copies.extend(copied);
            if instruction.keyword == "RUN" {
                for copy in &mut copies {
                    copy.used_by_run = true;
                }
                mounts.extend(mounted(instruction.line, &instruction.arguments, scope));
            }
        });
        (copies, mounts)
    }

    /// Shows every instruction that makes a stage, those of the earlier stages that it is based on first, with what
    /// it copies and what variables and paths mean there.
    fn walk(
        &self,
        stage: &Stage,
        args: &BTreeMap<String, String>,
        mut each: impl FnMut(&Instruction, Option<Copy>, &Scope<'_>),
    ) {
        let none = BTreeMap::new();
        let mut outside = Scope::new(args, &none, true);
        self.globals.iter().for_each(|global| outside.declare(global));
        let mut chain = vec![stage];
        while let Some(base) = chain.last().and_then(|last| self.before(last, &outside)) {
            chain.push(base);
        }
        let scratch = chain.last().is_some_and(|first| first.base == "scratch");
        let mut scope = Scope::new(args, &outside.variables, scratch);
        let mut waiting = Vec::new();
        for stage in chain.iter().rev() {
            // What a base has for the stages that begin with it comes before their own.
            for instruction in std::mem::take(&mut waiting).iter().chain(&stage.instructions) {
                let arguments = instruction.arguments.as_str();
                match instruction.keyword.as_str() {
                    "WORKDIR" => scope.enter(arguments),
                    "ARG" => scope.declare(arguments),
                    "ENV" => scope.environment(arguments),
                    "ONBUILD" => waiting.extend(later(instruction)),
                    _ => {}
                }
                let copied = match instruction.keyword.as_str() {
                    "COPY" | "ADD" => copy(instruction, &scope),
                    _ => None,
                };
                let placed = copied.as_ref().and_then(|copy| copy.to.clone());
                each(instruction, copied, &scope);
                if let Some(to) = placed {
                    scope.has(&to, to.ends_with('/'));
                }
            }
        }
    }

    /// Each RUN of a stage, whether it runs in the folder that the root of the context was copied to, and what its
    /// variables mean.
    pub(super) fn runs(
        &self,
        name: &str,
        args: &BTreeMap<String, String>,
        mut each: impl FnMut(&Instruction, bool, &Scope<'_>),
    ) {
        let Some(stage) = self.named(name) else { return };
        let mut root = None;
        self.walk(stage, args, |instruction, copied, scope| {
            match instruction.keyword.as_str() {
                "WORKDIR" => {
                    if let Some(Root::Here(here)) = &mut root {
                        *here = false;
                    }
                }
                "COPY" | "ADD" => {
                    let copy = copied.filter(|copy| copy.from.is_none());
                    let is_root = |source: &String| source.is_empty() || source == "go.mod";
                    if let Some(copy) = copy.filter(|copy| copy.sources.iter().any(is_root)) {
                        let words = &instruction.arguments;
                        let here = words.ends_with(" .") || words.ends_with(" ./");
                        root = match copy.to {
                            Some(to) => {
                                let folder = plain(to.strip_suffix("/go.mod").unwrap_or(&to));
                                Some(Root::At(format!("/{folder}")))
                            }
                            None => here.then_some(Root::Here(true)),
                        };
                    }
                }
                "RUN" => {
                    let at_root = match &root {
                        Some(Root::At(root)) => scope.workdir.as_ref() == Some(root),
                        Some(Root::Here(here)) => *here,
                        None => false,
                    };
                    each(instruction, at_root, scope);
                }
                _ => {}
            }
        });
    }

    /// Whether anything of the context is in a stage, or in one that it takes files from.
    pub(super) fn has_context(&self, name: &str, args: &BTreeMap<String, String>) -> bool {
        let reached = self.named(name).map(|stage| self.reached(stage, args));
        reached.into_iter().flatten().any(|(_, copies, mounts)| {
            copies.iter().any(|copy| copy.from.is_none()) || mounts.iter().any(|mount| mount.from.is_none())
        })
    }

    /// The earlier stage that a stage begins with.
    fn before(&self, stage: &Stage, outside: &Scope<'_>) -> Option<&Stage> {
        let at = self.stages.iter().position(|other| std::ptr::eq(other, stage))?;
        let base = outside.fill(&stage.base)?;
        self.stages[..at].iter().rev().find(|other| other.is(&base))
    }
}

impl Stage {
    fn is(&self, name: &str) -> bool {
        self.name
            .as_deref()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The instruction that an ONBUILD holds back.
fn later(instruction: &Instruction) -> Option<Instruction> {
    let (keyword, arguments) = instruction.arguments.split_once(char::is_whitespace)?;
    Some(Instruction {
        line: instruction.line,
        keyword: keyword.to_uppercase(),
        arguments: arguments.trim().to_owned(),
    })
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

/// A source or rule path as it is compared: `./app/` → `app`, `.` → the empty text.
pub fn plain(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

/// Whether one path is the other, or in it.
pub fn overlap(a: &str, b: &str) -> bool {
    Path::new(a).starts_with(b) || Path::new(b).starts_with(a)
}

#[cfg(test)]
mod tests;
