//! The user's kubeconfig: vadev's context is put beside the others, and the current one is left alone.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::error::ClusterError;
use super::state::write_atomically;
use crate::catalog::problem::nearest;
use crate::k8s::Target;
use crate::supply::doctor::lock_is_stale;

/// The three lists of a kubeconfig.
const LISTS: [&str; 3] = ["clusters", "users", "contexts"];

/// The file that kubectl would write to: the first of `$KUBECONFIG` that exists, else its last, else `~/.kube/config`.
pub fn user_kubeconfig(variable: Option<&OsStr>, home: &Path) -> PathBuf {
    let paths: Vec<PathBuf> = variable
        .map(std::env::split_paths)
        .into_iter()
        .flatten()
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    let existing = paths.iter().find(|path| path.is_file());
    existing
        .or(paths.last())
        .cloned()
        .unwrap_or_else(|| home.join(".kube/config"))
}

/// All files that kubectl reads contexts from, in its order.
pub fn user_kubeconfigs(variable: Option<&OsStr>, home: &Path) -> Vec<PathBuf> {
    let named = variable.map(std::env::split_paths).into_iter().flatten();
    let named: Vec<PathBuf> = named.filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() {
        vec![home.join(".kube/config")]
    } else {
        named
    }
}

/// The first of the files that has the context.
///
/// # Errors
/// Where none has it: names the most similar one and all there are.
pub fn find_context(files: &[PathBuf], context: &str) -> Result<Target, ClusterError> {
    let mut known: Vec<String> = Vec::new();
    for file in files {
        known.extend(contexts_in(file)?);
        if known.iter().any(|name| name == context) {
            return Ok(Target::new(file, context));
        }
    }
    Err(ClusterError::NoContext {
        nearest: nearest(context, known.iter().map(String::as_str)).map(str::to_owned),
        name: context.to_owned(),
        known,
    })
}

/// The contexts of the files that can be read.
pub fn contexts(files: &[PathBuf]) -> Vec<String> {
    files
        .iter()
        .filter_map(|file| contexts_in(file).ok())
        .flatten()
        .collect()
}

fn contexts_in(file: &Path) -> Result<Vec<String>, ClusterError> {
    let config = read(file)?.unwrap_or_default();
    let entries = config["contexts"].as_array().into_iter().flatten();
    Ok(entries
        .filter_map(|entry| Some(entry["name"].as_str()?.to_owned()))
        .collect())
}

/// Puts the cluster, user and context of `own` into the user's file, in place of entries of the same names. The
/// current context stays as it is, unless `make_current`. Fields that vadev does not know are kept.
pub async fn merge_into_user_file(own: &Path, user: &Path, make_current: bool) -> Result<(), ClusterError> {
    let addition = read(own)?.unwrap_or_else(|| json!({}));
    edit(user, |config| merged(config, &addition, make_current)).await
}

/// Whether the user's file has entries of the name.
pub fn in_user_file(user: &Path, name: &str) -> Result<bool, ClusterError> {
    Ok(read(user)?.is_some_and(|config| holds(&config, name)))
}

/// Takes the context `name` with its cluster and user out of the user's file. A file without it is left untouched.
pub async fn remove_from_user_file(user: &Path, name: &str) -> Result<(), ClusterError> {
    if !in_user_file(user, name)? {
        return Ok(());
    }
    edit(user, |config| without(config, name)).await
}

async fn edit(user: &Path, change: impl FnOnce(Value) -> Value) -> Result<(), ClusterError> {
    // A link is followed, or renaming would replace it by a file.
    let path = std::fs::canonicalize(user).unwrap_or_else(|_| user.to_owned());
    let _lock = Lock::take(&path).await?;
    let before = read(&path)?.unwrap_or_else(|| json!({"apiVersion": "v1", "kind": "Config"}));
    let after = change(before.clone());
    if after == before {
        return Ok(());
    }
    let text = serde_saphyr::to_string(&after).map_err(|error| ClusterError::Content {
        path: path.clone(),
        problem: error.to_string(),
    })?;
    write_atomically(&path, text.as_bytes())
}

fn read(path: &Path) -> Result<Option<Value>, ClusterError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ClusterError::File {
                action: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    let config = serde_saphyr::from_str(&text);
    config.map(Some).map_err(|error| ClusterError::Content {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

fn holds(config: &Value, name: &str) -> bool {
    LISTS.iter().any(|list| {
        config[*list]
            .as_array()
            .is_some_and(|entries| entries.iter().any(|e| e["name"] == name))
    })
}

fn merged(mut config: Value, addition: &Value, make_current: bool) -> Value {
    for list in LISTS {
        let Some(new) = addition[list].as_array() else {
            continue;
        };
        let mut entries = config[list].as_array().cloned().unwrap_or_default();
        for entry in new {
            match entries.iter_mut().find(|e| e["name"] == entry["name"]) {
                Some(same) => *same = entry.clone(),
                None => entries.push(entry.clone()),
            }
        }
        config[list] = Value::Array(entries);
    }
    if make_current {
        config["current-context"] = addition["current-context"].clone();
    }
    config
}

fn without(mut config: Value, name: &str) -> Value {
    for list in LISTS {
        if let Some(entries) = config[list].as_array_mut() {
            entries.retain(|entry| entry["name"] != name);
        }
    }
    if config["current-context"] == name {
        config["current-context"] = json!("");
    }
    config
}

/// The lock file that kubectl and kind respect as well.
struct Lock(PathBuf);

impl Lock {
    async fn take(path: &Path) -> Result<Self, ClusterError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        if let Some(folder) = lock.parent() {
            std::fs::create_dir_all(folder).map_err(|source| ClusterError::File {
                action: "create",
                path: folder.to_owned(),
                source,
            })?;
        }
        let within = Duration::from_secs(10);
        let end = Instant::now() + within;
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(ClusterError::File {
                        action: "create",
                        path: lock,
                        source: error,
                    });
                }
                // kubectl and kind hold it for milliseconds. One that vanishes meanwhile is as good.
                Err(_) if lock_is_stale(&lock) => {
                    if let Err(source) = std::fs::remove_file(&lock)
                        && source.kind() != std::io::ErrorKind::NotFound
                    {
                        return Err(ClusterError::File {
                            action: "remove the stale lock",
                            path: lock,
                            source,
                        });
                    }
                }
                Err(_) if Instant::now() > end => {
                    return Err(ClusterError::Locked {
                        path: lock,
                        seconds: within.as_secs(),
                    });
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nothing can be done about a lock that is gone already.
        let _removed = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Value {
        json!({
            "clusters": [{"name": "kind-v", "cluster": {"server": "https://new"}}],
            "users": [{"name": "kind-v", "user": {}}],
            "contexts": [{"name": "kind-v", "context": {"cluster": "kind-v", "user": "kind-v"}}],
            "current-context": "kind-v",
        })
    }

    #[test]
    fn the_current_context_is_left_alone() {
        let user =
            json!({"current-context": "work", "x": 1, "clusters": [{"name": "work"}, {"name": "kind-v"}]});
        let after = merged(user, &own(), false);
        assert_eq!(after["current-context"], "work");
        assert_eq!(after["x"], 1);
        assert_eq!(after["clusters"][1]["cluster"]["server"], "https://new");
        assert_eq!(after["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(merged(after, &own(), true)["current-context"], "kind-v");
    }

    #[tokio::test]
    async fn what_was_merged_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, user) = (folder.path().join("own"), folder.path().join("sub/config"));
        std::fs::write(&mine, own().to_string()).unwrap();
        merge_into_user_file(&mine, &user, false).await.unwrap();
        let merged: Value = serde_saphyr::from_str(&std::fs::read_to_string(&user).unwrap()).unwrap();
        assert_eq!(merged["contexts"][0]["context"]["user"], "kind-v");
        assert!(merged.get("current-context").is_none());
        remove_from_user_file(&user, "kind-v").await.unwrap();
        let left: Value = serde_saphyr::from_str(&std::fs::read_to_string(&user).unwrap()).unwrap();
        assert_eq!(left["contexts"], json!([]));
        assert!(!folder.path().join("sub/config.lock").exists());
    }

    #[tokio::test]
    async fn a_lock_that_a_killed_program_left_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, user) = (folder.path().join("own"), folder.path().join("config"));
        std::fs::write(&mine, own().to_string()).unwrap();
        let lock = std::fs::File::create(folder.path().join("config.lock")).unwrap();
        lock.set_modified(std::time::SystemTime::now() - Duration::from_mins(2))
            .unwrap();
        merge_into_user_file(&mine, &user, false).await.unwrap();
        assert!(user.is_file() && !folder.path().join("config.lock").exists());
    }

    #[test]
    fn a_context_is_found_in_whichever_file_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("absent"), folder.path().join("config"));
        std::fs::write(&second, own().to_string()).unwrap();
        let files = [first, second.clone()];
        assert_eq!(
            find_context(&files, "kind-v").unwrap(),
            Target::new(second, "kind-v")
        );
        let error = find_context(&files, "kind-w").unwrap_err().to_string();
        assert!(error.contains("kind-w"), "{error}");
    }

    #[test]
    fn kubeconfig_names_the_file_as_kubectl_does() {
        let home = Path::new("home");
        assert_eq!(user_kubeconfig(None, home), home.join(".kube/config"));
        assert_eq!(user_kubeconfig(Some(OsStr::new("a:b")), home), PathBuf::from("b"));
    }
}
