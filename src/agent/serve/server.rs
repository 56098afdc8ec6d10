//! The HTTP server around the routes: faults before, metrics and the access log after each request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;

use super::Error;
use super::fault::Mode;
use super::routes::{Answer, Service};
use crate::agent::log;

/// A client that sends no complete request head in this time is cut off.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

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
pub async fn accept(listener: TcpListener, service: Service) {
    let service = Arc::new(service);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: give the open connections time to end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Only latency is lost when this fails.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            let handler = service_fn(move |request| observe(request, service.clone()));
            // An error here is the client's connection ending; there is nobody left to tell.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .serve_connection(TokioIo::new(stream), handler)
                .await;
        });
    }
}

/// A fault of mode `abort`: hyper closes the connection when a handler fails.
#[derive(Debug, thiserror::Error)]
#[error("connection aborted by a fault")]
struct Aborted;

async fn observe(
    request: Request<Incoming>,
    service: Arc<Service>,
) -> Result<Response<Full<Bytes>>, Aborted> {
    let start = Instant::now();
    let path = request.uri().path().to_owned();
    let method = label(request.method());
    let trace = trace_ids(request.headers());
    let fault = if path.starts_with("/_vadev/") {
        None
    } else {
        service.faults.hit(&path)
    };
    let answer = match &fault {
        Some(fault) if fault.mode == Mode::Abort => return Err(Aborted),
        Some(fault) if fault.mode == Mode::Fail => {
            let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let name = &service.config.service;
            Answer::Json(
                status,
                json!({"error": "fault asked for", "service": name, "stand-in": true}),
            )
        }
        delay => {
            if let Some(fault) = delay {
                tokio::time::sleep(Duration::from_millis(fault.millis)).await;
            }
            service.answer(request).await
        }
    };
    let response = respond(answer);
    let status = response.status().as_u16();
    let took = start.elapsed();
    service.metrics.count(service.route(&path), method, status, took);
    // Probes and scrapes come every few seconds; they would hide everything else.
    let routine = ["/health", "/ready", "/metrics"].contains(&service.meant(&path)) && status < 500;
    if !routine || service.config.verbose {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let level = if status >= 500 { "error" } else { "info" };
        let mut fields = json!({
            "service": service.config.service, "stand-in": true, "method": method, "path": path, "status": status,
            "micros": micros,
        });
        for (name, value) in trace {
            fields[name] = value.into();
        }
        log::line(level, "request", fields);
    }
    Ok(response)
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let (status, kind, body) = match answer {
        Answer::Json(status, value) => (status, "application/json", format!("{value}\n")),
        Answer::Metrics(text) => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert("x-vadev-stand-in", HeaderValue::from_static("true"));
    response
}

/// Methods are the client's to invent; labels are not.
fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// What joins a log line to a trace: the W3C or B3 trace ID, and the proxy's request ID.
fn trace_ids(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let w3c = text("traceparent").and_then(|value| value.split('-').nth(1));
    let b3 = text("x-b3-traceid").or_else(|| text("b3").and_then(|value| value.split('-').next()));
    let mut ids = Vec::new();
    ids.extend(w3c.or(b3).map(|id| ("traceId", id.to_owned())));
    ids.extend(text("x-request-id").map(|id| ("requestId", id.to_owned())));
    ids
}
