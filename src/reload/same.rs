//! What was touched and is the same: events were lost, or a file was saved as it was. The image that runs has it already.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::image::{Context, Listing};

/// Whether what is remembered of the image that runs is all that can be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Settled {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// An image is on its way, or has failed: some pods may run another one.
    Moving,
    /// Since then. A file that was touched before may have got into the image as it was for a moment.
    Since(Instant),
}

impl Settled {
    /// Whether a change that began at `begun` is to be compared with the image at all.
    pub fn before(self, begun: Instant) -> bool {
        matches!(self, Self::Since(since) if since < begun)
    }
}

/// Those of `paths` that are as in `listing`. What can't be read now is not. Blocks while files are read.
pub fn same(context: &Context, listing: &Listing, paths: BTreeSet<String>) -> BTreeSet<String> {
    let same = |path: &String| context.is_as(listing, path).unwrap_or(false);
    paths.into_iter().filter(same).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_only_touched_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["Dockerfile", "requirements.txt", "go.mod", "gone"] {
            std::fs::write(file(name), "1").unwrap();
        }
        let context = Context::open(folder.path(), None).unwrap();
        let listing = context.listing().unwrap();
        std::fs::write(file("requirements.txt"), "1").unwrap();
        std::fs::write(file("go.mod"), "2").unwrap();
        std::fs::remove_file(file("gone")).unwrap();
        let paths = ["Dockerfile", "requirements.txt", "go.mod", "gone", "never"].map(str::to_owned);
        let same: Vec<String> = same(&context, &listing, paths.into()).into_iter().collect();
        assert_eq!(same, ["Dockerfile", "never", "requirements.txt"]);
    }

    #[test]
    fn what_came_before_the_image_was_there_is_looked_at() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert!(!Settled::Unknown.before(now) && !Settled::Moving.before(now));
        assert!(Settled::Since(now).before(later) && !Settled::Since(later).before(now));
    }
}
