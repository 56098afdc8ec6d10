//! The sample workspace: two real services, copied so that tests may edit them.

use std::fs;
use std::path::{Path, PathBuf};

/// The original.
fn original() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workspace")
}

/// Lays the sample's files into a folder as they are in the repository: what a test has changed is undone, what it has added
/// goes. vadev's own state stays. A file that is as it should be is not written, so that nothing looks changed.
pub fn lay_out(folder: &Path, name: &str) {
    fs::create_dir_all(folder).expect("workspace folder");
    mirror(&original().join("services"), &folder.join("services"));
    let text = fs::read_to_string(original().join("vadev.yaml")).expect("the sample's vadev.yaml");
    let text = text.replace("name: sample\n", &format!("name: {name}\n"));
    // A stand-in that can be told to fail, which is how retries, timeouts and circuits are seen.
    let faulty = "  identity-service:\n    config: { VADEV_FAULTS: \"1\" }\n";
    put(&folder.join("vadev.yaml"), (text + faulty).as_bytes());
}

fn mirror(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(to).expect("folder").flatten() {
        if !from.join(entry.file_name()).exists() {
            let path = entry.path();
            let gone = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            gone.expect("an added file is removed");
        }
    }
    for entry in fs::read_dir(from).expect("the sample").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            mirror(&entry.path(), &target);
        } else {
            put(&target, &fs::read(entry.path()).expect("the sample's file"));
        }
    }
}

fn put(path: &Path, content: &[u8]) {
    if fs::read(path).ok().as_deref() != Some(content) {
        fs::write(path, content).expect("a file of the sample");
    }
}

/// Replaces a text that must be there in a file of a workspace.
pub fn edit(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).expect("a file of the sample");
    assert!(text.contains(old), "{} has no {old:?}", file.display());
    fs::write(file, text.replace(old, new)).expect("a file of the sample");
}
