//! A layer's tar, put together again from the folder where Docker keeps its files unpacked and from the record of
//! everything else (headers, padding, order) that Docker keeps beside it, the same way as `docker save` does, byte for
//! byte. Reading one layer so costs nothing for the others, while an export through the API always writes them all.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;

/// One line of the record.
#[derive(serde::Deserialize)]
struct Entry {
    /// 1: a file's content; 2: bytes as they are.
    #[serde(rename = "type")]
    kind: u8,
    name: Option<String>,
    /// Of a file whose name is not UTF-8, in base64.
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    /// Base64: the bytes, or a file's checksum.
    payload: Option<String>,
}

/// A layer as Docker keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assembly {
    /// `tar-split.json.gz` of the layer.
    pub record: PathBuf,
    /// The folder of its files.
    pub files: PathBuf,
}

impl Assembly {
    /// Bytes of the tar.
    pub(super) fn size(&self) -> io::Result<u64> {
        let mut size = 0;
        self.each(|entry| {
            size += if entry.kind == 2 {
                decoded_len(entry.payload.as_deref().unwrap_or_default())
            } else {
                entry.size
            };
            Ok(())
        })?;
        Ok(size)
    }

    /// Writes the tar. A file that is not as the record says is an error: the digest could not be right.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.each(|entry| {
            if entry.kind == 2 {
                return out.write_all(&decode(entry.payload.as_deref().unwrap_or_default())?);
            }
            if entry.size == 0 {
                return Ok(());
            }
            let path = self.files.join(inside(&name(&entry)?)?);
            let mut file = File::open(&path)?.take(entry.size);
            let copied = io::copy(&mut file, out)?;
            if copied == entry.size {
                Ok(())
            } else {
                Err(wrong("a file is shorter than its record says"))
            }
        })
    }

    fn each(&self, mut take: impl FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        let mut text = Vec::new();
        GzDecoder::new(BufReader::new(File::open(&self.record)?)).read_to_end(&mut text)?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: Entry = serde_json::from_slice(line).map_err(io::Error::other)?;
            if !matches!(entry.kind, 1 | 2) {
                return Err(wrong("the layer's record has an entry of an unknown type"));
            }
            take(entry)?;
        }
        Ok(())
    }
}

fn wrong(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn name(entry: &Entry) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    match (&entry.name, &entry.name_raw) {
        (_, Some(raw)) => Ok(std::ffi::OsString::from_vec(decode(raw)?).into()),
        (Some(name), None) => Ok(name.into()),
        (None, None) => Err(wrong("the layer's record has a file without a name")),
    }
}

/// Never leads out of the layer's folder.
fn inside(name: &Path) -> io::Result<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(wrong("a file's name leads out of its layer"));
            }
        }
    }
    Ok(path)
}

fn decoded_len(text: &str) -> u64 {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3 - padding.min(2)) as u64
}

/// Standard base64 with padding.
fn decode(text: &str) -> io::Result<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Ok(byte - b'A'),
        b'a'..=b'z' => Ok(byte - b'a' + 26),
        b'0'..=b'9' => Ok(byte - b'0' + 52),
        b'+' => Ok(62),
        b'/' => Ok(63),
        _ => Err(wrong("the layer's record has bad base64")),
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        if group.len() == 1 {
            return Err(wrong("the layer's record has bad base64"));
        }
        let mut bits = 0u32;
        for byte in group {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembly(folder: &Path, lines: &str) -> Assembly {
        let record = folder.join("tar-split.json.gz");
        let mut gzip =
            flate2::write::GzEncoder::new(File::create(&record).unwrap(), flate2::Compression::fast());
        gzip.write_all(lines.as_bytes()).unwrap();
        gzip.finish().unwrap();
        Assembly {
            record,
            files: folder.to_owned(),
        }
    }

    #[test]
    fn bytes_and_files_are_put_together_in_order() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "file").unwrap();
        let lines = "{\"type\":2,\"payload\":\"aGVhZA==\",\"position\":0}\n\
                     {\"type\":1,\"name\":\"./a.txt\",\"size\":4,\"payload\":\"AAA=\",\"position\":1}\n\
                     {\"type\":1,\"name\":\"empty\",\"payload\":null,\"position\":2}\n\
                     {\"type\":2,\"payload\":\"dGFpbA==\",\"position\":3}\n";
        let layer = assembly(folder.path(), lines);
        let mut out = Vec::new();
        layer.write(&mut out).unwrap();
        assert_eq!(out, b"headfiletail");
        assert_eq!(layer.size().unwrap(), 12);
    }

    #[test]
    fn a_changed_file_and_a_way_out_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "12").unwrap();
        for name in ["a", "../a"] {
            let line = format!("{{\"type\":1,\"name\":\"{name}\",\"size\":4}}\n");
            assert!(assembly(folder.path(), &line).write(&mut Vec::new()).is_err());
        }
    }

    #[test]
    fn base64_is_read_as_it_is_written() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("AA==", b"\0"),
            ("+/8=", b"\xfb\xff"),
            ("AQID", b"\x01\x02\x03"),
        ] {
            assert_eq!(decode(text).unwrap(), bytes);
            assert_eq!(decoded_len(text), bytes.len() as u64);
        }
        assert!(decode("A").is_err() && decode("a b=").is_err());
    }
}
