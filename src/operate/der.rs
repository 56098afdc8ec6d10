//! As much of X.509's encoding as is needed to tell for whom and until when a certificate is.

use k8s_openapi::jiff::Timestamp;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Good from.
    pub not_before: Timestamp,
    /// Good until.
    pub not_after: Timestamp,
    /// The common name of whoever issued it.
    pub issuer: String,
    /// DNS names and IP addresses.
    pub hosts: Vec<String>,
}

/// An element: its tag, its content.
type Element<'a> = (u8, &'a [u8]);

/// The first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let (digits, rest) = rest.split_at(count);
        (
            digits.iter().fold(0, |all, digit| all << 8 | usize::from(*digit)),
            rest,
        )
    };
    (rest.len() >= length).then(|| ((*tag, &rest[..length]), &rest[length..]))
}

/// The elements of a constructed one.
fn elements(mut bytes: &[u8]) -> Vec<Element<'_>> {
    let mut found = Vec::new();
    while let Some((one, rest)) = element(bytes) {
        found.push(one);
        bytes = rest;
    }
    found
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `id-ce-subjectAltName`, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// `id-at-commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Reads a certificate; `None` where it is none.
pub fn facts(der: &[u8]) -> Option<Facts> {
    let ((SEQUENCE, certificate), _) = element(der)? else {
        return None;
    };
    let ((SEQUENCE, signed), _) = element(certificate)? else {
        return None;
    };
    let mut parts = elements(signed);
    // The version is the only part that may be missing.
    if parts.first()?.0 == 0xa0 {
        parts.remove(0);
    }
    let issuer = parts.get(2)?.1;
    let times = elements(parts.get(3)?.1);
    let time = |at: usize| times.get(at).and_then(|(tag, text)| moment(*tag, text));
    let extensions = parts.iter().find(|(tag, _)| *tag == 0xa3);
    Some(Facts {
        not_before: time(0)?,
        not_after: time(1)?,
        issuer: common_name(issuer),
        hosts: extensions.map(|(_, content)| hosts(content)).unwrap_or_default(),
    })
}

/// `YYMMDDHHMMSSZ`, or with four digits of the year.
fn moment(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let whole = match tag {
        UTC_TIME => {
            let year: u32 = text.get(..2)?.parse().ok()?;
            format!("{}{text}", if year < 50 { "20" } else { "19" })
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| whole.get(from..to);
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    );
    iso.parse().ok()
}

fn common_name(name: &[u8]) -> String {
    let attributes = elements(name)
        .into_iter()
        .flat_map(|(_, set)| elements(set))
        .map(|(_, attribute)| elements(attribute));
    for attribute in attributes {
        if let [(_, kind), (_, text), ..] = attribute[..]
            && kind == COMMON_NAME
        {
            return String::from_utf8_lossy(text).into_owned();
        }
    }
    String::new()
}

fn hosts(extensions: &[u8]) -> Vec<String> {
    let list = elements(extensions)
        .into_iter()
        .flat_map(|(_, list)| elements(list));
    for (_, extension) in list {
        let parts = elements(extension);
        if parts.first().is_none_or(|(_, kind)| *kind != ALTERNATIVE_NAMES) {
            continue;
        }
        let Some((_, octets)) = parts.last() else { continue };
        let Some(((_, names), _)) = element(octets) else {
            continue;
        };
        return elements(names).into_iter().filter_map(host).collect();
    }
    Vec::new()
}

fn host((tag, bytes): Element<'_>) -> Option<String> {
    match (tag, bytes.len()) {
        (0x82, _) => Some(String::from_utf8_lossy(bytes).into_owned()),
        (0x87, 4) => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        (0x87, 16) => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read() {
        let names = ["localhost", "*.example.org", "127.0.0.1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "me");
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2051, 3, 4);
        let key = rcgen::KeyPair::generate().unwrap();
        let facts = facts(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(facts.hosts, ["localhost", "*.example.org", "127.0.0.1"]);
        assert_eq!(facts.issuer, "me");
        assert_eq!(facts.not_before.to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(facts.not_after.to_string(), "2051-03-04T00:00:00Z");
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert!(facts(b"").is_none() && facts(&[0x30, 0x84, 0xff]).is_none() && facts(b"hello").is_none());
    }
}
