//! What a profile may take: the machine's size or the engine's, and never more than `--cpus` and `--memory`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::{Place, stderr, stdout};

#[test]
fn bounds_of_the_command_line_are_kept_to() {
    let place = Place::new();
    let bounded = ["up", "-p", "dev", "--cpus", "1", "--memory", "2Gi", "--dry-run"];
    let output = place.run(&bounded);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("may take 1 and 2048 MiB"), "{text}");
    assert!(!text.contains("largest profile that fits"), "{text}");

    let shown = stdout(&place.run(&["profile", "show", "dev", "--cpus", "1", "--memory", "1Gi"]));
    let available: Vec<_> = shown
        .lines()
        .filter(|line| line.starts_with("available"))
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(available, ["available", "1", "1024", "MiB"], "{shown}");
}

#[test]
fn the_nearest_profile_is_one_that_the_bounds_and_the_selection_allow() {
    let place = Place::new();
    let smaller = ["up", "-p", "prod", "--dry-run", "--cpus", "2", "--memory", "4Gi"];
    let text = stderr(&place.run(&smaller));
    assert!(
        text.contains("largest profile that fits: vadev up -p minimal"),
        "{text}"
    );
    // `minimal` would fit, and has no such service.
    let selected = [
        "up",
        "voice-engine",
        "-p",
        "prod",
        "--dry-run",
        "--cpus",
        "0.1",
        "--memory",
        "64Mi",
    ];
    let text = stderr(&place.run(&selected));
    assert!(
        text.contains("does not fit") && !text.contains("largest profile"),
        "{text}"
    );
}

/// An engine that knows its version and its size, and nothing else.
fn engine(cpus: u32, memory: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    let answer = move |stream: TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let (mut first, mut line) = (String::new(), String::new());
            if reader.read_line(&mut first)? == 0 {
                return Ok(());
            }
            while reader.read_line(&mut line)? > 2 {
                line.clear();
            }
            let body = if first.contains("/info") {
                format!(r#"{{"NCPU":{cpus},"MemTotal":{memory}}}"#)
            } else {
                r#"{"Version":"28.0.0","ApiVersion":"1.48","MinAPIVersion":"1.24"}"#.to_owned()
            };
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    host
}

#[test]
fn an_engine_elsewhere_is_sized_by_its_own_word() {
    let place = Place::new();
    let host = engine(3, 5 << 30);
    let shown = place
        .vadev(&["profile", "show", "dev"])
        .env("DOCKER_HOST", &host)
        .output()
        .unwrap();
    let text = stdout(&shown);
    let available = text.lines().find(|line| line.starts_with("available"));
    let available: Vec<_> = available.unwrap_or_default().split_whitespace().collect();
    assert_eq!(available, ["available", "3", "5120", "MiB"], "{text}");
}
