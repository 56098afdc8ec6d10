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
    completed_in(&Place::new(), words)
}

fn completed_in(place: &Place, words: &[&str]) -> Vec<String> {
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
    assert_eq!(completed(&["profile", "diff", "min"]), ["minimal"]);
    assert_eq!(completed(&["supply", "build", "istio-pi"]), ["istio-pilot"]);
}

#[test]
fn keys_questions_contexts_and_the_workspaces_own_services_are_completed() {
    assert_eq!(completed(&["query", "lat"]), ["latency"]);
    assert_eq!(completed(&["describe", "istio-"]), ["istio-ingressgateway"]);
    assert_eq!(completed(&["logs", "metrics-"]), ["metrics-server"]);
    assert_eq!(
        completed(&["config", "get", "agent-engine", "MAX"]),
        ["MAX_STEPS"]
    );
    assert_eq!(
        completed(&["secret", "set", "agent-engine", "REDIS"]),
        ["REDIS_PASSWORD"]
    );
    let place = Place::with(
        "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\nextraServiceFiles: [checkout.yaml]\n",
    );
    let service = "apiVersion: vadev.dev/v1\nkind: Service\nname: checkout\nconfig:\n  CURRENCY: EUR\n";
    std::fs::write(place.path().join("checkout.yaml"), service).unwrap();
    std::fs::create_dir(place.path().join(".kube")).unwrap();
    let kubeconfig = "apiVersion: v1\nkind: Config\ncontexts: [{name: prod-eu}, {name: staging}]\n";
    std::fs::write(place.path().join(".kube/config"), kubeconfig).unwrap();
    assert_eq!(completed_in(&place, &["restart", "check"]), ["checkout"]);
    assert_eq!(
        completed_in(&place, &["config", "get", "checkout", "C"]),
        ["CURRENCY"]
    );
    assert_eq!(completed_in(&place, &["--context", "prod"]), ["prod-eu"]);
}
