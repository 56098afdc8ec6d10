//! Redis: AUTH where a password is given, then PING.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::super::config::Dependency;

pub async fn check(stream: TcpStream, dependency: &Dependency) -> Result<String, String> {
    let mut stream = BufReader::new(stream);
    if let Some(secret) = &dependency.secret {
        let mut words = vec!["AUTH"];
        words.extend(dependency.user.as_deref());
        words.push(secret.reveal());
        let reply = ask(&mut stream, &words).await?;
        if !reply.starts_with('+') {
            return Err(format!("AUTH refused: {reply}"));
        }
    }
    match ask(&mut stream, &["PING"]).await?.as_str() {
        "+PONG" => Ok("PONG".into()),
        reply => Err(format!("PING refused: {reply}")),
    }
}

async fn ask(stream: &mut BufReader<TcpStream>, words: &[&str]) -> Result<String, String> {
    stream
        .get_mut()
        .write_all(&request(words))
        .await
        .map_err(|e| e.to_string())?;
    let mut line = String::new();
    // Replies to AUTH and PING are one short line; anything longer is not Redis.
    stream
        .take(512)
        .read_line(&mut line)
        .await
        .map_err(|e| e.to_string())?;
    if line.ends_with("\r\n") {
        Ok(line.trim_end().to_owned())
    } else {
        Err("strange answer, not Redis".into())
    }
}

/// An array of bulk strings: any byte may be in a password.
fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_bytes_not_letters() {
        assert_eq!(
            super::request(&["AUTH", "pä"]),
            "*2\r\n$4\r\nAUTH\r\n$3\r\npä\r\n".as_bytes()
        );
    }
}
