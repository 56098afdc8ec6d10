//! `vadev-agent run`'s arguments.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where sessions come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address, usually 127.0.0.1 of the pod.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What the agent was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where sessions come in.
    pub listen: Listen,
    /// Holds the session's token; read at each hello, so that it can change.
    pub token_file: PathBuf,
    /// Survives restarts of the container.
    pub state: PathBuf,
    /// Below these, and nowhere else, changes are made.
    pub roots: Vec<PathBuf>,
    /// How long the service waits for the first session.
    pub wait: Option<Duration>,
    /// Whom the service runs as where the agent is root: user and group.
    pub user: Option<(u32, u32)>,
    /// The container's original command.
    pub command: Vec<OsString>,
}

impl Options {
    /// Reads the words after `run`.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut words = words;
        let (mut listen, mut token_file, mut state, mut wait) = (None, None, None, None);
        let mut user = None;
        let mut roots = Vec::new();
        while let Some(word) = words.next() {
            let name = word.to_string_lossy().into_owned();
            if name == "--" {
                break;
            }
            let mut value = || words.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--listen" => listen = Some(parse_listen(&value()?.to_string_lossy())?),
                "--token-file" => token_file = Some(PathBuf::from(value()?)),
                "--state" => state = Some(PathBuf::from(value()?)),
                "--root" => {
                    let root = value()?.to_string_lossy().into_owned();
                    roots.push(
                        super::files::plain(&root)
                            .ok_or(format!("--root {root:?}: not an absolute, plain path"))?,
                    );
                }
                "--wait-for-session" => {
                    let text = value()?.to_string_lossy().into_owned();
                    let seconds = text
                        .parse()
                        .map_err(|e| format!("--wait-for-session {text:?}: {e}"))?;
                    wait = Some(Duration::from_secs(seconds));
                }
                "--user" => user = Some(parse_user(&value()?.to_string_lossy())?),
                _ => return Err(format!("unknown argument {name:?}")),
            }
        }
        let command: Vec<OsString> = words.collect();
        if command.is_empty() {
            return Err("no command after --".into());
        }
        if roots.is_empty() {
            return Err("--root is missing: without one nothing could be changed".into());
        }
        Ok(Self {
            listen: listen.ok_or("--listen is missing")?,
            token_file: token_file.ok_or("--token-file is missing")?,
            state: state.ok_or("--state is missing")?,
            roots,
            wait,
            user,
            command,
        })
    }
}

fn parse_user(text: &str) -> Result<(u32, u32), String> {
    let pair = text
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    pair.ok_or_else(|| format!("--user {text:?}: not UID:GID"))
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(Listen::Unix(path.into())),
        None => text
            .parse()
            .map(Listen::Tcp)
            .map_err(|e| format!("--listen {text:?}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_everything() {
        let line = "--listen 127.0.0.1:7070 --token-file /t --state /s --root /app --wait-for-session 5 --user 7:8 -- python -m x --y";
        let options = parse(line).unwrap();
        assert_eq!(options.listen, Listen::Tcp("127.0.0.1:7070".parse().unwrap()));
        assert_eq!(options.command, ["python", "-m", "x", "--y"]);
        assert_eq!(
            (options.wait, options.user),
            (Some(Duration::from_secs(5)), Some((7, 8)))
        );
    }

    #[test]
    fn names_what_is_wrong() {
        for (line, word) in [
            ("--listen x -- c", "--listen"),
            ("--root ../x -- c", "--root"),
            ("--root /x --state", "--state needs"),
            ("--rot /x", "--rot"),
            ("--user me", "--user"),
            ("--root /x --listen 127.0.0.1:1 --state /s -- c", "--token-file"),
            ("--root /x", "no command"),
        ] {
            assert!(parse(line).unwrap_err().contains(word), "{line}");
        }
    }
}
