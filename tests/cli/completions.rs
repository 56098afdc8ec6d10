//! Shell completion: the scripts, and the names they ask for.

use super::{Place, stderr, stdout};

#[test]
fn every_shell_gets_a_script_that_calls_vadev() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = place.run(&["completions", shell]);
        assert!(output.status.success(), "{shell}: {}", stderr(&output));
        assert!(stdout(&output).contains("vadev"), "{shell}");
        assert!(stdout(&output).contains("COMPLETE"), "{shell}");
    }
    assert_eq!(place.run(&["completions", "tcsh"]).status.code(), Some(2));
}

fn completed(words: &[&str]) -> Vec<String> {
    let place = Place::new();
    let mut arguments = vec!["--", "vadev"];
    arguments.extend(words);
    let mut command = place.vadev(&arguments);
    let command = command
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_IFS", "\n");
    stdout(&command.output().unwrap())
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn verbs_services_groups_and_profiles_are_completed() {
    assert_eq!(completed(&["compl"]), ["completions"]);
    assert_eq!(completed(&["render", "vec"]), ["vector-store-adapter"]);
    assert_eq!(completed(&["render", "--only", "messag"]), ["messaging"]);
    assert_eq!(completed(&["--profile", "min"]), ["minimal"]);
}
