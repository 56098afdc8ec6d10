//! Services of temporary folders, for the tests of this room.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::decide::Recipe;
use super::origin::Origin;
use super::rules::Rules;
use super::service::Service;
use super::source::{Source, Wanted, look};
use crate::profile::workspace::SyncRule;

/// What decides about a service with these rules and this Dockerfile.
pub fn recipe(folder: &Path, sync: &[(&str, &str)], dockerfile: &str) -> Recipe {
    let rule = |(from, to): &(&str, &str)| SyncRule {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        ignore: vec!["*.md".to_owned()],
    };
    let rules: Vec<SyncRule> = sync.iter().map(rule).collect();
    let rules = Rules::new("tried", &rules, &look(folder)).unwrap();
    Recipe::new(rules, false, "Dockerfile").with_dockerfile(dockerfile, None, &BTreeMap::new())
}

/// A service whose source goes to `/app`.
pub fn origin(folder: &Path, dockerfile: &str) -> Origin {
    let service = Service::tried(folder, recipe(folder, &[(".", "/app")], dockerfile));
    let source = Source::open(folder, "Dockerfile", Wanted::default()).unwrap();
    Origin::new(service, Arc::new(Mutex::new(source)), String::new(), folder)
}
