//! Tools as their projects release them: downloaded, held against the digest that is published beside them, and put into the
//! cache. The version is the recipe's, so that it does not matter which way a tool came.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::cache::{Entry, Kind, Source, TEMPORARY, stamp};
use super::docker::{hex, reason};
use super::pulse::Pulse;
use super::recipe::Recipe;
use super::{Supply, SupplyError};
use crate::report::Step;

/// How long the digest may take, redirects included: where no release server can be reached, this is what it costs to notice.
const GREETING: Duration = Duration::from_millis(2500);
/// How long a download may stand still.
const STALLED: Duration = Duration::from_secs(20);
/// A digest file has one line; whatever is longer is a page that a proxy sent instead.
const DIGEST_BYTES: usize = 64 << 10;

/// Where a file of a release is, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The file.
    file: String,
    /// A file that begins with its SHA-256, as `sha256sum` writes it.
    digest: String,
    /// The tool's name in the archive, where the file is one (`.tar.gz`).
    member: Option<&'static str>,
}

/// Where the tool `name` is released; `None` where its project has no releases that vadev knows of, or none for this machine.
fn place(name: &str, version: &str, os: &str, arch: &str) -> Option<Place> {
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return None,
    };
    match (name, os) {
        ("kind", "linux" | "macos") => {
            let os = if os == "macos" { "darwin" } else { os };
            let file = format!(
                "https://github.com/kubernetes-sigs/kind/releases/download/{version}/kind-{os}-{arch}"
            );
            Some(Place {
                digest: format!("{file}.sha256sum"),
                file,
                member: None,
            })
        }
        ("istioctl", "linux" | "macos") => {
            let os = if os == "macos" { "osx" } else { os };
            let file = format!(
                "https://github.com/istio/istio/releases/download/{version}/istioctl-{version}-{os}-{arch}.tar.gz"
            );
            Some(Place {
                digest: format!("{file}.sha256"),
                file,
                member: Some("istioctl"),
            })
        }
        _ => None,
    }
}

impl Supply {
    /// The tool of a recipe out of its project's release; `None` where there is no release of it.
    pub(super) async fn released(&self, recipe: &Recipe, step: &Step) -> Result<Option<Entry>, SupplyError> {
        use std::env::consts::{ARCH, OS};
        let Some(place) = place(&recipe.name, &recipe.version, OS, ARCH) else {
            return Ok(None);
        };
        let client = reqwest::Client::builder()
            .connect_timeout(GREETING)
            .read_timeout(STALLED)
            .build()
            .map_err(|error| failed(&place.file, reason(&error)))?;
        let _lock = self.kit.cache.lock(&recipe.name, step).await?;
        // Another vadev may have brought it while this one waited.
        if let Some(entry) = self.present(&recipe.name).await? {
            return Ok(Some(entry));
        }
        let expected = published(&client, &place.digest).await?;
        let child = step.child(
            format!("release/{}", recipe.name),
            format!("Download {} {}", recipe.name, recipe.version),
            None,
        );
        match self.bring(&client, recipe, &place, &expected, &child).await {
            Ok(entry) => {
                child.done(format!("{} MB, as its digest says", entry.size / 1_000_000));
                Ok(Some(entry))
            }
            Err(error) => {
                child.failed(&error);
                Err(error)
            }
        }
    }

    async fn bring(
        &self,
        client: &reqwest::Client,
        recipe: &Recipe,
        place: &Place,
        expected: &str,
        step: &Step,
    ) -> Result<Entry, SupplyError> {
        let begun = std::time::Instant::now();
        let cache = &self.kit.cache;
        let folder = cache.root().join("work");
        let file = download(client, &place.file, expected, &folder, step).await?;
        let (member, url) = (place.member, place.file.clone());
        let unpacked = tokio::task::spawn_blocking(move || match member {
            None => Ok(file),
            Some(member) => unpack(file.path(), member, &folder)
                .map_err(|error| failed(&url, format!("`{member}` can't be unpacked: {error}"))),
        });
        let file = unpacked
            .await
            .map_err(|error| failed(&place.file, error.to_string()))??;
        let (digest, size) = cache.put_blob(file.path())?;
        let path = cache.install(&digest, &recipe.reference)?;
        let mut entry = Entry::new(&recipe.name, Kind::Tool, &recipe.reference, Source::Release);
        recipe.version.clone_into(&mut entry.version);
        entry.input = Some(self.kit.book.hash(&recipe.name).to_owned());
        entry.digest = format!("sha256:{digest}");
        entry.size = size;
        entry.written = stamp(&path).map(|(_, written)| written);
        entry.seconds = begun.elapsed().as_secs_f64();
        cache.record(&entry)?;
        Ok(entry)
    }
}

fn failed(url: &str, reason: String) -> SupplyError {
    SupplyError::Download {
        url: url.to_owned(),
        reason,
    }
}

/// An answer that is the file, or why it is none.
async fn ask(client: &reqwest::Client, url: &str) -> Result<reqwest::Response, SupplyError> {
    let answer = client
        .get(url)
        .send()
        .await
        .map_err(|error| failed(url, reason(&error)))?;
    if !answer.status().is_success() {
        return Err(failed(url, format!("the server says {}", answer.status())));
    }
    Ok(answer)
}

/// The digest that is published at `url`, hex.
async fn published(client: &reqwest::Client, url: &str) -> Result<String, SupplyError> {
    let read = async {
        let mut answer = ask(client, url).await?;
        let mut text = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| failed(url, reason(&error)))?
        {
            text.extend_from_slice(&chunk);
            if text.len() > DIGEST_BYTES {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text);
        let word = text.split_whitespace().next().unwrap_or_default();
        let is_digest = word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
        is_digest
            .then(|| word.to_ascii_lowercase())
            .ok_or_else(|| failed(url, "there is no SHA-256 in it".to_owned()))
    };
    tokio::time::timeout(GREETING, read).await.unwrap_or_else(|_| {
        Err(failed(
            url,
            format!("no answer within {} s", GREETING.as_secs_f32()),
        ))
    })
}

/// Downloads into a temporary file of `folder`, which is gone again unless the content has the digest.
async fn download(
    client: &reqwest::Client,
    url: &str,
    expected: &str,
    folder: &Path,
    step: &Step,
) -> Result<tempfile::NamedTempFile, SupplyError> {
    let pulse = Pulse::new(step).about(url);
    let mut answer = pulse.during(ask(client, url)).await?;
    let whole = answer.content_length();
    let mut file = temporary(folder).map_err(SupplyError::file("write to", folder))?;
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    while let Some(chunk) = pulse
        .during(answer.chunk())
        .await
        .map_err(|error| failed(url, reason(&error)))?
    {
        hash.update(&chunk);
        file.write_all(&chunk)
            .map_err(SupplyError::file("write to", folder))?;
        size += chunk.len() as u64;
        let of = whole.map_or_else(String::new, |whole| format!(" of {}", whole / 1_000_000));
        pulse.tell(&format!("{}{of} MB", size / 1_000_000));
    }
    let found = hex(&hash.finalize());
    if found != expected {
        return Err(SupplyError::Digest {
            subject: url.to_owned(),
            expected: format!("sha256:{expected}"),
            found: format!("sha256:{found}"),
        });
    }
    Ok(file)
}

fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)
}

/// The member of that name, in whatever folder of the archive it is.
fn unpack(archive: &Path, member: &str, folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(archive)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let named = entry.path()?.file_name().is_some_and(|name| name == member);
        if named && entry.header().entry_type().is_file() {
            let mut file = temporary(folder)?;
            std::io::copy(&mut entry, &mut file)?;
            return Ok(file);
        }
    }
    Err(std::io::Error::new(
        std::io::ErrorKind::NotFound,
        "the archive has no such file",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;
    use crate::report::Reporter;
    use crate::supply::{ImageSource, Options};

    /// Serves files by path; `cut` leaves the last bytes of each out, after having promised them.
    fn serve(files: HashMap<&'static str, Vec<u8>>, cut: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let answer = move |mut stream: TcpStream| {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or_default();
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
            let (status, body) = match files.get(path.as_str()) {
                Some(body) => ("200 OK", body.clone()),
                None => ("404 Not Found", Vec::new()),
            };
            let cut = if path.contains("sha256") { 0 } else { cut };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let sent = stream.write_all(head.as_bytes());
            drop(sent.and_then(|()| stream.write_all(&body[..body.len().saturating_sub(cut)])));
        };
        std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
        base
    }

    fn client() -> reqwest::Client {
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    fn supply(folder: &Path, source: ImageSource) -> Supply {
        Supply::open(Options {
            source,
            cache: Some(folder.to_owned()),
            ..Options::default()
        })
        .unwrap()
    }

    /// As [`Supply::released`], from another server.
    async fn bring(supply: &Supply, name: &str, place: &Place) -> Result<Entry, SupplyError> {
        let step = Reporter::silent().step("test", "Test", None);
        let recipe = supply.book().recipe(name)?;
        let expected = published(&client(), &place.digest).await?;
        supply.bring(&client(), recipe, place, &expected, &step).await
    }

    fn place_at(base: &str, member: Option<&'static str>) -> Place {
        Place {
            file: format!("{base}/tool"),
            digest: format!("{base}/tool.sha256"),
            member,
        }
    }

    fn sum(content: &[u8]) -> Vec<u8> {
        format!("{}  tool\n", hex(&Sha256::digest(content))).into_bytes()
    }

    /// Nothing half written stays behind.
    fn left(folder: &Path) -> usize {
        std::fs::read_dir(folder.join("work")).unwrap().count()
    }

    #[tokio::test]
    async fn a_release_with_the_right_digest_becomes_the_tool() {
        let folder = tempfile::tempdir().unwrap();
        let content = b"#!/bin/sh\necho kind v0.33.0\n".to_vec();
        let base = serve(
            [("/tool.sha256", sum(&content)), ("/tool", content.clone())].into(),
            0,
        );
        let supply = supply(folder.path(), ImageSource::Registry);
        let entry = bring(&supply, "kind", &place_at(&base, None)).await.unwrap();
        assert_eq!(
            (entry.source, entry.size),
            (Source::Release, content.len() as u64)
        );
        let step = Reporter::silent().step("test", "Test", None);
        let path = supply.tool("kind", &step).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), content);
        assert_eq!(left(folder.path()), 0);
    }

    #[tokio::test]
    async fn the_tool_is_taken_out_of_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o755);
        archive
            .append_data(&mut header, "./istioctl", &b"hello"[..])
            .unwrap();
        let content = archive.into_inner().unwrap().finish().unwrap();
        let base = serve([("/tool.sha256", sum(&content)), ("/tool", content)].into(), 0);
        let supply = supply(folder.path(), ImageSource::Registry);
        let entry = bring(&supply, "istioctl", &place_at(&base, Some("istioctl")))
            .await
            .unwrap();
        assert_eq!(entry.digest, format!("sha256:{}", hex(&Sha256::digest(b"hello"))));
        assert!(
            bring(&supply, "istioctl", &place_at(&base, Some("other")))
                .await
                .is_err()
        );
        assert_eq!(left(folder.path()), 0);
    }

    #[tokio::test]
    async fn a_wrong_or_truncated_release_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let supply = supply(folder.path(), ImageSource::Registry);
        let content = vec![7_u8; 100_000];
        let wrong = serve(
            [("/tool.sha256", sum(b"else")), ("/tool", content.clone())].into(),
            0,
        );
        let error = bring(&supply, "kind", &place_at(&wrong, None)).await.unwrap_err();
        assert!(matches!(error, SupplyError::Digest { .. }), "{error}");
        let cut = serve([("/tool.sha256", sum(&content)), ("/tool", content)].into(), 10);
        let error = bring(&supply, "kind", &place_at(&cut, None)).await.unwrap_err();
        assert!(matches!(error, SupplyError::Download { .. }), "{error}");
        let page = serve([("/tool.sha256", b"<html>log in</html>".to_vec())].into(), 0);
        let error = bring(&supply, "kind", &place_at(&page, None)).await.unwrap_err();
        assert!(error.to_string().contains("no SHA-256"), "{error}");
        let none = serve(HashMap::new(), 0);
        let error = bring(&supply, "kind", &place_at(&none, None)).await.unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
        assert!(supply.cache().entry("kind").is_none() && !supply.cache().bin("kind").exists());
        assert_eq!(left(folder.path()), 0);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_costs_little() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tool.sha256", silent.local_addr().unwrap());
        let begun = Instant::now();
        assert!(published(&client(), &url).await.is_err());
        assert!(begun.elapsed() < GREETING * 2);
    }

    #[test]
    fn releases_are_named_as_their_projects_name_them() {
        let file =
            |name, version, os, arch| place(name, version, os, arch).map(|place| (place.file, place.digest));
        let (kind, digest) = file("kind", "v0.33.0", "linux", "x86_64").unwrap();
        assert!(kind.ends_with("/download/v0.33.0/kind-linux-amd64"), "{kind}");
        assert!(digest.ends_with("/kind-linux-amd64.sha256sum"), "{digest}");
        let (istioctl, digest) = file("istioctl", "1.31.0", "macos", "aarch64").unwrap();
        assert!(
            istioctl.ends_with("/download/1.31.0/istioctl-1.31.0-osx-arm64.tar.gz"),
            "{istioctl}"
        );
        assert!(digest.ends_with(".tar.gz.sha256"), "{digest}");
        assert_eq!(file("kwok", "v1", "linux", "x86_64"), None);
        assert_eq!(file("kind", "v1", "linux", "riscv64"), None);
    }
}
