//! Counters in Prometheus' text format, written by hand: two families need no library.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::board::State;
use super::config::Config;

/// Upper bounds in seconds, as Prometheus' clients have them by default.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Route, method, status.
type Labels = (String, &'static str, u16);

#[derive(Default, Clone)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What was served.
#[derive(Default)]
pub struct Metrics {
    families: Mutex<(BTreeMap<Labels, u64>, BTreeMap<String, Histogram>)>,
}

impl Metrics {
    /// Counts one answered request. `route` must come from a bounded set, not from the request's path.
    pub fn count(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        *families.0.entry((route.to_owned(), method, status)).or_default() += 1;
        let histogram = families.1.entry(route.to_owned()).or_default();
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            histogram.counts[bucket] += 1;
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// Everything as text.
    pub fn render(&self, config: &Config, states: &[State], started: f64) -> String {
        let (requests, durations) = self
            .families
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let service = escaped(&config.service);
        let mut text = String::with_capacity(4096);
        // Writing to a String cannot fail.
        let _ = write_all(
            &mut text, config, &service, states, started, &requests, &durations,
        );
        text
    }
}

fn write_all(
    text: &mut String,
    config: &Config,
    service: &str,
    states: &[State],
    started: f64,
    requests: &BTreeMap<Labels, u64>,
    durations: &BTreeMap<String, Histogram>,
) -> std::fmt::Result {
    head(
        text,
        "vadev_build_info",
        "gauge",
        "What runs here; stand_in says that it is not the real service.",
    )?;
    let (version, language) = (escaped(&config.version), escaped(&config.language));
    let agent = env!("CARGO_PKG_VERSION");
    writeln!(
        text,
        "vadev_build_info{{service=\"{service}\",version=\"{version}\",language=\"{language}\",agent=\"{agent}\",\
         stand_in=\"true\"}} 1"
    )?;
    head(
        text,
        "process_start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970.",
    )?;
    writeln!(
        text,
        "process_start_time_seconds{{service=\"{service}\"}} {started}"
    )?;
    head(text, "http_requests_total", "counter", "Requests answered.")?;
    for ((route, method, code), count) in requests {
        let route = escaped(route);
        writeln!(
            text,
            "http_requests_total{{service=\"{service}\",path=\"{route}\",method=\"{method}\",code=\"{code}\"}} {count}"
        )?;
    }
    head(
        text,
        "http_request_duration_seconds",
        "histogram",
        "Time to answer.",
    )?;
    for (route, histogram) in durations {
        let labels = format!("service=\"{service}\",path=\"{}\"", escaped(route));
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(histogram.counts) {
            below += count;
            writeln!(
                text,
                "http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {below}"
            )?;
        }
        let Histogram { count, sum, .. } = histogram;
        writeln!(
            text,
            "http_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {count}"
        )?;
        writeln!(text, "http_request_duration_seconds_sum{{{labels}}} {sum}")?;
        writeln!(text, "http_request_duration_seconds_count{{{labels}}} {count}")?;
    }
    head(
        text,
        "vadev_dependency_up",
        "gauge",
        "Whether a dependency answered in its own protocol.",
    )?;
    for state in states {
        let (name, kind, optional, up) = (
            escaped(&state.name),
            state.kind,
            state.optional,
            u8::from(state.up),
        );
        writeln!(
            text,
            "vadev_dependency_up{{service=\"{service}\",dependency=\"{name}\",kind=\"{kind}\",optional=\"{optional}\"}} \
             {up}"
        )?;
    }
    Ok(())
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        metrics.count("/api", "GET", 200, Duration::from_millis(7));
        metrics.count("/api", "GET", 503, Duration::from_millis(300));
        let find = |name: &str| (name == "VADEV_SERVICE").then(|| "a\"b".to_owned());
        let text = metrics.render(&Config::parse(&find, None).unwrap(), &[], 1.5);
        for line in [
            r#"http_requests_total{service="a\"b",path="/api",method="GET",code="503"} 1"#,
            r#"http_request_duration_seconds_bucket{service="a\"b",path="/api",le="0.005"} 0"#,
            r#"http_request_duration_seconds_bucket{service="a\"b",path="/api",le="0.25"} 1"#,
            r#"http_request_duration_seconds_bucket{service="a\"b",path="/api",le="0.5"} 2"#,
            r#"http_request_duration_seconds_bucket{service="a\"b",path="/api",le="+Inf"} 2"#,
            r#"process_start_time_seconds{service="a\"b"} 1.5"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
