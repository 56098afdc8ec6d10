//! Help and version: what they say.

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
