//! The agent's program, carried inside `vadev`: images are made of it and init containers install it, so nothing has
//! to be downloaded for it. `build.rs` compiled it.

use std::sync::LazyLock;

/// A static Linux executable, without any dependency on the image that it runs in.
pub static BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vadev-agent"));

/// The version that `vadev-agent --version` prints and the tag of its image.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

static SHA256: LazyLock<String> = LazyLock::new(|| super::digest::hex(BINARY));

/// SHA-256 of [`BINARY`], lower-case hex. Two builds of one version differ in it, which is why the session between CLI
/// and agent compares digests and not versions.
pub fn sha256() -> &'static str {
    &SHA256
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_a_static_executable() {
        assert_eq!(&super::BINARY[..4], b"\x7fELF");
        // A dynamic program asks for its loader in a program header of type 3 (PT_INTERP). The loader's name alone may
        // stand in a static one too: glibc carries it for dlopen.
        let number = |at: usize, bytes: usize| {
            super::BINARY[at..at + bytes]
                .iter()
                .rev()
                .fold(0usize, |value, byte| value << 8 | usize::from(*byte))
        };
        let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        let kinds: Vec<usize> = (0..count).map(|index| number(table + index * size, 4)).collect();
        assert!(
            kinds.contains(&1),
            "the headers are read as they should be: {kinds:?}"
        );
        assert!(!kinds.contains(&3), "vadev-agent is linked dynamically");
    }

    #[test]
    fn recipe_names_this_version() {
        let recipe = include_str!("../supply/recipes/agent/recipe.yaml");
        let reference = format!("reference: vadev.local/vadev-agent:{}\n", super::VERSION);
        assert!(recipe.contains(&reference), "the recipe should say {reference}");
    }
}
