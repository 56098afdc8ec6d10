//! The frame: length of the message, length of the body (both 32 bits, big-endian), the message as JSON, the body.

use std::io::Read;

use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PART;

/// Bytes before the message.
pub const HEAD: usize = 8;
/// A message is a slice of a list at most.
pub const LONGEST_MESSAGE: usize = 4 << 20;
/// A body is one part; zlib may add a little to what cannot be compressed.
pub const LONGEST_BODY: usize = PART + 4096;
/// Below this, compression saves less than it costs.
const WORTH_COMPRESSING: usize = 4096;

/// Why a frame cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection ended or failed.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// A length that no frame has: the other side speaks something else.
    #[error("a frame of {message} + {body} bytes: not vadev's protocol")]
    TooLong {
        /// Announced length of the message.
        message: usize,
        /// Announced length of the body.
        body: usize,
    },
    /// A message that this side does not know.
    #[error("unknown message: {0}")]
    Message(#[from] serde_json::Error),
    /// A body that cannot be unpacked, or unpacks to more than a part.
    #[error("body cannot be unpacked: {0}")]
    Body(String),
}

/// The lengths of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Of the JSON.
    pub message: usize,
    /// Of what follows it.
    pub body: usize,
}

impl Lengths {
    /// Reads the first bytes of a frame; refuses lengths that would need unreasonable memory.
    pub fn parse(head: [u8; HEAD]) -> Result<Self, Error> {
        let [m0, m1, m2, m3, b0, b1, b2, b3] = head;
        // Both fit: usize has at least 32 bits on every platform that runs containers.
        let message = u32::from_be_bytes([m0, m1, m2, m3]) as usize;
        let body = u32::from_be_bytes([b0, b1, b2, b3]) as usize;
        if message > LONGEST_MESSAGE || body > LONGEST_BODY {
            return Err(Error::TooLong { message, body });
        }
        Ok(Self { message, body })
    }
}

/// Appends a frame to `out`.
pub fn encode<M: Serialize>(message: &M, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let json = serde_json::to_vec(message)?;
    let too_long = Error::TooLong {
        message: json.len(),
        body: body.len(),
    };
    if json.len() > LONGEST_MESSAGE || body.len() > LONGEST_BODY {
        return Err(too_long);
    }
    let (Ok(first), Ok(second)) = (u32::try_from(json.len()), u32::try_from(body.len())) else {
        return Err(too_long);
    };
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&second.to_be_bytes());
    out.extend_from_slice(&json);
    out.extend_from_slice(body);
    Ok(())
}

/// Reads one frame, blocking. `None` when the other side closed between two frames.
pub fn read<M: DeserializeOwned>(source: &mut impl Read) -> Result<Option<(M, Vec<u8>)>, Error> {
    let mut head = [0u8; HEAD];
    if source.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    source.read_exact(&mut head[1..])?;
    let lengths = Lengths::parse(head)?;
    let mut json = vec![0u8; lengths.message];
    source.read_exact(&mut json)?;
    let mut body = vec![0u8; lengths.body];
    source.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&json)?, body)))
}

/// Packs a part where that saves something; `None` where it does not.
pub fn deflate(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() < WORTH_COMPRESSING {
        return None;
    }
    let mut packed = Vec::with_capacity(raw.len() / 2);
    // Reading from memory cannot fail; if it did, the raw bytes are as good.
    ZlibEncoder::new(raw, Compression::fast())
        .read_to_end(&mut packed)
        .ok()?;
    (packed.len() < raw.len() * 9 / 10).then_some(packed)
}

/// Unpacks a part; never gives more than a part, whatever was packed.
pub fn inflate(packed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut raw = Vec::new();
    let limit = PART as u64 + 1;
    ZlibDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut raw)
        .map_err(|e| Error::Body(e.to_string()))?;
    if raw.len() > PART {
        return Err(Error::Body(format!("more than {PART} bytes")));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Part, Reply, Request};
    use super::*;

    #[test]
    fn a_bomb_stays_small() {
        let mut bomb = Vec::new();
        ZlibEncoder::new(std::io::repeat(0).take(100 << 20), Compression::best())
            .read_to_end(&mut bomb)
            .unwrap();
        assert!(matches!(inflate(&bomb), Err(Error::Body(_))));
    }

    #[test]
    fn closed_is_not_cut() {
        assert!(read::<Request>(&mut [].as_slice()).unwrap().is_none());
        assert!(matches!(
            read::<Request>(&mut [0u8; 3].as_slice()),
            Err(Error::Io(_))
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read::<Request>(&mut bytes.as_slice());
            let _ = read::<Reply>(&mut bytes.as_slice());
            let _ = inflate(&bytes);
        }

        #[test]
        fn arbitrary_json_never_panics(json in ".{0,200}", body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&u32::try_from(json.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(json.as_bytes());
            bytes.extend_from_slice(&body);
            let _ = read::<Request>(&mut bytes.as_slice());
        }

        #[test]
        fn frames_come_back(path in ".{0,80}", mode in 0u32..0o1000, body in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let part = Part { deflated: false, end: Some("x".into()) };
            let sent = Request::Write { path, mode, link: None, part };
            let mut bytes = Vec::new();
            encode(&sent, &body, &mut bytes).unwrap();
            encode(&Request::Abort, &[], &mut bytes).unwrap();
            let mut source = bytes.as_slice();
            prop_assert_eq!(read::<Request>(&mut source).unwrap(), Some((sent, body)));
            prop_assert_eq!(read::<Request>(&mut source).unwrap(), Some((Request::Abort, vec![])));
            prop_assert!(read::<Request>(&mut source).unwrap().is_none());
        }

        #[test]
        fn packing_loses_nothing(raw in proptest::collection::vec(0u8..4, 4096..9000)) {
            prop_assert_eq!(inflate(&deflate(&raw).unwrap()).unwrap(), raw);
        }
    }
}
