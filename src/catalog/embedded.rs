//! The catalog and profiles that are built into the binary. They are compiled in also in debug builds (feature
//! `debug-embed`), so that this room stays free of file access.

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "profiles"]
#[include = "*.yaml"]
struct Files;

/// A file's name, as problems show it, and its text.
pub type NamedText = (String, String);

fn matching(wanted: impl Fn(&str) -> bool) -> Vec<NamedText> {
    let mut files: Vec<NamedText> = Files::iter()
        .filter(|name| wanted(name))
        .filter_map(|name| {
            let text = String::from_utf8_lossy(&Files::get(&name)?.data).into_owned();
            Some((format!("profiles/{name}"), text))
        })
        .collect();
    files.sort();
    files
}

/// Services, infrastructure and mesh of the built-in catalog, sorted by file name.
pub fn embedded_files() -> Vec<NamedText> {
    matching(|name| name.starts_with("catalog/"))
}

/// The built-in profiles, sorted by file name.
pub fn embedded_profiles() -> Vec<NamedText> {
    matching(|name| !name.contains('/'))
}
