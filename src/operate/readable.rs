//! Parts of a page that the context's user may not read: the rest is worth showing all the same.

use serde::Serialize;

use super::error::OperateError;
use crate::failure::Failure;
use crate::k8s::K8sError;

/// A part of a description that needs a right of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The config map.
    Config,
    /// The Secret.
    Secret,
    /// The mesh's objects.
    Mesh,
}

/// Why a part could not be read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may not be.
    Forbidden,
    /// Something else, which nothing is shown for.
    Failed(Failure),
}

impl Refusal {
    /// The refusal of a request to read `subject`.
    pub fn of(subject: &str, error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden,
            _ => Self::Failed(OperateError::request("read", subject, error).into()),
        }
    }
}

impl From<K8sError> for Refusal {
    fn from(error: K8sError) -> Self {
        if error.is_forbidden() {
            Self::Forbidden
        } else {
            Self::Failed(error.into())
        }
    }
}

/// Nothing of a part that may not be read, which is noted.
pub(super) fn readable<T: Default>(
    found: Result<T, Refusal>,
    part: Part,
    unreadable: &mut Vec<Part>,
) -> Result<T, Failure> {
    match found {
        Ok(found) => Ok(found),
        Err(Refusal::Forbidden) => {
            unreadable.push(part);
            Ok(T::default())
        }
        Err(Refusal::Failed(failure)) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn only_a_refusal_leaves_a_part_out() {
        let api = |code| kube::Error::Api(Status::failure("no", "").with_code(code).boxed());
        let mut unreadable = Vec::new();
        let mut read = |found| readable::<Vec<u8>>(found, Part::Secret, &mut unreadable);
        assert_eq!(read(Ok(vec![1])).unwrap(), [1]);
        assert!(read(Err(Refusal::of("a-secret", api(403)))).unwrap().is_empty());
        assert!(read(Err(Refusal::of("a-secret", api(500)))).is_err());
        assert_eq!(unreadable, [Part::Secret]);
    }
}
