//! Images and bundles for real, with this machine's Docker engine. What is made already is not made again, so that each costs
//! seconds after an `up`.

use std::process::Command;
use std::sync::{Arc, Mutex};

use vadev::report::{Event, Reporter, Sink};
use vadev::supply::{ImageRequest, ImageSource, Options, Source, State, Supply};

use crate::harness::{Platform, block_on, text};

#[derive(Default)]
struct Tape(Mutex<Vec<Event>>);

impl Sink for Tape {
    fn emit(&self, event: Event) {
        self.0.lock().expect("tape").push(event);
    }
}

impl Tape {
    fn built(&self) -> Vec<String> {
        let begun = |event: &Event| match event {
            Event::Started { id, .. } => id.strip_prefix("build/").map(str::to_owned),
            _ => None,
        };
        self.0.lock().expect("tape").iter().filter_map(begun).collect()
    }
}

fn supply() -> Supply {
    Supply::open(Options {
        source: ImageSource::Packages,
        consent: Arc::new(|_| true),
        ..Options::default()
    })
    .expect("supply")
}

/// `VADEV_TEST_RECIPES="redis postgres"` chooses other recipes.
#[test]
#[ignore = "needs a container engine"]
fn recipes_are_made_once() {
    // The engine is there, and nobody takes images away meanwhile.
    let _platform = Platform::running();
    let chosen = std::env::var("VADEV_TEST_RECIPES").unwrap_or_else(|_| "redis".to_owned());
    let names: Vec<&str> = chosen.split_whitespace().collect();
    block_on(async {
        for round in ["first", "second"] {
            let tape = Arc::new(Tape::default());
            let step = Reporter::new(tape.clone()).step(round, round, None);
            let entries = supply().build(&names, false, &step).await.expect("made");
            for entry in entries {
                assert!(entry.size > 0 && entry.digest.starts_with("sha256:"), "{entry:?}");
            }
            step.done("");
            if round == "second" {
                assert_eq!(
                    tape.built(),
                    Vec::<String>::new(),
                    "what is current was made again"
                );
            }
        }
        let rows = supply().list().await.expect("list");
        for row in rows.iter().filter(|row| names.contains(&row.name.as_str())) {
            assert_eq!(row.state, State::Present, "{row:?}");
        }
    });
}

#[test]
#[ignore = "needs a container engine"]
fn a_bundle_brings_back_what_was_removed() {
    let _platform = Platform::running();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("bundle.tar");
    block_on(async {
        let step = Reporter::silent().step("bundle", "bundle", None);
        supply().build(&["redis"], false, &step).await.expect("made");
        supply()
            .create_bundle(&file, &["redis"], &step)
            .await
            .expect("bundle");
        let reading = Supply::open(Options {
            source: ImageSource::Bundle,
            bundle: Some(file),
            ..Options::default()
        })
        .expect("supply");
        let request = ImageRequest {
            component: "redis".into(),
            official: None,
            recipe: Some("redis".into()),
        };
        let reference = reading.book().recipe("redis").expect("recipe").reference.clone();
        let gone = Command::new("docker")
            .args(["rmi", "-f", &reference])
            .output()
            .expect("docker");
        assert!(gone.status.success(), "{}", text(&gone.stderr));
        let supplied = reading.image(&request, &step).await.expect("brought back");
        assert_eq!((supplied.reference, supplied.source), (reference, Source::Bundle));
    });
}
