//! Objects for MinIO, through the protocol that it shares with Amazon's S3: requests signed with the account's password.

use std::net::SocketAddr;
use std::time::SystemTime;

use reqwest::{Client, Method, StatusCode};
use sha2::{Digest, Sha256};

use super::super::platform::Platform;
use crate::agent::digest::to_hex;
use crate::agent::{base64, hmac_sha256, rfc3339};
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{Cluster, Forward, ForwardTarget};
use crate::render::Object;

/// The bucket.
const BUCKET: &str = "demo";
/// MinIO's name for where it is, unless told otherwise.
const REGION: &str = "us-east-1";

/// Makes the bucket and puts every object into it.
pub async fn put(
    platform: &Platform,
    cluster: &Cluster,
    platforms_own: &[Object],
    objects: &[(&str, &str)],
) -> Result<(), Failure> {
    let namespace = platform.stack().namespaces.infra.clone();
    let password = password(platforms_own)
        .ok_or_else(|| Plain::new(Family::Internal, "MinIO is deployed and has no password"))?;
    let target = ForwardTarget {
        namespace,
        selector: "app=minio".to_owned(),
        port: 9000,
    };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let forward = Forward::open(cluster, target, any_port, platform.reporter.clone()).await?;
    let door = Door {
        client: Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(30))
            .build()
            .map_err(|error| Plain::new(Family::Internal, format!("can't make an HTTP client: {error}")))?,
        host: forward.local().to_string(),
        password,
    };
    // A bucket that is there already is a conflict.
    door.put(&format!("/{BUCKET}"), "", &[StatusCode::OK, StatusCode::CONFLICT])
        .await?;
    for (name, content) in objects {
        door.put(&format!("/{BUCKET}/{name}"), content, &[StatusCode::OK])
            .await?;
    }
    Ok(())
}

/// From the Secret that the platform was just told.
fn password(objects: &[Object]) -> Option<String> {
    let secret = objects.iter().find(|object| {
        let id = object.id();
        id.kind == "Secret" && id.name == "minio-standalone-secret"
    })?;
    String::from_utf8(base64::decode(secret.value()["data"]["password"].as_str()?)?).ok()
}

/// The way in.
struct Door {
    client: Client,
    host: String,
    password: String,
}

impl Door {
    async fn put(&self, path: &str, content: &str, good: &[StatusCode]) -> Result<(), Failure> {
        let digest = to_hex(&Sha256::digest(content.as_bytes()));
        let time = compact(&rfc3339(SystemTime::now()));
        let signature = sign(&self.host, path, &digest, &time, "voiceassistant", &self.password);
        let sent = self
            .client
            .request(Method::PUT, format!("http://{}{path}", self.host))
            .header("host", &self.host)
            .header("x-amz-content-sha256", digest)
            .header("x-amz-date", time)
            .header("authorization", signature)
            .body(content.to_owned())
            .send()
            .await;
        let trouble =
            |what: String| Plain::new(Family::Cluster, format!("MinIO did not take {path}: {what}"));
        let response = sent.map_err(|error| trouble(error.to_string()))?;
        let status = response.status();
        if good.contains(&status) {
            return Ok(());
        }
        let body = response.text().await.unwrap_or_default();
        Err(trouble(format!("{status} {body}")).into())
    }
}

/// `2026-11-23T19:00:00.000Z` → `20261123T190000Z`.
fn compact(time: &str) -> String {
    let whole = time.split('.').next().unwrap_or_default();
    whole.replace(['-', ':'], "") + "Z"
}

/// Signature version 4 of a PUT without a query.
fn sign(host: &str, path: &str, digest: &str, time: &str, account: &str, password: &str) -> String {
    let names = "host;x-amz-content-sha256;x-amz-date";
    let request = format!(
        "PUT\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{time}\n\n{names}\n{digest}"
    );
    let day = &time[..8.min(time.len())];
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        to_hex(&Sha256::digest(request.as_bytes()))
    );
    let key = [day, REGION, "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{password}").into_bytes(), |key, part| {
            hmac_sha256(&key, part.as_bytes()).to_vec()
        });
    let signature = to_hex(&hmac_sha256(&key, text.as_bytes()));
    format!("AWS4-HMAC-SHA256 Credential={account}/{scope}, SignedHeaders={names}, Signature={signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_without_marks() {
        assert_eq!(compact("2026-11-23T19:00:00.123Z"), "20261123T190000Z");
    }

    /// The password must not be readable in what goes over the wire, and every part of a request counts.
    #[test]
    fn every_part_of_a_request_is_signed() {
        let one = sign("h:1", "/demo/a", "d", "20261123T190000Z", "me", "hush");
        assert!(one.contains("Credential=me/20261123/us-east-1/s3/aws4_request") && !one.contains("hush"));
        for other in [
            sign("h:2", "/demo/a", "d", "20261123T190000Z", "me", "hush"),
            sign("h:1", "/demo/b", "d", "20261123T190000Z", "me", "hush"),
            sign("h:1", "/demo/a", "e", "20261123T190000Z", "me", "hush"),
            sign("h:1", "/demo/a", "d", "20261123T190001Z", "me", "hush"),
            sign("h:1", "/demo/a", "d", "20261123T190000Z", "me", "other"),
        ] {
            assert_ne!(one, other);
        }
    }
}
