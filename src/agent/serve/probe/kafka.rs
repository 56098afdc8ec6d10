//! Kafka: an `ApiVersions` request of version 0, which every broker answers before any login.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Header (API key 18, version 0, correlation ID 1, client "vadev") with its length before it; the body is empty.
const REQUEST: &[u8] = b"\0\0\0\x0f\0\x12\0\0\0\0\0\x01\0\x05vadev";

pub async fn check(mut stream: TcpStream) -> Result<String, String> {
    stream.write_all(REQUEST).await.map_err(|e| e.to_string())?;
    // Length, correlation ID, error code, number of APIs.
    let mut head = [0u8; 14];
    stream
        .read_exact(&mut head)
        .await
        .map_err(|e| format!("answer cut: {e}"))?;
    answer(head)
}

fn answer(head: [u8; 14]) -> Result<String, String> {
    let [_, _, _, _, c0, c1, c2, c3, e0, e1, n0, n1, n2, n3] = head;
    if u32::from_be_bytes([c0, c1, c2, c3]) != 1 {
        return Err("strange answer, not Kafka".into());
    }
    match i16::from_be_bytes([e0, e1]) {
        0 => Ok(format!(
            "broker offers {} APIs",
            u32::from_be_bytes([n0, n1, n2, n3])
        )),
        code => Err(format!("broker answered error {code}")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn length_matches() {
        assert_eq!(super::REQUEST.len() - 4, 15);
    }

    #[test]
    fn reads_answers() {
        assert_eq!(
            super::answer(*b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\x3c").unwrap(),
            "broker offers 60 APIs"
        );
        assert!(super::answer(*b"HTTP/1.1 400 B").is_err());
    }
}
