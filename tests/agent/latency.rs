//! Not a test of time: prints how long a save takes inside the container, from frame to answer of the new process.

use std::time::{Duration, Instant};

use vadev::agent::protocol::Then;

use crate::harness::{Pod, bytes, change, restart};

/// A web server that needs nothing but Python: the system's own, wrappers of version managers are slow, and so is
/// `HTTPServer`, which looks its own name up.
const SERVER: &str = "cd $APP && PATH=/usr/bin:$PATH exec python3 -S -c '
import http.server, socketserver
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer((\"127.0.0.1\", 18377), http.server.SimpleHTTPRequestHandler).serve_forever()'";

#[tokio::test]
#[ignore = "a measurement, for people"]
async fn a_save_in_the_container() {
    let pod = Pod::new(SERVER);
    let mut remote = pod.connect().await;
    let url = "http://127.0.0.1:18377/version";
    remote.probe(url, Duration::from_secs(10)).await.unwrap();
    for (what, then) in [("sync", Then::Nothing), ("sync and restart", restart())] {
        let mut times = Vec::new();
        for number in 0..40 {
            let start = Instant::now();
            remote
                .apply(change(
                    [(pod.app("version"), bytes(&number.to_string()))],
                    then.clone(),
                ))
                .await
                .unwrap();
            remote.probe(url, Duration::from_secs(10)).await.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        eprintln!(
            "{what}: p50 {:?}, p95 {:?}, worst {:?}",
            times[20], times[38], times[39]
        );
    }
}
