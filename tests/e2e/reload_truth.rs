//! What is said of services is so: of replicas after a save that was undone, of images, and of what was only touched.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::harness::Platform;
use crate::reload::{PYTHON, Session};
use crate::sample::edit;

const REQUIREMENTS: &str = "services/agent-engine/requirements.txt";

#[test]
#[ignore = "needs a cluster"]
fn a_save_that_is_undone_is_undone_in_every_replica() {
    let platform = Platform::running();
    let session = Session::with_two_replicas(&platform);
    // The second save comes while the first replica restarts, at one moment of it or another.
    for number in 0..10u64 {
        let first = format!("first {number}");
        session.greet(&first);
        std::thread::sleep(Duration::from_millis(60 + 40 * number));
        session.greet(&format!("second {number}"));
        std::thread::sleep(Duration::from_millis(150));
        session.greet(&first);
        session.hears(PYTHON, &first);
        session.settles();
    }
    assert!(session.ends().success());
}

#[test]
#[ignore = "needs a cluster"]
fn an_old_image_is_not_in_step_and_a_touched_file_is() {
    let platform = Platform::running();
    let session = Session::start(&platform);
    let since = session.count();
    let text = fs::read_to_string(session.path(REQUIREMENTS)).expect("requirements.txt");
    session.write(REQUIREMENTS, &text);
    session.sees("that nothing is to be done", |session| {
        session.told(since, "explained", "the image that runs has it as it is")
    });
    session.greet("after the touch");
    session.hears(PYTHON, "after the touch");
    assert!(!session.told(since, "served", "\"way\":\"build\""));
    session.settles();
    assert!(session.ends().success());
    let file = platform.workspace.join(REQUIREMENTS);
    fs::write(&file, text.clone() + "# edited while nobody watches\n").expect("write");
    let output = platform.run(&["reload", "status", PYTHON, "-o", "json"]);
    assert_eq!(output.status.code(), Some(9));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for one in found.as_array().expect("replicas") {
        assert_eq!(
            (&one["inStep"], &one["needsBuild"]),
            (&Value::Bool(false), &Value::Bool(true))
        );
        assert!(one["paths"].to_string().contains("requirements.txt"), "{one:#}");
    }
    platform.succeed(&["reload", PYTHON, "--build"]);
    platform.succeed(&["reload", "status", PYTHON]);
}

#[test]
#[ignore = "needs a cluster"]
fn a_layer_holds_what_the_session_has_not_seen() {
    let platform = Platform::running();
    // The rule leaves out a module that the Dockerfile copies; the others go by an image.
    edit(
        &platform.workspace.join("vadev.yaml"),
        "ignore: [\"**/__pycache__\", \"templates\"] }\n    restart: process",
        "ignore: [\"**/__pycache__\", \"templates\", \"greeting.py\"] }\n    restart: container",
    );
    let session = Session::start(&platform);
    let since = session.count();
    session.greet("seen by no session");
    session.sees("that a rule ignores it", |session| {
        session.told(since, "explained", "a sync rule ignores it")
    });
    let planner = "services/agent-engine/agent_engine/planner.py";
    let text = fs::read_to_string(session.path(planner)).expect("planner.py");
    session.write(planner, &(text + "# edited\n"));
    session.sees("a swap", |session| {
        session.told(since, "served", "\"way\":\"swap\"")
    });
    session.hears(PYTHON, "seen by no session");
    assert!(session.ends().success());
    // The image that is there is of the whole source: nothing is built, and the second time nothing is done.
    let report = platform.up();
    assert!(
        !report["plan"].to_string().contains("source changed"),
        "{:#}",
        report["plan"]
    );
    let again = platform.up();
    assert_eq!(again["changed"], false, "{:#}", again["plan"]);
}
