//! Trying again, with a deadline one can see. kube's own retry may wait for up to 1000 s; it is switched off.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::K8sError;

/// What to do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may pass: connection errors, 429, 5xx.
    Again,
    /// It will not.
    Final,
}

/// The default judgement.
pub(super) fn transient(error: &kube::Error) -> Verdict {
    match error {
        // A field of a wrong type in an applied object comes as an internal error of the server.
        kube::Error::Api(status) if status.message.contains("failed to create typed patch object") => {
            Verdict::Final
        }
        kube::Error::Api(status) if status.code == 429 || (500..600).contains(&status.code) => Verdict::Again,
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => Verdict::Again,
        _ => Verdict::Final,
    }
}

/// The judgement for applies: also waits for a namespace or a kind that something else is about to create, for a
/// namespace on its way out, and for a webhook that isn't up.
pub(super) fn transient_or_early(error: &kube::Error) -> Verdict {
    match error {
        kube::Error::Api(status) if status.code == 404 => Verdict::Again,
        kube::Error::Api(status) if status.code == 403 && status.message.contains("is being terminated") => {
            Verdict::Again
        }
        kube::Error::Discovery(_) => Verdict::Again,
        other => transient(other),
    }
}

/// Pauses between tries: 50 ms, doubling, at most one second.
pub(super) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt.min(5)).min(Duration::from_secs(1))
}

/// Runs a request until it succeeds, fails for good, or the deadline passes.
pub(super) async fn retrying<T, F>(
    action: &'static str,
    subject: &str,
    within: Duration,
    judge: fn(&kube::Error) -> Verdict,
    mut request: impl FnMut() -> F,
) -> Result<T, K8sError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let end = Instant::now() + within;
    let mut attempt = 0;
    loop {
        let error = match request().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if judge(&error) == Verdict::Final {
            return Err(K8sError::Request {
                action,
                subject: subject.to_owned(),
                source: Box::new(error),
            });
        }
        let wait = pause(attempt);
        if Instant::now() + wait > end {
            let seconds = within.as_secs();
            return Err(K8sError::Deadline {
                action,
                subject: subject.to_owned(),
                seconds,
                source: Box::new(error),
            });
        }
        sleep(wait).await;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "").with_code(code).boxed())
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(transient(&api(503, "")), Verdict::Again);
        assert_eq!(transient(&api(429, "")), Verdict::Again);
        assert_eq!(
            transient(&api(500, "failed to create typed patch object (n/a)")),
            Verdict::Final
        );
        assert_eq!(transient(&api(404, "")), Verdict::Final);
        assert_eq!(transient(&api(409, "")), Verdict::Final);
        assert_eq!(
            transient_or_early(&api(404, "namespaces \"a\" not found")),
            Verdict::Again
        );
        assert_eq!(transient_or_early(&api(422, "")), Verdict::Final);
        assert_eq!(
            transient_or_early(&api(403, "ns a because it is being terminated")),
            Verdict::Again
        );
    }

    #[tokio::test]
    async fn the_deadline_ends_it_with_the_last_answer() {
        let mut tries = 0;
        let result: Result<(), _> = retrying("apply", "x", Duration::from_millis(500), transient, || {
            tries += 1;
            async { Err(api(503, "busy")) }
        })
        .await;
        assert_eq!(result.unwrap_err().to_string(), "can't apply x within 0 s: busy");
        assert!(tries > 2);
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        let mut tries = 0;
        let result: Result<(), _> = retrying("apply", "x", Duration::from_secs(3), transient, || {
            tries += 1;
            async { Err(api(422, "bad")) }
        })
        .await;
        assert!(matches!(result, Err(K8sError::Request { .. })));
        assert_eq!(tries, 1);
    }
}
