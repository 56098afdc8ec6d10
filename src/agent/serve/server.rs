//! The HTTP server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{Config, Error};

/// Listens on every address, IPv6 and IPv4; on IPv4 alone where the kernel has no IPv6.
pub async fn listen(port: u16) -> Result<TcpListener, Error> {
    match TcpListener::bind(("::", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port))
            .await
            .map_err(|source| Error::Listen { port, source }),
    }
}

/// Serves connections for ever.
pub async fn accept(listener: TcpListener, config: Config) {
    let config = Arc::new(config);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: give the open connections time to end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let config = config.clone();
        tokio::spawn(async move {
            let handler = service_fn(move |request| answer(request, config.clone()));
            // An error here is the client's connection ending; there is nobody left to tell.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    config: Arc<Config>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/health" | "/api/v1/health" | "/ready" => (
            StatusCode::OK,
            serde_json::json!({"status": "ok", "service": config.service, "stand-in": true}),
        ),
        path => (
            StatusCode::NOT_FOUND,
            serde_json::json!({"error": format!("no such path: {path}")}),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// The status of `GET /health`.
pub async fn status_of(address: SocketAddr) -> Result<StatusCode, String> {
    let work = async {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        let request = Request::get("/health")
            .header(hyper::header::HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        sender
            .send_request(request)
            .await
            .map(|answer| answer.status())
            .map_err(|e| e.to_string())
    };
    tokio::time::timeout(Duration::from_secs(2), work)
        .await
        .map_err(|_| "no answer within 2 s".to_string())?
}
