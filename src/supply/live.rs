//! Tests against this machine's Docker engine and package registries.

use std::sync::{Arc, Mutex};

use super::*;
use crate::report::{Event, Reporter, Sink};

#[derive(Default)]
struct Tape(Mutex<Vec<Event>>);

impl Sink for Tape {
    fn emit(&self, event: Event) {
        println!("{}", serde_json::to_string(&event).unwrap());
        self.0.lock().unwrap().push(event);
    }
}

impl Tape {
    fn built(&self) -> Vec<String> {
        let begun = |event: &Event| match event {
            Event::Started { id, .. } => id.strip_prefix("build/").map(str::to_owned),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(begun).collect()
    }
}

fn supply() -> Supply {
    Supply::open(Options {
        source: ImageSource::Packages,
        consent: Arc::new(|_| true),
        ..Options::default()
    })
    .unwrap()
}

/// `VADEV_TEST_RECIPES="redis postgres"` chooses other recipes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds images with this machine's Docker engine"]
async fn recipes_are_made_once() {
    let chosen = std::env::var("VADEV_TEST_RECIPES").unwrap_or_else(|_| "redis".to_owned());
    let names: Vec<&str> = chosen.split_whitespace().collect();
    for round in ["first", "second"] {
        let tape = Arc::new(Tape::default());
        let step = Reporter::new(tape.clone()).step(round, round, None);
        let entries = supply().build(&names, false, &step).await.unwrap();
        assert!(
            entries
                .iter()
                .all(|entry| entry.size > 0 && entry.digest.starts_with("sha256:"))
        );
        step.done("");
        if round == "second" {
            assert_eq!(
                tape.built(),
                Vec::<String>::new(),
                "what is current was made again"
            );
        }
    }
    let rows = supply().list().await.unwrap();
    for row in rows.iter().filter(|row| names.contains(&row.name.as_str())) {
        assert_eq!(row.state, State::Present, "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds images with this machine's Docker engine"]
async fn a_bundle_brings_back_what_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.tar");
    let step = Reporter::silent().step("bundle", "bundle", None);
    supply().build(&["redis"], false, &step).await.unwrap();
    supply().create_bundle(&file, &["redis"], &step).await.unwrap();

    let source = ImageSource::Bundle;
    let reading = Supply::open(Options {
        source,
        bundle: Some(file),
        ..Options::default()
    })
    .unwrap();
    let request = ImageRequest {
        component: "redis".into(),
        official: None,
        recipe: Some("redis".into()),
    };
    let reference = reading.book().recipe("redis").unwrap().reference.clone();
    recipe::images::remove(reading.docker().await.unwrap(), &reference)
        .await
        .unwrap();
    let supplied = reading.image(&request, &step).await.unwrap();
    assert_eq!((supplied.reference, supplied.source), (reference, Source::Bundle));
}
