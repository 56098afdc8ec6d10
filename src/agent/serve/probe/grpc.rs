//! A gRPC server: a health question, which must come back with an answer of its own. A connection alone says nothing, and
//! neither does the greeting of HTTP/2: to a port of this kind it is the sidecar that answers both.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// An empty `grpc.health.v1.HealthCheckRequest`: not compressed, no bytes.
const QUESTION: &[u8] = &[0; 5];

/// An answer to it is a few bytes; what is longer is none.
const LONGEST_ANSWER: usize = 16 * 1024;

/// What a proxy says for a server that it can't reach.
const UNAVAILABLE: &str = "14";

/// Asks over a connection to `authority`.
pub async fn check(stream: TcpStream, authority: &str) -> Result<String, String> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
    let request = Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(Bytes::from_static(QUESTION)))
        .map_err(|e| e.to_string())?;
    let ask = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|e| format!("no answer: {e}"))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER)
            .collect()
            .await
            .map_err(|e| format!("answer cut: {e}"))?;
        // An answer without a message has its status in the head.
        let end = body.trailers().unwrap_or(&head.headers);
        answered(head.status, end)
    };
    // The connection is driven here, so that it ends with the question.
    tokio::select! {
        told = ask => told,
        ended = connection => Err(ended.err().map_or("the connection was closed".to_owned(), |e| e.to_string())),
    }
}

/// Whatever status the server itself gives shows that it serves: not every server knows this service, and how healthy it is
/// is asked elsewhere. A proxy's own answers come without a message, or say that nobody is there.
fn answered(status: StatusCode, end: &HeaderMap) -> Result<String, String> {
    if status != StatusCode::OK {
        return Err(format!("answered {status}"));
    }
    let text = |name: &str| end.get(name).and_then(|value| value.to_str().ok());
    let said = text("grpc-message").unwrap_or_default();
    match text("grpc-status") {
        Some("0") => Ok("answers gRPC".into()),
        Some(code) if code != UNAVAILABLE && !said.is_empty() => {
            Ok(format!("answers gRPC, with status {code}"))
        }
        Some(code) => Err(format!("gRPC status {code} {said}").trim_end().to_owned()),
        None => Err("strange answer, not gRPC".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::Response;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    /// What is said of a server that answers every request with these headers.
    async fn told(headers: &'static [(&'static str, &'static str)]) -> Result<String, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let handler = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let mut response = Response::new(Full::new(Bytes::new()));
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                Ok::<_, Infallible>(response)
            });
            // The client's end is the end.
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), handler)
                .await;
        });
        let told = check(TcpStream::connect(address).await.unwrap(), &address.to_string()).await;
        serving.abort();
        told
    }

    #[tokio::test]
    async fn the_server_itself_must_have_answered() {
        assert!(told(&[("grpc-status", "0")]).await.is_ok());
        assert!(
            told(&[("grpc-status", "12"), ("grpc-message", "unknown service")])
                .await
                .is_ok()
        );
        // A sidecar that finds nobody behind it, and one that knows no such route.
        let nobody = told(&[("grpc-status", "14"), ("grpc-message", "no healthy upstream")]).await;
        assert_eq!(nobody, Err("gRPC status 14 no healthy upstream".into()));
        assert!(told(&[("grpc-status", "12")]).await.is_err());
        assert!(told(&[]).await.is_err());
    }

    #[tokio::test]
    async fn a_port_that_only_accepts_does_not_work() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { drop(listener.accept().await) });
        let stream = TcpStream::connect(address).await.unwrap();
        assert!(check(stream, "milvus").await.is_err());
    }
}
