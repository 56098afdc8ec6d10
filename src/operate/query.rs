//! Questions to Prometheus, and the named ones that people ask most, from whichever series there are.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::dashboards::PAGES;
use super::error::OperateError;
use super::site::Site;
use crate::failure::Failure;
use crate::k8s::Forward;
use crate::report::Reporter;

/// One series of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Its labels, the metric's name among them.
    pub labels: serde_json::Map<String, Value>,
    /// Seconds since 1970 and value, in the order of time; one for an instant.
    pub samples: Vec<(f64, f64)>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What was asked in the end.
    pub query: String,
    /// Whose series answered, for named questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// The series.
    pub series: Vec<Series>,
}

/// One way to answer a named question.
#[derive(Debug, Clone, Copy)]
struct Way {
    source: &'static str,
    /// A series without which it makes no sense.
    needs: &'static str,
    query: &'static str,
}

/// A question that people ask most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// What is scraped, and whether it answers.
    Targets,
    /// The share of requests that fail, by service.
    Errors,
    /// The 95th percentile of the time that requests take, by service, in milliseconds.
    Latency,
}

/// Istio's own telemetry.
const ISTIO: &str = "Istio's telemetry";
/// The sidecars' counters. vadev's Prometheus gives them Istio's names, and says by the label `counted_by` what they are.
const PROXIES: &str = "the proxies' own counters";
/// What services count themselves.
const SERVICES: &str = "the services' own counters";

impl Named {
    /// Every one, by the name that people type.
    pub const ALL: [(&str, Self); 3] = [
        ("targets", Self::Targets),
        ("errors", Self::Errors),
        ("latency", Self::Latency),
    ];

    /// The question of this name.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find_map(|(name, named)| (*name == text).then_some(*named))
    }

    fn ways(self) -> &'static [Way] {
        match self {
            Self::Targets => &[Way {
                source: "Prometheus' scrapes",
                needs: "up",
                query: "up{job=\"kubernetes-pods\"}",
            }],
            Self::Errors => &[
                Way {
                    source: ISTIO,
                    needs: "istio_requests_total{counted_by=\"\"}",
                    query: "sum by (destination_service_name) (rate(istio_requests_total{counted_by=\"\",reporter=\"destination\",response_code=~\"5..\"}[5m])) or 0 * sum by (destination_service_name) (rate(istio_requests_total{counted_by=\"\",reporter=\"destination\"}[5m]))",
                },
                Way {
                    source: PROXIES,
                    needs: "istio_requests_total{counted_by=\"envoy\"}",
                    query: "sum by (destination_service_name) (rate(istio_requests_total{counted_by=\"envoy\",reporter=\"destination\",response_code=~\"5..\"}[5m])) or 0 * sum by (destination_service_name) (rate(istio_requests_total{counted_by=\"envoy\",reporter=\"destination\"}[5m]))",
                },
                Way {
                    source: PROXIES,
                    needs: "envoy_cluster_upstream_rq_xx",
                    query: "sum by (app) (rate(envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\"}[5m])) or 0 * sum by (app) (rate(envoy_cluster_upstream_rq_xx[5m]))",
                },
                Way {
                    source: SERVICES,
                    needs: "http_requests_total",
                    query: "sum by (app) (rate(http_requests_total{code=~\"5..\"}[5m]) or rate(http_requests_total{status=~\"5..\"}[5m])) or 0 * sum by (app) (rate(http_requests_total[5m]))",
                },
            ],
            Self::Latency => &[
                Way {
                    source: ISTIO,
                    needs: "istio_request_duration_milliseconds_bucket{counted_by=\"\"}",
                    query: "histogram_quantile(0.95, sum by (destination_service_name, le) (rate(istio_request_duration_milliseconds_bucket{counted_by=\"\",reporter=\"destination\"}[5m])))",
                },
                Way {
                    source: PROXIES,
                    needs: "istio_request_duration_milliseconds_bucket{counted_by=\"envoy\"}",
                    query: "histogram_quantile(0.95, sum by (destination_service_name, le) (rate(istio_request_duration_milliseconds_bucket{counted_by=\"envoy\",reporter=\"destination\"}[5m])))",
                },
                Way {
                    source: PROXIES,
                    needs: "envoy_cluster_upstream_rq_time_bucket",
                    query: "histogram_quantile(0.95, sum by (app, le) (rate(envoy_cluster_upstream_rq_time_bucket[5m])))",
                },
                Way {
                    source: SERVICES,
                    needs: "http_request_duration_seconds_bucket",
                    query: "1000 * histogram_quantile(0.95, sum by (app, le) (rate(http_request_duration_seconds_bucket[5m])))",
                },
            ],
        }
    }
}

/// A connection to the platform's Prometheus.
pub struct Prometheus {
    client: reqwest::Client,
    base: String,
    _forward: Forward,
}

impl Prometheus {
    /// Opens a way to it; says how to get one where there is none.
    pub async fn connect(site: &Site) -> Result<Self, Failure> {
        let workloads = site.workloads().await?;
        let page = PAGES.iter().find(|page| page.name == "prometheus");
        // Whoever made it may have given it other labels and another port.
        let target = page.and_then(|page| page.deployed(site, &workloads));
        let target = target.ok_or_else(|| OperateError::Absent {
            what: "prometheus".to_owned(),
            hint: "vadev up -p demo brings it; vadev profile list shows what else does".to_owned(),
        })?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let forward = Forward::open(&site.cluster, target, any, Reporter::silent()).await?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| OperateError::unreadable("the HTTP client's settings", error))?;
        Ok(Self {
            client,
            base: format!("http://{}", forward.local()),
            _forward: forward,
        })
    }

    /// Asks for now, or for the last `range`.
    pub async fn query(&self, query: &str, range: Option<Duration>) -> Result<Vec<Series>, Failure> {
        let mut fields = vec![("query", query.to_owned())];
        let mut path = "query";
        if let Some(range) = range {
            let now = Timestamp::now().as_second();
            let seconds = i64::try_from(range.as_secs()).unwrap_or(i64::MAX).max(1);
            // As many samples as a line on a terminal shows.
            fields.extend([
                ("start", (now - seconds).to_string()),
                ("end", now.to_string()),
                ("step", (seconds / 60).max(1).to_string()),
            ]);
            path = "query_range";
        }
        let body: String = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect::<Vec<_>>()
            .join("&");
        let url = format!("{}/api/v1/{path}", self.base);
        let unreachable = |error: reqwest::Error| OperateError::unreadable("prometheus' answer", error);
        let answer = self
            .client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(unreachable)?;
        let text = answer.text().await.map_err(unreachable)?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| OperateError::unreadable("prometheus' answer", error))?;
        if value["status"] != "success" {
            let problem = value["error"].as_str().unwrap_or("no reason given").to_owned();
            return Err(
                OperateError::unfit(query, problem, "PromQL is explained at prometheus.io/docs").into(),
            );
        }
        Ok(read(&value["data"]))
    }

    /// Answers what was typed: one of the named questions, else an expression.
    pub async fn ask(&self, what: &str, range: Option<Duration>) -> Result<Answer, Failure> {
        if let Some(named) = Named::of(what) {
            return self.named(named, range).await;
        }
        let series = self.query(what, range).await?;
        if series.is_empty()
            && let Some(error) = mistyped(what)
        {
            return Err(error.into());
        }
        Ok(Answer {
            query: what.to_owned(),
            source: None,
            series,
        })
    }

    /// Answers a named question from the best series there are.
    async fn named(&self, named: Named, range: Option<Duration>) -> Result<Answer, Failure> {
        for way in named.ways() {
            if self
                .query(&format!("count({})", way.needs), None)
                .await?
                .is_empty()
            {
                continue;
            }
            return Ok(Answer {
                query: way.query.to_owned(),
                source: Some(way.source),
                series: self.query(way.query, range).await?,
            });
        }
        let wanted: Vec<&str> = named.ways().iter().map(|way| way.needs).collect();
        Err(OperateError::Absent {
            what: format!("any of the series {}", wanted.join(", ")),
            hint: "they come with traffic: send some requests, and ask again a minute later".to_owned(),
        }
        .into())
    }
}

/// A single word that is the name of no series is most likely a question's, mistyped. A series may well be called like one
/// (`error`), so this is for words that were asked for in vain.
fn mistyped(what: &str) -> Option<OperateError> {
    let word = |c: char| c.is_ascii_alphabetic() || c == '-';
    let known = Named::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let nearest = OperateError::nearest(what, known).filter(|_| what.chars().all(word))?;
    let problem = "there is neither a question nor a series of this name";
    Some(OperateError::unfit(
        what,
        problem,
        format!("did you mean `{nearest}`?"),
    ))
}

/// A value in a form body: everything but letters and digits as `%XX`.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn read(data: &Value) -> Vec<Series> {
    let sample = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?));
    if data["resultType"] == "scalar" {
        return vec![Series {
            labels: serde_json::Map::new(),
            samples: sample(&data["result"]).into_iter().collect(),
        }];
    }
    let series = data["result"].as_array().into_iter().flatten();
    series
        .map(|one| Series {
            labels: one["metric"].as_object().cloned().unwrap_or_default(),
            samples: match one["values"].as_array() {
                Some(values) => values.iter().filter_map(sample).collect(),
                None => sample(&one["value"]).into_iter().collect(),
            },
        })
        .collect()
}

/// Samples as a line of bars, as high as they are within their own range.
pub fn sparkline(samples: &[(f64, f64)]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || {
        samples
            .iter()
            .map(|(_, value)| *value)
            .filter(|value| value.is_finite())
    };
    let (low, high) = (
        finite().fold(f64::MAX, f64::min),
        finite().fold(f64::MIN, f64::max),
    );
    samples
        .iter()
        .map(|(_, value)| {
            if !value.is_finite() {
                return ' ';
            }
            let share = if high > low {
                (value - low) / (high - low)
            } else {
                0.0
            };
            // Between 0 and 7, because the share is between 0 and 1.
            let step = BARS
                .iter()
                .enumerate()
                .rev()
                .find(|(at, _)| share * 7.0 + 0.5 >= f64::from(u8::try_from(*at).unwrap_or(0)));
            step.map_or(' ', |(_, bar)| *bar)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Diagnose as _;
    use serde_json::json;

    #[test]
    fn answers_are_read() {
        let vector =
            json!({"resultType": "vector", "result": [{"metric": {"app": "a"}, "value": [1.5, "2"]}]});
        assert_eq!(read(&vector)[0].samples, [(1.5, 2.0)]);
        assert_eq!(
            read(&json!({"resultType": "scalar", "result": [1, "7"]}))[0].samples,
            [(1.0, 7.0)]
        );
        let matrix =
            json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "0"], [2, "NaN"]]}]});
        assert_eq!(read(&matrix)[0].samples.len(), 2);
    }

    #[test]
    fn the_source_is_whoever_counted() {
        for named in [Named::Errors, Named::Latency] {
            let ways = named.ways();
            for (way, label, source) in [
                (ways[0], "counted_by=\"\"", ISTIO),
                (ways[1], "counted_by=\"envoy\"", PROXIES),
            ] {
                assert_eq!(way.source, source);
                assert!(way.needs.contains(label), "{}", way.needs);
                let counted = way.query.matches("istio_request").count();
                assert_eq!(way.query.matches(label).count(), counted, "{}", way.query);
            }
        }
        let files = crate::catalog::embedded_files();
        let (_, prometheus) = files
            .iter()
            .find(|(name, _)| name.ends_with("prometheus-grafana.yaml"))
            .unwrap();
        // Once a series has Istio's name, nothing tells it from Istio's any more.
        let (label, renamed) = (
            prometheus.find("target_label: counted_by").unwrap(),
            prometheus.find("replacement: istio_requests_total").unwrap(),
        );
        assert!(label < renamed);
    }

    #[test]
    fn a_mistyped_question_is_answered_with_the_nearest() {
        assert!(
            mistyped("latencyy")
                .unwrap()
                .hint()
                .unwrap()
                .contains("`latency`")
        );
        assert!(mistyped("up").is_none() && mistyped("sum(errors)").is_none());
        assert_eq!(Named::of("errors"), Some(Named::Errors));
    }

    #[test]
    fn a_line_of_bars() {
        assert_eq!(
            sparkline(&[(0.0, 0.0), (1.0, 5.0), (2.0, 10.0), (3.0, f64::NAN)]),
            "▁▅█ "
        );
        assert_eq!(sparkline(&[(0.0, 3.0)]), "▁");
        assert_eq!(escaped("a{b=\"1\"}"), "a%7Bb%3D%221%22%7D");
    }
}
