//! Development secrets: made once at random, kept where only their owner reads them, never printed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use crate::agent::base64;
use crate::catalog::service::SecretSource;
use crate::profile::Stack;
use crate::render::ObjectId;

/// Component → key → value.
pub type Secrets = IndexMap<String, IndexMap<String, String>>;

const NAME: &str = "secrets.json";

/// The values of every secret key of the stack. What the cluster has is kept, because its databases were made with it;
/// then what the folder has, so that a second `up` changes nothing; what is missing is made and written before it is used.
pub fn ensure(folder: &Path, stack: &Stack, live: &Secrets) -> io::Result<Secrets> {
    let mut known = load(folder)?;
    let before = known.clone();
    for (component, values) in live {
        known.entry(component.clone()).or_default().extend(values.clone());
    }
    for system in &stack.infrastructure {
        let entry = &system.infrastructure;
        fill(&mut known, stack, &entry.name, &entry.secrets)?;
    }
    for sized in &stack.services {
        fill(&mut known, stack, &sized.service.name, &sized.service.secrets)?;
    }
    if known != before {
        store(folder, &known)?;
    }
    let wanted = |name: &str| {
        stack
            .infrastructure
            .iter()
            .any(|system| system.infrastructure.name == name)
            || stack.services.iter().any(|sized| sized.service.name == name)
    };
    known.retain(|name, _| wanted(name));
    Ok(known)
}

/// Keeps another value of one key in the folder, or none any more.
pub fn keep(folder: &Path, component: &str, key: &str, value: Option<&str>) -> io::Result<()> {
    let mut known = load(folder)?;
    let values = known.entry(component.to_owned()).or_default();
    match value {
        Some(value) => {
            values.insert(key.to_owned(), value.to_owned());
        }
        None => {
            values.shift_remove(key);
        }
    }
    store(folder, &known)
}

/// The values that the cluster holds, from its Secrets `<component>-secret`.
pub fn live(objects: &BTreeMap<ObjectId, Value>) -> Secrets {
    let secrets = objects.iter().filter(|(id, _)| id.kind == "Secret");
    let component = |id: &ObjectId| id.name.strip_suffix("-secret").map(str::to_owned);
    let text =
        |value: &Value| base64::decode(value.as_str()?).and_then(|bytes| String::from_utf8(bytes).ok());
    let values = |secret: &Value| -> IndexMap<String, String> {
        let data = secret["data"].as_object().into_iter().flatten();
        data.filter_map(|(key, value)| Some((key.clone(), text(value)?)))
            .collect()
    };
    secrets
        .filter_map(|(id, secret)| Some((component(id)?, values(secret))))
        .collect()
}

/// A key that comes from another component takes the value that component has: its first key of the same name, or its
/// first key at all. It may be named by an alias.
fn fill(
    known: &mut Secrets,
    stack: &Stack,
    component: &str,
    keys: &IndexMap<String, SecretSource>,
) -> io::Result<()> {
    for (key, source) in keys {
        let value = match &source.from {
            Some(from) => {
                let theirs = known.get(stack.system_name(from));
                theirs
                    .and_then(|keys| keys.get(key).or_else(|| keys.values().next()))
                    .cloned()
            }
            None => known.get(component).and_then(|keys| keys.get(key)).cloned(),
        };
        let value = match (value, &source.from) {
            (Some(value), _) => value,
            (None, None) => random()?,
            // The system it belongs to is not in this stack: nobody would accept a value.
            (None, Some(_)) => continue,
        };
        known
            .entry(component.to_owned())
            .or_default()
            .insert(key.clone(), value);
    }
    Ok(())
}

/// 64 hex digits from the kernel: 256 bits, safe in URLs, shells and YAML, and as Base64 still the 32 bytes and more that
/// Nacos wants of its token key.
pub fn random() -> io::Result<String> {
    use std::fmt::Write;
    let mut bytes = [0u8; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// What the folder has.
pub fn load(folder: &Path) -> io::Result<Secrets> {
    match fs::read(folder.join(NAME)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Secrets::new()),
        Err(error) => Err(error),
    }
}

fn store(folder: &Path, secrets: &Secrets) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!("{NAME}.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(secrets)?)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Selection, Sources, load_all, resolve};

    #[test]
    fn a_value_is_made_once_and_shared_with_who_names_its_system() {
        let loaded = load_all(&Sources::default(), "test").expect("what is built in");
        let stack = resolve(
            &loaded.catalog,
            &loaded.profiles["dev"],
            &loaded.workspace,
            &Selection::default(),
            None,
        )
        .expect("resolves");
        let folder = tempfile::tempdir().expect("folder");
        let known = ensure(folder.path(), &stack, &Secrets::new()).expect("made");
        assert_eq!(
            ensure(folder.path(), &stack, &Secrets::new()).expect("read"),
            known
        );
        let first = &known["postgres"]["password"];
        assert_eq!(known["identity-service"]["POSTGRES_PASSWORD"], *first);
        assert_eq!(first.len(), 64);
        assert_eq!(
            known["voice-engine"]["MINIO_SECRET_KEY"], known["minio-standalone"]["password"],
            "by an alias"
        );
        let of_analytics = known.get("analytics-service");
        assert!(
            of_analytics.is_none_or(|keys| !keys.contains_key("CLICKHOUSE_PASSWORD")),
            "clickhouse is not in the stack"
        );
    }

    #[test]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        store(folder.path(), &Secrets::new()).expect("store");
        let mode = fs::metadata(folder.path().join(NAME))
            .expect("file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(load(folder.path()).expect("load").is_empty());
    }
}
