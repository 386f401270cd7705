//! A node's `/metrics` and `/healthz`, on a port of their own: what a monitoring system reads never shares a listener
//! with callers.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use berth_core::error::{Code, Error};
use berth_node::NodeHandle;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};

/// A reader that has not sent its request by then is not a monitoring system.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The type Prometheus asks for.
const TEXT: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Listens on `address` and serves until the process ends. Returns where it listens.
pub(crate) async fn serve(address: SocketAddr, insecure: bool, node: NodeHandle) -> Result<SocketAddr, Error> {
    if !address.ip().is_loopback() && !insecure {
        return Err(Error::new(Code::Insecure, format!("metrics would listen on {address}, beyond loopback"))
            .try_("listen on loopback, or pass `--insecure` on a network you trust"));
    }
    let cannot = |error: std::io::Error| {
        Error::new(Code::Unavailable, format!("metrics cannot listen on {address}")).why(error.to_string())
    };
    let listener = bind(address).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    tokio::spawn(async move {
        loop {
            // Out of file descriptors: the next reader may have more luck, and this loop must not spin.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(HEADER_TIMEOUT).await;
                continue;
            };
            let node = node.clone();
            let service = service_fn(move |request| {
                let answer = answer(&request, &node);
                async { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(async move {
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
                // A reader that broke off is not worth a line.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

/// Binds so that a process that takes over from this one may listen there as well, for as long as both run.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(16)
}

fn answer(request: &Request<Incoming>, node: &NodeHandle) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/metrics" => {
            let mut response = Response::new(Full::from(node.metrics_text()));
            response.headers_mut().insert(CONTENT_TYPE, TEXT);
            response
        }
        "/healthz" => Response::new(Full::from("ok\n")),
        _ => {
            let mut response = Response::new(Full::from("/metrics and /healthz are here\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
