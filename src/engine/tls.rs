//! The development certificate that the ingress gateway serves on its https port.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A certificate chain and its key, PEM.
pub struct Certificate {
    /// Leaf, then the authority.
    pub chain: String,
    /// Private key. Never printed: no `Debug`.
    pub key: String,
}

/// Makes an authority and a leaf for `localhost` and the names under it, on this machine, for this cluster only.
pub fn development_certificate() -> Result<Certificate, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "vadev development CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let names = [
        "localhost",
        "*.localhost",
        "voiceassistant.localhost",
        "127.0.0.1",
    ]
    .map(str::to_owned);
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name
        .push(DnType::CommonName, "voiceassistant.localhost");
    let leaf_key = KeyPair::generate()?;
    let leaf_certificate = leaf.signed_by(&leaf_key, &Issuer::new(authority, authority_key))?;
    Ok(Certificate {
        chain: format!("{}{}", leaf_certificate.pem(), authority_certificate.pem()),
        key: leaf_key.serialize_pem(),
    })
}
