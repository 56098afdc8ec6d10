//! Development certificates for the ingress gateway: an authority of this workspace's own, and leaves by it. The authority
//! stays, so that whoever trusts it once trusts every renewed certificate.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::{Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::profile::Stack;

/// A certificate chain and its key, PEM.
pub struct Certificate {
    /// Leaf, then the authority.
    pub chain: String,
    /// Private key. Never printed: no `Debug`.
    pub key: String,
}

/// The hosts of a certificate where nobody names others.
pub const HOSTS: [&str; 4] = [
    "localhost",
    "*.localhost",
    "voiceassistant.localhost",
    "127.0.0.1",
];

/// As [`HOSTS`], with the host by which a gateway that several platforms share knows this one.
pub fn hosts(stack: &Stack) -> Vec<String> {
    let own = stack.host.iter().cloned();
    own.chain(HOSTS.map(str::to_owned)).collect()
}

/// Days that a leaf is good for: what browsers accept at most.
const LEAF_DAYS: i64 = 397;

/// Days that the authority is good for.
const AUTHORITY_DAYS: i64 = 3650;

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's files can't be read or written.
    #[error("can't use the development authority in {}: {source}", folder.display())]
    File {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key or certificate could not be made, or what is kept can't be read.
    #[error("can't make a development certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Where the authority's certificate is, for whoever wants to trust it.
pub fn authority_file(state: &Path) -> PathBuf {
    state.join("tls/ca.pem")
}

/// A leaf for the hosts by the authority in the state folder, which is made where it is missing.
pub fn development_certificate(state: &Path, hosts: &[String]) -> Result<Certificate, TlsError> {
    let (authority, authority_key, authority_pem) = authority(state)?;
    let mut leaf = CertificateParams::new(hosts.to_vec())?;
    leaf.distinguished_name.push(
        DnType::CommonName,
        hosts.first().map_or("localhost", String::as_str),
    );
    let (from, until) = (day(-1), day(LEAF_DAYS));
    leaf.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    leaf.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf_key = KeyPair::generate()?;
    let signed = leaf.signed_by(&leaf_key, &Issuer::new(authority, authority_key))?;
    Ok(Certificate {
        chain: format!("{}{authority_pem}", signed.pem()),
        key: leaf_key.serialize_pem(),
    })
}

/// The authority's parameters are the same in every run; only its key is kept, and its certificate for others to trust.
fn authority(state: &Path) -> Result<(CertificateParams, KeyPair, String), TlsError> {
    let folder = state.join("tls");
    let trouble = |source| TlsError::File {
        folder: folder.clone(),
        source,
    };
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "vadev development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let (from, until) = (day(-1), day(AUTHORITY_DAYS));
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let (key_file, pem_file) = (folder.join("ca.key"), authority_file(state));
    let kept = (fs::read_to_string(&key_file), fs::read_to_string(&pem_file));
    if let (Ok(key), Ok(pem)) = kept {
        return Ok((params, KeyPair::from_pem(&key)?, pem));
    }
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    fs::create_dir_all(&folder).map_err(trouble)?;
    // The certificate last: without it the key counts for nothing.
    write_private(&key_file, key.serialize_pem().as_bytes()).map_err(trouble)?;
    fs::write(&pem_file, &pem).map_err(trouble)?;
    Ok((params, key, pem))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Year, month and day so many days from now. Certificates begin yesterday, because clocks disagree.
fn day(days: i64) -> (i32, u8, u8) {
    let then = Timestamp::from_second(Timestamp::now().as_second() + days * 86_400);
    let date = then
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(TimeZone::UTC)
        .date();
    let part = |number: i8| u8::try_from(number).unwrap_or(1);
    (i32::from(date.year()), part(date.month()), part(date.day()))
}
