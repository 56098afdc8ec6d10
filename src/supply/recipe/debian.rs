//! The step `debootstrap`: a root file system of Debian packages, imported as an image.
//!
//! The machine's own apt configuration goes into it (sources of the same suite, proxies and mirrors, extra keys, extra
//! certificates), so that later builds reach packages the way this machine does. Passwords (`auth.conf`) do not.

use std::path::{Path, PathBuf};

use super::super::engine::privilege::{find_program, is_root, search_path};
use super::super::error::SupplyError;
use super::super::process::Command;
use super::images;
use super::job::{Job, Trouble, make_parent};
use super::model::Debootstrap;

/// Makes the root and imports it as `reference`.
pub async fn debootstrap(job: &Job<'_>, step: &Debootstrap, reference: &str) -> Result<(), Trouble> {
    if !is_root() {
        return Err(Trouble::new(
            "debootstrap needs root: run `sudo -E vadev supply build debian` once",
        ));
    }
    let root = job.scratch.join("root");
    let sources = machine_sources(&step.suite)?;
    let program = job.kit.host.debootstrap()?;
    // In a mount namespace of its own, so that nothing it mounts outlives it.
    let mut command = match find_program("unshare") {
        Some(unshare) => Command::new(unshare).args(["--mount", "--"]).arg(program),
        None => Command::new(program),
    };
    command = command
        .env("PATH", search_path())
        .arg(format!("--variant={}", step.variant));
    if !step.packages.is_empty() {
        command = command.arg(format!("--include={}", step.packages.join(",")));
    }
    command = command.arg(&step.suite).arg(&root);
    if let Some(mirror) = &sources.mirror {
        command = command.arg(mirror);
    }
    job.run(command).await?;

    let (copied, target) = (sources, root.clone());
    job.blocking(move || install_configuration(&copied, &target))
        .await?;
    if root
        .join("usr/local/share/ca-certificates")
        .read_dir()
        .is_ok_and(|mut files| files.next().is_some())
    {
        job.run(
            Command::new("chroot")
                .env("PATH", search_path())
                .arg(&root)
                .arg("update-ca-certificates"),
        )
        .await?;
    }
    if let Some(overlay) = &step.overlay {
        job.run(
            Command::new("cp")
                .arg("-a")
                .arg(job.path(overlay)?.join("."))
                .arg(&root),
        )
        .await?;
        // The overlay's owner is whoever runs vadev, and its folders' modes are those of the embedded copy.
    }
    let empty: Vec<PathBuf> = step
        .empty
        .iter()
        .map(|path| root.join(path.trim_start_matches('/')))
        .collect();
    job.blocking(move || empty.iter().try_for_each(|folder| make_empty(folder)))
        .await?;

    let archive = job.scratch.join("root.tar");
    let tar = Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "-cf"])
        .arg(&archive)
        .arg("-C")
        .arg(&root)
        .arg(".");
    job.run(tar).await?;
    images::import(job, &archive, reference).await
}

fn make_empty(folder: &Path) -> Result<(), SupplyError> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.map_err(SupplyError::file("read", folder))?;
        let path = entry.path();
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if folder {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(SupplyError::file("remove", path))?;
    }
    Ok(())
}

/// What is taken over from this machine's apt.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sources {
    /// Where debootstrap gets its packages; its own default where nothing is known.
    mirror: Option<String>,
    /// One-line entries.
    lines: Vec<String>,
    /// Stanzas of deb822 files.
    stanzas: Vec<String>,
}

fn machine_sources(suite: &str) -> Result<Sources, SupplyError> {
    let mut sources = Sources::default();
    let folder = Path::new("/etc/apt/sources.list.d");
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    files.sort();
    for file in files {
        let read = || std::fs::read_to_string(&file).map_err(SupplyError::file("read", &file));
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") if file.exists() => sources.read_lines(&read()?, suite),
            Some("sources") if file.exists() => sources.read_stanzas(&read()?, suite),
            _ => {}
        }
    }
    Ok(sources)
}

/// The suites that belong to a release itself; other vendors name theirs differently or use other components.
fn belongs(suite: &str, to: &str) -> bool {
    suite
        .strip_prefix(to)
        .is_some_and(|rest| ["", "-updates", "-security", "-backports"].contains(&rest))
}

impl Sources {
    fn read_lines(&mut self, text: &str, suite: &str) {
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("deb "))
        {
            let rest = line["deb ".len()..].trim_start();
            let rest = if rest.starts_with('[') {
                rest.split_once(']').map_or("", |(_, rest)| rest)
            } else {
                rest
            };
            let mut words = rest.split_whitespace();
            let (Some(uri), Some(of), true) = (words.next(), words.next(), words.any(|word| word == "main"))
            else {
                continue;
            };
            if belongs(of, suite) {
                self.lines.push(line.to_owned());
                self.offer_mirror(uri, of == suite);
            }
        }
    }

    fn read_stanzas(&mut self, text: &str, suite: &str) {
        for stanza in text.split("\n\n") {
            let field = |name: &str| {
                let line = stanza
                    .lines()
                    .find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
                line.and_then(|line| line.split_once(':'))
                    .map_or("", |(_, value)| value.trim())
            };
            let main = field("components").split_whitespace().any(|word| word == "main");
            let binary = field("types").split_whitespace().any(|word| word == "deb");
            let mut suites = field("suites").split_whitespace().peekable();
            if !main || !binary || field("enabled").eq_ignore_ascii_case("no") || suites.peek().is_none() {
                continue;
            }
            if suites.all(|of| belongs(of, suite)) {
                let lines: Vec<_> = stanza.lines().filter(|line| !line.starts_with('#')).collect();
                self.stanzas.push(lines.join("\n").trim().to_owned());
                let exact = field("suites").split_whitespace().any(|of| of == suite);
                self.offer_mirror(field("uris").split_whitespace().next().unwrap_or_default(), exact);
            }
        }
    }

    fn offer_mirror(&mut self, uri: &str, exact: bool) {
        // `mirror+file:` and the like are apt's alone.
        if exact && self.mirror.is_none() && (uri.starts_with("http://") || uri.starts_with("https://")) {
            self.mirror = Some(uri.to_owned());
        }
    }
}

/// Writes the sources, and copies settings, keys and certificates.
fn install_configuration(sources: &Sources, root: &Path) -> Result<(), SupplyError> {
    let write = |path: &str, text: String| {
        let path = root.join(path);
        std::fs::write(&path, text).map_err(SupplyError::file("write", path))
    };
    if !sources.lines.is_empty() || !sources.stanzas.is_empty() {
        write("etc/apt/sources.list", sources.lines.join("\n") + "\n")?;
    }
    if !sources.stanzas.is_empty() {
        write(
            "etc/apt/sources.list.d/machine.sources",
            sources.stanzas.join("\n\n") + "\n",
        )?;
    }
    // Of the settings only those for fetching: others name programs that the new root does not have.
    copy(Path::new("/etc/apt/apt.conf"), root, |text| {
        text.contains("Acquire")
    })?;
    for (folder, wanted) in [
        ("/etc/apt/apt.conf.d", "Acquire"),
        ("/etc/apt/trusted.gpg.d", ""),
        ("/etc/apt/keyrings", ""),
        ("/usr/local/share/ca-certificates", ""),
    ] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            copy(&entry.path(), root, |text| text.contains(wanted))?;
        }
    }
    Ok(())
}

fn copy(file: &Path, root: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), SupplyError> {
    if !file.is_file() {
        return Ok(());
    }
    let content = std::fs::read(file).map_err(SupplyError::file("read", file))?;
    if !wanted(&String::from_utf8_lossy(&content)) {
        return Ok(());
    }
    let target = root.join(file.strip_prefix("/").unwrap_or(file));
    make_parent(&target)?;
    std::fs::write(&target, content).map_err(SupplyError::file("write", target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_of_the_release_are_taken() {
        let mut sources = Sources::default();
        sources.read_lines(
            "# deb http://a/ bookworm main\ndeb [signed-by=/k arch=amd64] http://m/debian bookworm main\n\
             deb http://m/debian bookworm-updates main contrib\ndeb https://v/apt vendor-bookworm main\n\
             deb https://docker/linux bookworm stable\ndeb-src http://m/debian bookworm main\n",
            "bookworm",
        );
        assert_eq!(sources.lines.len(), 2);
        assert_eq!(sources.mirror.as_deref(), Some("http://m/debian"));

        let mut sources = Sources::default();
        sources.read_stanzas(
            "Types: deb\n# remark\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\n\
             Types: deb\nURIs: https://n/x\nSuites: nodistro\nComponents: main\n\n\
             Types: deb\nEnabled: no\nURIs: http://o\nSuites: bookworm\nComponents: main\n",
            "bookworm",
        );
        let stanza = "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main";
        let expected = Sources {
            mirror: Some("http://m/debian".into()),
            lines: vec![],
            stanzas: vec![stanza.into()],
        };
        assert_eq!(sources, expected);
    }

    #[test]
    fn another_release_gives_nothing() {
        let mut sources = Sources::default();
        sources.read_lines("deb http://archive/ubuntu jammy main\n", "bookworm");
        assert_eq!(sources, Sources::default());
    }
}
