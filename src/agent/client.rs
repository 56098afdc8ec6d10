//! A small HTTP client: one request a connection, bounded in time by the caller and in size here.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// No answer that the stand-in asks for is longer.
const LONGEST_ANSWER: usize = 256 * 1024;

/// `GET url` with `headers`: the status and the body, or a phrase that says what failed.
pub async fn get(url: &str, headers: HeaderMap) -> Result<(StatusCode, Bytes), String> {
    let uri: Uri = url.parse().map_err(|e| format!("bad address {url}: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("bad address {url}: only http:// is spoken here"));
    }
    let host = uri.host().ok_or_else(|| format!("bad address {url}: no host"))?;
    let stream = connect(host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let task = AbortOnDrop(tokio::spawn(async move {
        // Its errors reach the request below.
        let _ = connection.await;
    }));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path)
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    *request.headers_mut() = headers;
    let authority = uri.authority().map_or(host, |a| a.as_str());
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(authority).map_err(|e| e.to_string())?);
    let answer = sender
        .send_request(request)
        .await
        .map_err(|e| format!("no answer: {e}"))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER)
        .collect()
        .await
        .map_err(|e| format!("answer cut: {e}"))?;
    drop(task);
    Ok((status, body.to_bytes()))
}

/// Opens a connection, trying each address of the name.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|e| format!("{host}:{port}: {e}"))?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(stream)
}

/// A caller that gives up (its time ran out) must not leave the connection behind.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
