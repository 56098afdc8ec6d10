//! The user's log-ins to container registries, as `docker login` keeps them: in Docker's own file or a credential helper.

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::SupplyError;
use super::registry::{HUB, host_of};

/// The key under which Docker keeps the log-in to Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The log-in for the registry of `reference`; `None` where the user has none, which is right for public images.
///
/// # Errors
/// Where there is one and it cannot be read: going on without would end in a refusal that names no cause.
pub async fn credentials(reference: &str) -> Result<Option<DockerCredentials>, SupplyError> {
    let host = host_of(reference).to_owned();
    let key = if host == HUB {
        HUB_KEY.to_owned()
    } else {
        host.clone()
    };
    let failed = |reason: String| SupplyError::Engine {
        action: format!("read the log-in for {host}"),
        reason,
    };
    // A credential helper is a program of its own, which may take its time.
    let found = tokio::task::spawn_blocking(move || docker_credential::get_credential(&key))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let serveraddress = Some(host_of(reference).to_owned());
    match found {
        Ok(DockerCredential::UsernamePassword(username, password)) => Ok(Some(DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress,
            ..DockerCredentials::default()
        })),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(DockerCredentials {
            identitytoken: Some(token),
            serveraddress,
            ..DockerCredentials::default()
        })),
        Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError
            | CredentialRetrievalError::NoCredentialConfigured,
        ) => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}
