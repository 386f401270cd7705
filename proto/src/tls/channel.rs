//! Connections of gRPC, over TLS where the address says so.

use std::{io, time::Duration};

use berth_core::error::{Code, Error};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service as _;

use super::trust::{Inside, Trust};

/// What a connector may fail with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns a connection that is opened when it is first used: over TLS for `https://`, and then with who believes nobody
/// not at all.
pub fn channel(endpoint: &Endpoint, trust: Option<&Trust>) -> Channel {
    if endpoint.uri().scheme_str() != Some("https") {
        return endpoint.connect_lazy();
    }
    let trust = trust.cloned();
    let within = endpoint.get_connect_timeout().unwrap_or(Duration::MAX);
    // The library's own deadline lies around the connector: what it ends would not be told from a call that was lost.
    endpoint.clone().connect_timeout(Duration::MAX).connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
        let trust = trust.clone();
        async move {
            let late = |_| {
                let why = format!("no connection within {} ms", within.as_millis());
                Err(io::Error::new(io::ErrorKind::TimedOut, why).into())
            };
            tokio::time::timeout(within, connect(&uri, trust)).await.unwrap_or_else(late)
        }
    }))
}

async fn connect(uri: &Uri, trust: Option<Trust>) -> Result<TokioIo<TlsStream<TcpStream>>, BoxError> {
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let trust = trust.ok_or_else(|| {
        Error::new(Code::Tls, format!("{authority} is called over TLS, and nobody is believed"))
            .try_("name the PEM file of the authority that signed its certificate: --ca FILE")
    })?;
    // As the library connects without TLS: of a name with addresses of both families the slow one is not waited for
    // (Happy Eyeballs, RFC 6555).
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Small calls must not wait for an acknowledgement.
    tcp.set_nodelay(true);
    let stream = tcp.call(uri.clone()).await?.into_inner();
    Ok(TokioIo::new(trust.connect(authority, stream, Inside::Http2).await?))
}
