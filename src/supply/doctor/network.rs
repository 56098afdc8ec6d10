//! Which container registries answer. None has to: then images are built from packages.

use super::report::{Check, Severity};
use std::time::Duration;

/// How long a registry may take. Behind a filter that drops packets nothing ever comes back.
const DEADLINE: Duration = Duration::from_millis(1500);

/// Where images and release files come from, and what each is called here.
const PLACES: [(&str, &str, &str); 3] = [
    (
        "registry-docker",
        "Docker Hub",
        "https://registry-1.docker.io/v2/",
    ),
    (
        "registry-kubernetes",
        "registry.k8s.io",
        "https://registry.k8s.io/v2/",
    ),
    (
        "releases-github",
        "GitHub releases",
        "https://github.com/kubernetes-sigs/kind/releases",
    ),
];

/// One place and whether it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The check's name.
    pub id: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// `None` if it answered, else why not.
    pub error: Option<String>,
}

/// Asks all places at once. The usual proxy variables are heeded.
pub async fn probe() -> Vec<Reached> {
    let client = reqwest::Client::builder()
        .connect_timeout(DEADLINE)
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let client = &client;
    let ask = |(id, title, url)| async move {
        let answer = match client {
            // Any answer will do: registries say 401 to strangers.
            Ok(client) => client.head(url).send().await.map(drop).map_err(|e| reason(&e)),
            Err(error) => Err(error.to_string()),
        };
        Reached {
            id,
            title,
            error: answer.err(),
        }
    };
    futures::future::join_all(PLACES.map(ask)).await
}

/// The innermost cause: the outer ones only repeat the address.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} ms", DEADLINE.as_millis());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The checks.
pub fn checks(reached: &[Reached]) -> Vec<Check> {
    let check = |place: &Reached| match &place.error {
        None => Check::ok(place.id, place.title, "reachable"),
        Some(error) => Check::ok(place.id, place.title, format!("not reachable: {error}")).problem(
            Severity::Info,
            "no matter: what comes from there is built from packages instead",
        ),
    };
    reached.iter().map(check).collect()
}

/// Whether something has to be built from packages, because a place it would come from does not answer.
pub fn packages_needed(reached: &[Reached]) -> bool {
    reached.iter().any(|place| place.error.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_registry_is_only_a_remark() {
        let place = |error: Option<&str>| Reached {
            id: "r",
            title: "R",
            error: error.map(str::to_owned),
        };
        assert_eq!(checks(&[place(None)])[0].trouble(), None);
        assert_eq!(checks(&[place(Some("dns"))])[0].trouble(), Some(Severity::Info));
        assert!(packages_needed(&[place(None), place(Some("x"))]) && !packages_needed(&[place(None)]));
    }
}
