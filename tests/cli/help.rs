//! Help and version: what they say, and how soon.

use std::time::{Duration, Instant};

use super::{Place, stderr, stdout};

/// The verbs that the top-level help lists, so that a new one is covered without a change here.
fn verbs(place: &Place) -> Vec<String> {
    let help = stdout(&place.run(&["--help"]));
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

#[test]
fn help_of_every_verb() {
    let place = Place::new();
    insta::assert_snapshot!("help", stdout(&place.run(&["--help"])));
    let verbs = verbs(&place);
    assert!(verbs.len() >= 7, "{verbs:?}");
    for verb in verbs {
        let output = place.run(&[&verb, "--help"]);
        assert!(output.status.success(), "{verb}");
        insta::assert_snapshot!(format!("help-{verb}"), stdout(&output));
    }
}

#[test]
fn without_arguments_help_and_a_usage_code() {
    let output = Place::new().run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage: vadev"), "{}", stderr(&output));
}

#[test]
fn the_version_is_cargos() {
    let output = Place::new().run(&["--version"]);
    assert_eq!(
        stdout(&output),
        concat!("vadev ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

/// No runtime, no thread, no file: the best of many runs, so that a busy machine does not fail it.
#[test]
fn version_and_completions_answer_at_once() {
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 10 });
    let place = Place::new();
    for arguments in [&["--version"][..], &["completions", "bash"]] {
        let once = || {
            let begun = Instant::now();
            assert!(place.run(arguments).status.success());
            begun.elapsed()
        };
        let best = (0..50).map(|_| once()).min().unwrap();
        assert!(best <= bound, "{arguments:?} took {best:?}");
    }
}
