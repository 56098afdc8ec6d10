//! What a `recipe.yaml` says.

use indexmap::IndexMap;

use super::super::cache::Kind;

/// One artefact and how to make it from packages.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name, which is also its folder's.
    #[serde(rename = "recipe")]
    pub name: String,
    /// Image or tool.
    pub kind: Kind,
    /// An image's full reference, or a tool's file name.
    pub reference: String,
    /// The software's version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// Recipes that must have been made before.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Seconds it takes cold on two cores, as measured by its author.
    pub seconds: u32,
    /// Another folder of the recipes whose files are laid into the work folder first.
    #[serde(default)]
    pub share: Option<String>,
    /// What to do, in order.
    pub steps: Vec<Action>,
}

impl Recipe {
    /// Whether vadev carries all of it inside: it comes from no source outside, and so may come under every one.
    pub fn is_carried(&self) -> bool {
        self.needs.is_empty() && self.steps.iter().any(|step| matches!(step, Action::Agent(_)))
    }
}

/// One step of a recipe. Paths are relative to the work folder.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Compile Go programs out of modules.
    Go(Go),
    /// Fetch Java libraries and check each against a lock file.
    Maven(Maven),
    /// Compile Java sources.
    Javac(Javac),
    /// Fetch a Python wheel and take files out of it.
    Pip(Pip),
    /// Take a file out of a Go module.
    ModuleFile(ModuleFile),
    /// Put vadev's own Go into the work folder.
    Toolchain(Toolchain),
    /// Make a root file system from Debian packages and import it.
    Debootstrap(Debootstrap),
    /// Build an image with the engine's classic builder.
    Build(Build),
    /// Write images of the engine into an archive.
    Save(Save),
    /// Load images into the image that was just built.
    Preload(Preload),
    /// Write the embedded agent to `vadev-agent`.
    Agent(Agent),
}

impl Action {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Go(_) => "go",
            Self::Maven(_) => "maven",
            Self::Javac(_) => "javac",
            Self::Pip(_) => "pip",
            Self::ModuleFile(_) => "module_file",
            Self::Toolchain(_) => "toolchain",
            Self::Debootstrap(_) => "debootstrap",
            Self::Build(_) => "build",
            Self::Save(_) => "save",
            Self::Preload(_) => "preload",
            Self::Agent(_) => "agent",
        }
    }
}

/// `go build` for each package; `go.mod` and `go.sum` are files of the recipe.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Go {
    /// Name below `out/` → package path.
    pub packages: IndexMap<String, String>,
    /// For `-ldflags`.
    #[serde(default)]
    pub ldflags: String,
    /// Environment.
    #[serde(default)]
    pub env: IndexMap<String, String>,
    /// For `-tags`.
    #[serde(default)]
    pub tags: String,
    /// The folder with `go.mod`.
    #[serde(default = "here")]
    pub dir: String,
}

/// `mvn dependency:copy-dependencies`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maven {
    /// The project file.
    pub pom: String,
    /// Folder for the libraries.
    pub to: String,
    /// The libraries' digests, in the format of `sha256sum`.
    pub lock: String,
}

/// `javac`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Javac {
    /// Source files.
    pub sources: Vec<String>,
    /// Folder of libraries.
    pub classpath: String,
    /// Folder for the classes.
    pub to: String,
}

/// `pip download` of one wheel.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pip {
    /// `name==version`.
    pub requirement: String,
    /// The wheel's digest, hex.
    pub sha256: String,
    /// Member → file, or pattern of members → folder.
    pub extract: IndexMap<String, String>,
}

/// One file of a module that the recipe's `go.mod` requires.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleFile {
    /// The module's path.
    pub module: String,
    /// The file within it.
    pub file: String,
    /// Where to write it.
    pub to: String,
    /// The folder with `go.mod`.
    #[serde(default = "here")]
    pub dir: String,
}

/// Go, as vadev fetches it for machines without one.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// Folder.
    pub to: String,
}

/// `debootstrap`, with the machine's own apt configuration where it is of the same suite.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debootstrap {
    /// `bookworm`.
    pub suite: String,
    /// `minbase`.
    pub variant: String,
    /// Packages beyond the variant's own.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Folder of the recipe that is laid over the new root.
    #[serde(default)]
    pub overlay: Option<String>,
    /// Absolute folders that are emptied before the import.
    #[serde(default)]
    pub empty: Vec<String>,
}

/// A build of the work folder.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The Dockerfile.
    pub dockerfile: String,
    /// `host` where packages are installed.
    #[serde(default)]
    pub network: Option<String>,
    /// Build arguments.
    #[serde(default)]
    pub args: IndexMap<String, String>,
}

/// Images written into one archive.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Save {
    /// References.
    pub images: Vec<String>,
    /// The archive.
    pub to: String,
}

/// A privileged container of the image just built reads an archive of images on standard input; its changes are
/// committed over the image.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preload {
    /// What it runs.
    pub command: Vec<String>,
    /// Where a fresh volume is mounted.
    pub volume: String,
    /// References.
    pub images: Vec<String>,
}

/// No settings.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {}

fn here() -> String {
    ".".to_owned()
}
