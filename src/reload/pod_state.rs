//! What a swap needs to know of a pod, and what it makes of it. Pure.

use k8s_openapi::api::core::v1::{ContainerState, Pod};

/// A pod, as far as one of its containers goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// Its identity: another pod of the same name has another one.
    pub uid: String,
    /// The image that the kubelet is told to run.
    pub image: String,
    /// The image that runs or ran last: ends in the digest of its configuration. Empty before the first start.
    pub image_id: String,
    /// The container that runs or ran last.
    pub container: String,
    /// The container that ran before it.
    pub container_before: String,
    /// Whether the pod takes requests.
    pub ready: bool,
    /// Why the container does not run, where it does not.
    pub trouble: Option<String>,
    /// How the container before this one ended.
    pub ended: Option<String>,
}

impl PodState {
    /// Reads a pod; `None` where it has no such container.
    pub fn of(pod: &Pod, container: &str) -> Option<Self> {
        let spec = pod
            .spec
            .as_ref()?
            .containers
            .iter()
            .find(|one| one.name == container)?;
        let status = pod.status.as_ref();
        let statuses = status.and_then(|status| status.container_statuses.as_ref());
        let of_it = statuses.and_then(|all| all.iter().find(|one| one.name == container));
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let ready = conditions
            .into_iter()
            .flatten()
            .any(|one| one.type_ == "Ready" && one.status == "True");
        let last = of_it.and_then(|one| one.last_state.as_ref());
        let ended = last.and_then(|state| state.terminated.as_ref());
        Some(Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            image: spec.image.clone().unwrap_or_default(),
            image_id: of_it.map(|one| one.image_id.clone()).unwrap_or_default(),
            container: of_it.and_then(|one| one.container_id.clone()).unwrap_or_default(),
            container_before: ended
                .and_then(|ended| ended.container_id.clone())
                .unwrap_or_default(),
            ready: ready && of_it.is_some_and(|one| one.ready),
            trouble: of_it.and_then(|one| one.state.as_ref()).and_then(trouble),
            ended: last.and_then(trouble),
        })
    }

    /// Whether the container runs, or last ran, the image with this configuration digest.
    pub fn runs(&self, config: &str) -> bool {
        !self.image_id.is_empty() && self.image_id.ends_with(config.trim_start_matches("sha256:"))
    }
}

/// `CrashLoopBackOff: …`, `Error, exit code 1`; nothing while it runs or is being started.
fn trouble(state: &ContainerState) -> Option<String> {
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.as_deref().unwrap_or("ended");
        return Some(match ended.signal {
            Some(signal) if signal != 0 => format!("{reason}, signal {signal}"),
            _ => format!("{reason}, exit code {}", ended.exit_code),
        });
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
        return None;
    }
    Some(match waiting.message.as_deref() {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    })
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Every pod runs the image.
    Done,
    /// This one takes its turn.
    Patch(&'a PodState),
    /// All but one would be down: first another one must take requests.
    Wait,
}

/// Which pod is next: those that serve nobody first, and never the last one that serves where there are others.
pub fn next<'a>(pods: &'a [PodState], image: &str, config: &str) -> Next<'a> {
    let stale = || pods.iter().filter(|pod| !pod.runs(config) && pod.image != image);
    if let Some(idle) = stale().find(|pod| !pod.ready) {
        return Next::Patch(idle);
    }
    let Some(serving) = stale().next() else {
        // Told, and not there yet: each is waited for when it is told, so this is another run's.
        return if pods.iter().all(|pod| pod.runs(config)) {
            Next::Done
        } else {
            Next::Wait
        };
    };
    let others = pods.iter().any(|pod| pod.ready && pod.uid != serving.uid);
    if pods.len() == 1 || others {
        Next::Patch(serving)
    } else {
        Next::Wait
    }
}

/// How far a pod is that was given another image.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It takes requests with the new image.
    Serving,
    /// Not yet; what is missing.
    Waiting(String),
    /// The new image does not run.
    Failed(String),
    /// The node has no such image, yet or at all.
    ImageUnseen(String),
    /// It was removed or replaced.
    Gone,
}

/// Compares a pod with what it was before.
pub fn progress(before: &PodState, now: Option<&PodState>, config: &str) -> Progress {
    let Some(now) = now.filter(|now| now.uid == before.uid) else {
        return Progress::Gone;
    };
    let is_new = now.container != before.container && !now.container.is_empty();
    let died = !now.container_before.is_empty()
        && now.container_before != before.container
        && now.container_before != before.container_before;
    if is_new && now.runs(config) {
        if died && let Some(how) = &now.ended {
            return Progress::Failed(now.trouble.clone().unwrap_or_else(|| how.clone()));
        }
        return match &now.trouble {
            Some(trouble) => Progress::Failed(trouble.clone()),
            None if now.ready => Progress::Serving,
            None => Progress::Waiting("runs, not ready yet".to_owned()),
        };
    }
    match &now.trouble {
        Some(trouble) if trouble.contains("Image") => Progress::ImageUnseen(trouble.clone()),
        Some(trouble) if before.trouble.as_ref() != Some(trouble) && trouble.contains("Container") => {
            Progress::Failed(trouble.clone())
        }
        _ => Progress::Waiting("stopping the old container".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, config: &str, ready: bool) -> PodState {
        PodState {
            name: name.into(),
            uid: name.into(),
            image: "s:dev".into(),
            image_id: format!("sha256:{config}"),
            container: format!("{name}-{config}"),
            ready,
            ..PodState::default()
        }
    }

    #[test]
    fn one_of_two_always_serves() {
        let new = "sha256:new";
        let turn = |pods: &[PodState]| match next(pods, "s:dev-new", new) {
            Next::Patch(pod) => pod.name.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!(turn(&[pod("a", "old", true), pod("b", "old", true)]), "a");
        assert_eq!(
            turn(&[pod("a", "old", true), pod("b", "old", false)]),
            "b",
            "who serves nobody goes first"
        );
        assert_eq!(turn(&[pod("a", "new", false), pod("b", "old", true)]), "Wait");
        assert_eq!(turn(&[pod("a", "new", true), pod("b", "old", true)]), "b");
        assert_eq!(turn(&[pod("a", "new", true), pod("b", "new", true)]), "Done");
        assert_eq!(turn(&[pod("a", "old", true)]), "a", "alone it has no choice");
        assert_eq!(turn(&[]), "Done");
        let newborn = PodState {
            image_id: String::new(),
            ..pod("c", "", false)
        };
        assert_eq!(
            turn(&[pod("a", "new", true), newborn]),
            "c",
            "by the moving tag, whatever that means"
        );
    }

    #[test]
    fn a_new_container_serves_or_fails() {
        let before = pod("a", "old", true);
        let told = PodState {
            image: "s:dev-new".into(),
            ..before.clone()
        };
        assert!(matches!(
            progress(&before, Some(&told), "sha256:new"),
            Progress::Waiting(_)
        ));
        let started = PodState {
            container_before: before.container.clone(),
            ended: Some("Completed, exit code 0".into()),
            ..pod("a", "new", false)
        };
        assert!(matches!(
            progress(&before, Some(&started), "sha256:new"),
            Progress::Waiting(_)
        ));
        let serving = PodState {
            ready: true,
            ..started.clone()
        };
        assert_eq!(progress(&before, Some(&serving), "sha256:new"), Progress::Serving);
        let crashed = PodState {
            trouble: Some("CrashLoopBackOff".into()),
            ..started.clone()
        };
        assert_eq!(
            progress(&before, Some(&crashed), "sha256:new"),
            Progress::Failed("CrashLoopBackOff".into())
        );
        let again = PodState {
            container: "third".into(),
            container_before: started.container.clone(),
            ended: Some("Error, exit code 1".into()),
            ..started
        };
        assert_eq!(
            progress(&before, Some(&again), "sha256:new"),
            Progress::Failed("Error, exit code 1".into())
        );
        assert_eq!(progress(&before, None, "sha256:new"), Progress::Gone);
        let unseen = PodState {
            trouble: Some("ErrImageNeverPull: not there".into()),
            ..told
        };
        assert!(matches!(
            progress(&before, Some(&unseen), "sha256:new"),
            Progress::ImageUnseen(_)
        ));
    }
}
