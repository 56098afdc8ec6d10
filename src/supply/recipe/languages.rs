//! Steps that call language package managers: `go`, `module_file`, `maven`, `javac`, `pip`. Each checks what it got
//! against a digest that the recipe carries: `go.sum`, the jars' lock file, the wheel's SHA-256.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::FutureExt;

use super::super::cache::{digest_file, set_executable};
use super::super::error::SupplyError;
use super::super::host::{toolchain, wheel};
use super::super::process::Command;
use super::job::{Job, Trouble, make_parent};
use super::model::{Go, Javac, Maven, ModuleFile, Pip, Toolchain};

/// `go build` for each package.
pub async fn go(job: &Job<'_>, go: &Go) -> Result<(), Trouble> {
    let out = job.context.join("out");
    for (name, package) in &go.packages {
        let mut command = go_command(job, &go.dir)?.args(["build", "-v", "-trimpath", "-mod=readonly"]);
        if !go.tags.is_empty() {
            command = command.arg("-tags").arg(&go.tags);
        }
        if !go.ldflags.is_empty() {
            command = command.arg("-ldflags").arg(&go.ldflags);
        }
        for (key, value) in &go.env {
            command = command.env(key, value);
        }
        job.run(command.arg("-o").arg(out.join(name)).arg(package))
            .await?;
    }
    Ok(())
}

/// Go itself, for an image that compiles.
pub async fn toolchain(job: &Job<'_>, step: &Toolchain) -> Result<(), Trouble> {
    let cache = &job.kit.cache;
    toolchain::fetch(cache, &job.kit.host.python()?, job.step).await?;
    let to = job.path(&step.to)?;
    make_parent(&to)?;
    let copy = Command::new("cp")
        .arg("-a")
        .arg(toolchain::folder(cache))
        .arg(&to);
    job.run(copy).await.map(drop)
}

fn go_command(job: &Job<'_>, dir: &str) -> Result<Command, Trouble> {
    let command = Command::new(job.kit.host.go()?).cwd(job.path(dir)?);
    // The toolchain is the one that was checked, and the module is the recipe's, not one around the cache.
    Ok(command
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-buildvcs=false")
        .env("GOWORK", "off")
        .env_remove("GOROOT"))
}

/// One file of a module.
pub async fn module_file(job: &Job<'_>, step: &ModuleFile) -> Result<(), Trouble> {
    let command = go_command(job, &step.dir)?.args(["mod", "download", "-json", &step.module]);
    let output = job.ask(command).await?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        Trouble(format!(
            "`go mod download` answered something else than JSON: {error}"
        ))
    })?;
    let folder = answer.get("Dir").and_then(serde_json::Value::as_str);
    let folder = folder.ok_or_else(|| Trouble(format!("module {} has no folder", step.module)))?;
    let (from, to) = (Path::new(folder).join(&step.file), job.path(&step.to)?);
    make_parent(&to)?;
    let content = std::fs::read(&from).map_err(SupplyError::file("read", &from))?;
    // Written anew: a copy would keep the read-only mode of the module cache.
    std::fs::write(&to, content).map_err(SupplyError::file("write", &to))?;
    Ok(())
}

/// Java libraries, each as the lock file says. What the lock file does not name is left out: libraries that are in the way
/// of others are kept off the class path like that.
pub async fn maven(job: &Job<'_>, maven: &Maven) -> Result<(), Trouble> {
    let to = job.path(&maven.to)?;
    let command = Command::new(job.kit.host.maven()?)
        .args(["--batch-mode", "--no-transfer-progress", "--file"])
        .arg(job.path(&maven.pom)?)
        .arg("dependency:copy-dependencies")
        .arg("-DincludeScope=runtime")
        .arg(format!("-DoutputDirectory={}", to.display()))
        .cwd(&job.context);
    job.run(command).await?;
    let lock = job.path(&maven.lock)?;
    let text = std::fs::read_to_string(&lock).map_err(SupplyError::file("read", &lock))?;
    let (checked, left_out) = job.blocking(move || check_lock(&to, &text)).await?;
    job.say(&format!("{checked} libraries have the digests of {}", maven.lock));
    if !left_out.is_empty() {
        job.say(&format!(
            "left out, for {} does not name them: {}",
            maven.lock,
            left_out.join(", ")
        ));
    }
    Ok(())
}

/// Compares a folder with lines of `sha256sum`, and removes files that these do not name. Returns how many stayed, and the
/// names of the others.
fn check_lock(folder: &Path, lock: &str) -> Result<(usize, Vec<String>), SupplyError> {
    let mut left_out = Vec::new();
    let mut expected: BTreeMap<&str, &str> = lock
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(digest, name)| (name.trim_start_matches([' ', '*']), digest))
        .collect();
    let count = expected.len();
    let wrong = |name: &str, expected: &str, found: String| SupplyError::Digest {
        subject: name.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    for file in std::fs::read_dir(folder).map_err(SupplyError::file("read", folder))? {
        let path = file.map_err(SupplyError::file("read", folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let found = digest_file(&path)?;
        match expected.remove(name.as_str()) {
            Some(digest) if digest == found => {}
            Some(digest) => return Err(wrong(&name, digest, found)),
            None => {
                std::fs::remove_file(&path).map_err(SupplyError::file("remove", &path))?;
                left_out.push(name);
            }
        }
    }
    match expected.first_key_value() {
        Some((name, digest)) => Err(wrong(name, digest, "none (it did not come)".to_owned())),
        None => Ok((count, left_out)),
    }
}

/// `javac` of a few sources.
pub async fn javac(job: &Job<'_>, javac: &Javac) -> Result<(), Trouble> {
    let libraries = job.path(&javac.classpath)?.join("*");
    // The images run Java 17, whatever newer compiler the machine has.
    let mut command = Command::new(job.kit.host.javac()?)
        .args(["--release", "17", "-cp"])
        .arg(libraries)
        .arg("-d")
        .arg(job.path(&javac.to)?)
        .cwd(&job.context);
    for source in &javac.sources {
        command = command.arg(job.path(source)?);
    }
    job.run(command).await.map(drop)
}

/// Files of a wheel.
pub async fn pip(job: &Job<'_>, pip: &Pip) -> Result<(), Trouble> {
    let (cache, python) = (&job.kit.cache, job.kit.host.python()?);
    let run = |command| job.run(command).boxed();
    let wheel = wheel::fetch(cache, &python, &pip.requirement, &pip.sha256, &job.scratch, &run).await?;
    let unpacked = job.scratch.join("wheel");
    let command = Command::new(python)
        .args(["-m", "zipfile", "-e"])
        .arg(wheel)
        .arg(&unpacked);
    job.run(command).await?;
    for (pattern, target) in &pip.extract {
        let (from, to, member) = (unpacked.clone(), job.path(target)?, pattern.clone());
        if job.blocking(move || take(&from, &member, &to)).await? == 0 {
            return Err(Trouble(format!("the wheel has no file `{pattern}`")));
        }
    }
    Ok(())
}

/// Moves the files that match `pattern` into the folder `to`, or the one file of that name to `to`.
fn take(from: &Path, pattern: &str, to: &Path) -> Result<usize, SupplyError> {
    let single = !pattern.contains(['*', '?', '[', '{']);
    let invalid = |reason: String| SupplyError::InvalidRecipe {
        name: pattern.to_owned(),
        reason,
    };
    let glob = globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| invalid(error.to_string()))?
        .compile_matcher();
    let mut taken = 0;
    for file in files_below(from)? {
        let Ok(relative) = file.strip_prefix(from) else {
            continue;
        };
        if !glob.is_match(relative) {
            continue;
        }
        let target = if single {
            to.to_owned()
        } else {
            to.join(file.file_name().unwrap_or_default())
        };
        make_parent(&target)?;
        std::fs::rename(&file, &target).map_err(SupplyError::file("write", &target))?;
        if is_program(&target)? {
            set_executable(&target)?;
        }
        taken += 1;
    }
    Ok(taken)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, SupplyError> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(SupplyError::file("read", &folder))? {
            let entry = entry.map_err(SupplyError::file("read", &folder))?;
            let kind = entry
                .file_type()
                .map_err(SupplyError::file("read", entry.path()))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Unpacking a wheel forgets the modes; programs are known by their first bytes.
fn is_program(path: &Path) -> Result<bool, SupplyError> {
    use std::io::Read;
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(SupplyError::file("read", path))?;
    file.take(4)
        .read_to_end(&mut start)
        .map_err(SupplyError::file("read", path))?;
    Ok(start == b"\x7fELF" || start.starts_with(b"#!"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::digest::hex;

    #[test]
    fn a_lock_file_notices_every_difference() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.jar"), "a").unwrap();
        let line = format!("{}  a.jar\n", hex(b"a"));
        std::fs::write(folder.path().join("in-the-way.jar"), "x").unwrap();
        assert_eq!(
            check_lock(folder.path(), &line).unwrap(),
            (1, vec!["in-the-way.jar".to_owned()])
        );
        assert!(!folder.path().join("in-the-way.jar").exists());
        let more = format!("{line}{}  b.jar\n", hex(b"b"));
        assert!(
            check_lock(folder.path(), &more)
                .unwrap_err()
                .to_string()
                .contains("did not come")
        );
        let other = line.replace(&hex(b"a"), &hex(b"b"));
        assert!(matches!(
            check_lock(folder.path(), &other),
            Err(SupplyError::Digest { .. })
        ));
    }

    #[test]
    fn members_are_taken_by_name_and_by_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("wheel");
        std::fs::create_dir_all(wheel.join("m/bin/deep")).unwrap();
        for (name, text) in [
            ("m/bin/run", "#!/bin/sh\n"),
            ("m/bin/lib.so", "x"),
            ("m/bin/deep/no", "x"),
            ("m/one", "1"),
        ] {
            std::fs::write(wheel.join(name), text).unwrap();
        }
        assert_eq!(take(&wheel, "m/bin/*", &folder.path().join("bin")).unwrap(), 2);
        assert_eq!(take(&wheel, "m/one", &folder.path().join("sub/two")).unwrap(), 1);
        assert_eq!(take(&wheel, "m/absent", &folder.path().join("x")).unwrap(), 0);
        assert_eq!(
            std::fs::read_to_string(folder.path().join("sub/two")).unwrap(),
            "1"
        );
        assert!(
            std::process::Command::new(folder.path().join("bin/run"))
                .status()
                .unwrap()
                .success()
        );
    }
}
