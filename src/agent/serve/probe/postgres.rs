//! `PostgreSQL`: the start-up message, and the login where a password is given, so that a wrong password shows here and
//! not first in the real service.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::config::Dependency;
use crate::agent::scram;

/// Protocol 3.0.
const PROTOCOL: u32 = 196_608;
/// No message of the handshake is longer.
const LONGEST: usize = 16 * 1024;
/// Sent before closing, so that the server's log shows no broken connection.
const TERMINATE: &[u8] = b"X\0\0\0\x04";

pub async fn check(mut stream: TcpStream, dependency: &Dependency) -> Result<String, String> {
    let user = dependency.user.as_deref().unwrap_or("postgres");
    let database = dependency.database.as_deref().unwrap_or(user);
    send(&mut stream, &startup(user, database)).await?;
    let mut scram: Option<scram::Client> = None;
    loop {
        let (kind, body) = receive(&mut stream).await?;
        let Some(secret) = &dependency.secret else {
            return match kind {
                b'R' => Ok("asks for a login".into()),
                _ => Err(refusal(kind, &body)),
            };
        };
        if kind != b'R' {
            return Err(refusal(kind, &body));
        }
        let (code, rest) = body
            .split_first_chunk::<4>()
            .ok_or("strange answer, not PostgreSQL")?;
        match u32::from_be_bytes(*code) {
            0 => {
                // The login stands; the server may already be gone, which changes nothing.
                let _ = stream.write_all(TERMINATE).await;
                return Ok(format!("logged in as {user}"));
            }
            3 => {
                let mut password = secret.reveal().as_bytes().to_vec();
                password.push(0);
                send(&mut stream, &message(&password)).await?;
            }
            10 => {
                let client = scram::Client::new(secret.reveal());
                let first = client.first();
                let mut body = b"SCRAM-SHA-256\0".to_vec();
                body.extend_from_slice(
                    &u32::try_from(first.len())
                        .map_err(|e| e.to_string())?
                        .to_be_bytes(),
                );
                body.extend_from_slice(first.as_bytes());
                send(&mut stream, &message(&body)).await?;
                scram = Some(client);
            }
            11 => {
                let challenge = str::from_utf8(rest).map_err(|e| e.to_string())?;
                let client = scram.as_mut().ok_or("login out of order")?;
                let reply = client.reply(challenge)?;
                send(&mut stream, &message(reply.as_bytes())).await?;
            }
            12 => {
                let proof = str::from_utf8(rest).map_err(|e| e.to_string())?;
                scram.as_ref().ok_or("login out of order")?.verify(proof)?;
            }
            // An older way to log in: that the server asks for it is answer enough.
            code => return Ok(format!("asks for a login (method {code})")),
        }
    }
}

fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for word in [
        "user",
        user,
        "database",
        database,
        "application_name",
        "vadev-agent",
    ] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    with_length(&body)
}

/// A message of the password family.
fn message(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'p'];
    bytes.extend_from_slice(&with_length(body));
    bytes
}

/// The length counts itself.
fn with_length(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len() + 4)
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(body);
    bytes
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(|e| e.to_string())
}

async fn receive(stream: &mut TcpStream) -> Result<(u8, Vec<u8>), String> {
    let mut head = [0u8; 5];
    stream
        .read_exact(&mut head)
        .await
        .map_err(|e| format!("answer cut: {e}"))?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|e| e.to_string())?;
    if !(4..=LONGEST).contains(&length) {
        return Err("strange answer, not PostgreSQL".into());
    }
    let mut body = vec![0u8; length - 4];
    stream
        .read_exact(&mut body)
        .await
        .map_err(|e| format!("answer cut: {e}"))?;
    Ok((kind, body))
}

/// The server's own words: fields of an error are a letter and a text each, `M` is the message.
fn refusal(kind: u8, body: &[u8]) -> String {
    if kind != b'E' {
        return "strange answer, not PostgreSQL".into();
    }
    let message = body
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"));
    message.map_or("refused".into(), |text| {
        String::from_utf8_lossy(text).into_owned()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn startup_is_as_documented() {
        let bytes = super::startup("u", "d");
        assert_eq!(usize::from(bytes[3]), bytes.len());
        assert_eq!(&bytes[4..8], [0, 3, 0, 0]);
        assert!(bytes[8..].starts_with(b"user\0u\0database\0d\0"));
        assert!(bytes.ends_with(b"\0\0"));
    }

    #[test]
    fn shows_the_servers_words() {
        let body = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0";
        assert_eq!(super::refusal(b'E', body), "the database system is starting up");
    }
}
