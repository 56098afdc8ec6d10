//! Services under development: what their pods need beside the image, and by what their agents admit a session.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use super::images::{self, Images};
use super::platform::Platform;
use super::secrets;
use crate::agent::base64;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{self, Cluster, ObjectRef};
use crate::reload::ReloadError;
use crate::render::ObjectId;
use crate::render::develop::{DEVELOPMENT, Development, secret_name};

/// Services that are to be developed: name → the paths in the container below which files are synced.
pub type Develop = BTreeMap<String, Vec<String>>;

/// By service.
pub type AllPrepared = IndexMap<String, Prepared>;

/// Gets the images of developed services that are not there yet, because what an image runs is only known once it is there;
/// then says what each service's pods need. `images` is brought up to date.
pub async fn prepare(
    platform: &Platform,
    images: &mut Images,
    develop: &Develop,
) -> Result<AllPrepared, Failure> {
    let mut prepared = IndexMap::new();
    if develop.is_empty() {
        return Ok(prepared);
    }
    if images::supply_for(platform, images, develop.keys()).await? {
        *images = images::resolve(platform).await?;
    }
    let agent_image = images::add_agent(platform, images, develop.keys()).await?;
    for (service, roots) in develop {
        let Some(image) = images.deployed.get(service) else {
            let message = format!("{service} can't be developed: it has no image");
            return Err(Plain::new(Family::Usage, message).with_hint("vadev up").into());
        };
        prepared.insert(
            service.clone(),
            Prepared {
                agent_image: agent_image.clone(),
                command: command(platform, service, &image.reference).await?,
                roots: roots.clone(),
            },
        );
    }
    Ok(prepared)
}

/// A developed service, all but the token.
#[derive(Debug, Clone)]
pub struct Prepared {
    agent_image: String,
    command: Vec<String>,
    roots: Vec<String>,
}

/// What the image of a service runs: its entry point with its arguments.
pub async fn command(platform: &Platform, service: &str, image: &str) -> Result<Vec<String>, Failure> {
    let docker = platform.supply.docker().await?;
    let found = docker.inspect_image(image).await.map_err(|error| {
        let reason = crate::supply::docker::reason(&error);
        Plain::new(
            Family::Supply,
            format!("can't look at the image {image}: {reason}"),
        )
        .with_hint("vadev doctor")
    })?;
    let config = found.config.unwrap_or_default();
    let mut command = config.entrypoint.unwrap_or_default();
    command.extend(config.cmd.unwrap_or_default());
    if command.is_empty() {
        return Err(ReloadError::NoCommand {
            service: service.to_owned(),
            image: image.to_owned(),
        }
        .into());
    }
    Ok(command)
}

/// Adds the tokens: those that the cluster has, so that a second session does not start the pods anew, or new ones.
pub fn complete(
    prepared: &AllPrepared,
    live: &BTreeMap<ObjectId, Value>,
) -> std::io::Result<IndexMap<String, Development>> {
    let token = |service: &str| {
        let name = secret_name(service);
        let secret = live.iter().find(|(id, _)| id.kind == "Secret" && id.name == name);
        secret.and_then(|(_, value)| token_of(value))
    };
    prepared
        .iter()
        .map(|(service, one)| {
            let token = match token(service) {
                Some(token) => token,
                None => secrets::random()?,
            };
            let development = Development {
                agent_image: one.agent_image.clone(),
                command: one.command.clone(),
                roots: one.roots.clone(),
                token,
            };
            Ok((service.clone(), development))
        })
        .collect()
}

fn token_of(secret: &Value) -> Option<String> {
    let bytes = base64::decode(secret["data"]["token"].as_str()?)?;
    String::from_utf8(bytes).ok().filter(|token| !token.is_empty())
}

/// By what the agents of a service admit a session; `None` where the service is not being developed.
pub async fn token(platform: &Platform, cluster: &Cluster, service: &str) -> Result<Option<String>, Failure> {
    let namespace = &platform.stack().namespaces.apps;
    let secret = ObjectRef::new("v1", "Secret", namespace, &secret_name(service));
    let found = k8s::find(cluster, &secret).await?;
    let value = found.and_then(|object| serde_json::to_value(object).ok());
    Ok(value.as_ref().and_then(token_of))
}

/// Names of the services whose Deployments in the cluster have development parts.
pub async fn developed(platform: &Platform, within: Duration) -> Result<Vec<String>, Failure> {
    let cluster = platform.running(within).await?;
    let kinds: Vec<_> = k8s::BUILT_IN
        .iter()
        .copied()
        .filter(|kind| kind.kind == "Deployment")
        .collect();
    let selector = format!(
        "{},{}={}",
        k8s::MANAGED_BY,
        crate::render::object::WORKSPACE,
        platform.stack().workspace
    );
    let found = k8s::observe_kinds(&cluster, &selector, &kinds).await?;
    let developed = found
        .iter()
        .filter(|(_, value)| value["metadata"]["annotations"][DEVELOPMENT].is_string());
    Ok(developed.map(|(id, _)| id.name.clone()).collect())
}
