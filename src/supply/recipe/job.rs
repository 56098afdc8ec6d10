//! One recipe at work: its folders, its log, its signs of life. The step kinds in the neighbouring files act on this.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;

use super::super::cache::{Cache, set_executable};
use super::super::error::SupplyError;
use super::super::host::Host;
use super::super::process::{Command, Output, ProcessError, TAIL_LINES};
use super::super::pulse::{Pulse, plain};
use super::book::{Book, Files};
use super::model::Recipe;
use super::orphans;
use crate::failure::Diagnose;
use crate::report::Step;

/// The label that says of which inputs an image was made.
pub const RECIPE_LABEL: &str = "dev.vadev.recipe";

/// How long programs of an earlier attempt get to end after SIGKILL.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(10);

/// What all jobs of a run share.
#[derive(Debug)]
pub struct Kit {
    /// The cache.
    pub cache: Cache,
    /// The recipes.
    pub book: Book,
    /// The programs of this machine.
    pub host: Host,
}

/// A recipe being carried out by the holder of its lock.
pub struct Job<'a> {
    /// What all jobs share.
    pub kit: &'a Kit,
    /// The engine; only image recipes have one.
    pub docker: Option<&'a Docker>,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The step whose progress is shown.
    pub step: &'a Step,
    /// The work folder, which is also the build context.
    pub context: PathBuf,
    /// A folder beside it for what does not belong into an image.
    pub scratch: PathBuf,
    /// Ids of the layers that the engine's builder made or used.
    pub layers: Mutex<Vec<String>>,
    pulse: Pulse<'a>,
    log: Mutex<Log>,
}

struct Log {
    file: std::fs::File,
    tail: VecDeque<String>,
}

/// Why a step failed, in a line; the output is in the job's log.
#[derive(Debug)]
pub struct Trouble(pub String);

impl Trouble {
    /// A reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl From<SupplyError> for Trouble {
    fn from(error: SupplyError) -> Self {
        Self(error.to_string())
    }
}

impl From<ProcessError> for Trouble {
    fn from(error: ProcessError) -> Self {
        Self(error.to_string())
    }
}

impl<'a> Job<'a> {
    /// Prepares fresh folders with the recipe's files, and the log. Programs that an earlier attempt left at work are ended
    /// first.
    pub async fn begin(
        kit: &'a Kit,
        docker: Option<&'a Docker>,
        recipe: &'a Recipe,
        step: &'a Step,
    ) -> Result<Self, SupplyError> {
        let work = kit.cache.work(&recipe.name);
        for pid in orphans::end(&work, ORPHAN_PATIENCE).await {
            let pid = pid.as_raw_nonzero();
            let message = format!(
                "process {pid} of an earlier attempt still works in {}",
                work.display()
            );
            step.reporter().warn(message, Some(format!("kill {pid}")));
        }
        clear(&work).await?;
        let (context, scratch) = (work.join("context"), work.join("scratch"));
        std::fs::create_dir_all(&scratch).map_err(SupplyError::file("create", &scratch))?;
        lay_out(kit.book.files(&recipe.name), &context)?;
        let path = kit.cache.log(&recipe.name);
        let file = std::fs::File::create(&path).map_err(SupplyError::file("write", &path))?;
        let log = Mutex::new(Log {
            file,
            tail: VecDeque::new(),
        });
        Ok(Self {
            kit,
            docker,
            recipe,
            step,
            context,
            scratch,
            layers: Mutex::default(),
            pulse: Pulse::new(step),
            log,
        })
    }

    /// Removes the work folder; the log stays.
    pub async fn end(self) -> Result<(), SupplyError> {
        clear(&self.kit.cache.work(&self.recipe.name)).await
    }

    /// The engine.
    pub fn docker(&self) -> Result<&'a Docker, Trouble> {
        self.docker
            .ok_or_else(|| Trouble::new("a recipe of kind `tool` has no use for the Docker engine"))
    }

    /// A path of the recipe within the work folder; one that leads out of it is refused.
    pub fn path(&self, relative: &str) -> Result<PathBuf, Trouble> {
        let inside = Path::new(relative).components().all(|part| {
            matches!(
                part,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        });
        if inside {
            Ok(self.context.join(relative))
        } else {
            Err(Trouble(format!("path `{relative}` leads out of the work folder")))
        }
    }

    /// Writes a line to the log and shows it.
    pub fn say(&self, line: &str) {
        let line = plain(line);
        if line.is_empty() {
            return;
        }
        self.pulse.tell(&line);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk ends the build elsewhere, with a better message than this line would give.
        let _ = writeln!(log.file, "{line}");
        if log.tail.len() == TAIL_LINES {
            log.tail.pop_front();
        }
        log.tail.push_back(line);
    }

    /// Shows a line that is not worth keeping.
    pub fn show(&self, line: &str) {
        self.pulse.tell(line);
    }

    /// The newest lines of the log.
    pub fn tail(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tail
            .iter()
            .cloned()
            .collect()
    }

    /// Runs a program, its output in the log.
    pub async fn run(&self, command: Command) -> Result<Output, Trouble> {
        self.say(&format!("$ {}", command.argv()));
        let result = self.during(command.run(|_, line| self.say(line))).await;
        result.map_err(|error| match error {
            ProcessError::Failed { argv, code, .. } => {
                let program = argv
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .rsplit('/')
                    .next()
                    .unwrap_or_default();
                Trouble(format!("`{program}` ended with exit code {code}"))
            }
            other => {
                other.details().iter().for_each(|line| self.say(line));
                other.into()
            }
        })
    }

    /// Runs a program whose output is data rather than a log.
    pub async fn ask(&self, command: Command) -> Result<Output, Trouble> {
        self.say(&format!("$ {}", command.argv()));
        self.during(command.output()).await.map_err(|error| {
            error.details().iter().for_each(|line| self.say(line));
            error.into()
        })
    }

    /// Shows signs of life while `work` goes on.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        self.pulse.during(work).await
    }

    /// Runs blocking work beside the async tasks, with signs of life.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SupplyError> + Send + 'static,
    ) -> Result<T, Trouble> {
        match self.during(tokio::task::spawn_blocking(work)).await {
            Ok(result) => result.map_err(Trouble::from),
            Err(error) => Err(Trouble(error.to_string())),
        }
    }
}

/// Removes a work folder, whoever left it. A bootstrap that was killed may have left file systems mounted in it, which
/// must not be emptied.
async fn clear(work: &Path) -> Result<(), SupplyError> {
    let mounted = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<_> = mounted
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(work))
        .collect();
    // The innermost first.
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        Command::new("umount").args(["--lazy", point]).output().await?;
    }
    match tokio::fs::remove_dir_all(work).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SupplyError::file("remove", work)(error))
        }
        _ => Ok(()),
    }
}

fn lay_out(files: &Files, folder: &Path) -> Result<(), SupplyError> {
    for (name, content) in files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(SupplyError::file("create", parent))?;
        std::fs::write(&path, content).map_err(SupplyError::file("write", &path))?;
        // Embedding forgets the mode; scripts say what they are.
        if content.starts_with(b"#!") {
            set_executable(&path)?;
        }
    }
    Ok(())
}

/// Makes the folder that `path` is to be in.
pub fn make_parent(path: &Path) -> Result<(), SupplyError> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(SupplyError::file("create", parent))
}
