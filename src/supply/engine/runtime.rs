//! The OCI runtime wrapper. Where the host's own bounding set lacks a capability (many virtual machines and nested
//! containers), runc refuses every privileged container, and kind's nodes are privileged. Registered as Docker's runtime,
//! this takes the missing capabilities out of the request and then becomes runc. It only ever asks for less.
//!
//! It runs several times for each container, so `main` calls [`requested`] before anything else is set up.

use super::capabilities::BoundingSet;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The file name under which a copy of vadev acts as the wrapper.
pub const FILE_NAME: &str = "vadev-oci-runtime";

/// The hidden verb that does the same.
pub const VERB: &str = "oci-runtime";

/// The runtime's arguments, if this process was started as the wrapper: through its file name, or by the hidden verb.
/// `argv` is the whole command line, the program first.
pub fn requested(argv: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut argv = argv.into_iter();
    let program = PathBuf::from(argv.next()?);
    if program.file_name() == Some(OsStr::new(FILE_NAME)) {
        return Some(argv.collect());
    }
    (argv.next()? == VERB).then(|| argv.collect())
}

/// Edits the request that `args` names and becomes runc. Comes back only if that failed; the message is already on stderr,
/// where containerd picks it up, and the number is the exit code.
pub fn run(args: Vec<OsString>) -> u8 {
    let message = match restrict_request(&args) {
        Ok(()) => become_runc(args),
        Err(message) => message,
    };
    // Failing to tell containerd why is no reason for another failure.
    let _ = writeln!(std::io::stderr(), "vadev {VERB}: {message}");
    1
}

#[cfg(unix)]
fn become_runc(args: Vec<OsString>) -> String {
    use std::os::unix::process::CommandExt as _;
    format!(
        "cannot run runc: {}",
        std::process::Command::new("runc").args(args).exec()
    )
}

#[cfg(not(unix))]
fn become_runc(_: Vec<OsString>) -> String {
    "the runtime wrapper works on Linux only".to_owned()
}

/// The file within a request that lists capabilities, and the JSON pointer to them.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    file: PathBuf,
    pointer: &'static str,
}

fn restrict_request(args: &[OsString]) -> Result<(), String> {
    let Some(request) = request(args) else {
        return Ok(());
    };
    let status =
        std::fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    let set = BoundingSet::parse(&status).ok_or("/proc/self/status has no CapBnd")?;
    restrict_file(&request, set).map_err(|e| format!("{}: {e}", request.file.display()))
}

fn restrict_file(request: &Request, set: BoundingSet) -> std::io::Result<()> {
    let text = std::fs::read(&request.file)?;
    let mut spec: Value = serde_json::from_slice(&text)?;
    if spec
        .pointer_mut(request.pointer)
        .is_some_and(|capabilities| set.restrict(capabilities))
    {
        // In place, so that owner and mode stay: containerd waits for this process, nobody reads beside it.
        std::fs::write(&request.file, serde_json::to_vec(&spec)?)?;
    }
    Ok(())
}

/// runc's global flags that take a value, without their dashes.
const GLOBAL_WITH_VALUE: [&str; 5] = ["log", "log-format", "root", "criu", "rootless"];

/// What a runc command line asks for: `create` and `run` start from a bundle, `exec` from a process file. Other commands
/// carry no capabilities.
fn request(args: &[OsString]) -> Option<Request> {
    let mut rest = args.iter().map(|arg| arg.to_string_lossy());
    let command = loop {
        let arg = rest.next()?;
        let Some(flag) = arg.strip_prefix('-') else {
            break arg;
        };
        if GLOBAL_WITH_VALUE.contains(&flag.trim_start_matches('-')) {
            rest.next()?;
        }
    };
    let rest: Vec<_> = rest.collect();
    match command.as_ref() {
        "create" | "run" | "restore" => {
            let bundle = value(&rest, ["bundle", "b"]).unwrap_or(".");
            Some(Request {
                file: Path::new(bundle).join("config.json"),
                pointer: "/process/capabilities",
            })
        }
        "exec" => value(&rest, ["process", "p"]).map(|file| Request {
            file: PathBuf::from(file),
            pointer: "/capabilities",
        }),
        _ => None,
    }
}

/// The value of a flag, written `--name value` or `--name=value`, under any of its names.
fn value<'a>(args: &'a [impl AsRef<str>], names: [&str; 2]) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(at, arg)| {
        let flag = arg.as_ref().strip_prefix('-')?.trim_start_matches('-');
        match flag.split_once('=') {
            Some((name, value)) => names.contains(&name).then_some(value),
            None if names.contains(&flag) => args.get(at + 1).map(AsRef::as_ref),
            None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn is_the_wrapper_by_name_or_by_verb() {
        assert_eq!(
            requested(words("/data/bin/vadev-oci-runtime --root /r state x")),
            Some(words("--root /r state x"))
        );
        assert_eq!(
            requested(words("vadev oci-runtime delete x")),
            Some(words("delete x"))
        );
        assert_eq!(requested(words("vadev up oci-runtime")), None);
        assert_eq!(requested(words("vadev")), None);
        assert_eq!(requested([]), None);
    }

    #[test]
    fn finds_the_file_of_each_command() {
        let bundle = |path: &str| Request {
            file: path.into(),
            pointer: "/process/capabilities",
        };
        let create = "--root /run/create --log /x/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/p id";
        assert_eq!(request(&words(create)), Some(bundle("/b/config.json")));
        assert_eq!(request(&words("create -b=/b id")), Some(bundle("/b/config.json")));
        assert_eq!(request(&words("run id")), Some(bundle("./config.json")));
        let exec = Some(Request {
            file: "/tmp/p".into(),
            pointer: "/capabilities",
        });
        assert_eq!(
            request(&words("--log=/l exec --process /tmp/p --console-socket /s id")),
            exec
        );
        assert_eq!(request(&words("exec -p /tmp/p id")), exec);
    }

    #[test]
    fn leaves_other_commands_alone() {
        for line in [
            "--root /run/create state id",
            "kill id 9",
            "--version",
            "exec id ls",
            "--log",
        ] {
            assert_eq!(request(&words(line)), None, "{line}");
        }
    }

    #[test]
    fn rewrites_only_what_has_to_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let all = BoundingSet::parse("CapBnd:\t000001ffffffffff").unwrap();
        let fewer = BoundingSet::parse("CapBnd:\t000001fffeffffff").unwrap();
        let text = r#"{ "process": { "capabilities": { "bounding": ["CAP_SYS_RESOURCE", "CAP_KILL"] } }, "x": -9223372036854775808 }"#;
        std::fs::write(&file, text).unwrap();
        let request = Request {
            file,
            pointer: "/process/capabilities",
        };
        restrict_file(&request, all).unwrap();
        assert_eq!(
            std::fs::read_to_string(&request.file).unwrap(),
            text,
            "byte for byte"
        );
        restrict_file(&request, fewer).unwrap();
        let spec: Value = serde_json::from_slice(&std::fs::read(&request.file).unwrap()).unwrap();
        assert_eq!(
            spec["process"]["capabilities"]["bounding"],
            serde_json::json!(["CAP_KILL"])
        );
        assert_eq!(spec["x"], serde_json::json!(i64::MIN));
    }
}
