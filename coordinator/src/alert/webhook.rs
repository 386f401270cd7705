//! Tells a webhook: one POST on a connection of its own, with a deadline over all of it.
//!
//! Alerts are rare; a pool of connections would only hold some that are dead when they are needed.

use std::{fmt, sync::Arc};

use berth_core::error::{Code, Error};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::words::Message;

/// A receiver answers within this or is tried again later.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is read of an answer nobody waits for.
const ANSWER_BYTES: usize = 4_096;

/// Calls webhooks.
pub(super) struct Caller {
    /// Absent while no receiver is reached over TLS.
    tls: Option<TlsConnector>,
}

// === impl Caller ===

impl Caller {
    /// Reads the host's roots of trust if anybody is reached over TLS.
    pub(super) fn new(needs_tls: bool) -> Result<Self, Error> {
        if !needs_tls {
            return Ok(Self { tls: None });
        }
        let wrong = |why: String| {
            Error::new(Code::Certificate, "webhooks over TLS cannot be called")
                .why(why)
                .try_("install the host's root certificates (`ca-certificates`), or use http:// on this host")
        };
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map_or_else(|| "no root is trusted here".to_owned(), ToString::to_string);
            return Err(wrong(why));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// Posts a message; it is taken when the answer is 2xx. What is said of a failure does not hold the URL: it may be a
    /// secret.
    pub(super) async fn post(&self, url: &Uri, message: &Message) -> Result<(), String> {
        timeout(DEADLINE, self.call(url, message))
            .await
            .unwrap_or_else(|_| Err(format!("it did not answer within {DEADLINE:?}")))
    }

    async fn call(&self, url: &Uri, message: &Message) -> Result<(), String> {
        let host = url.host().unwrap_or_default();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream =
            TcpStream::connect((name, port)).await.map_err(|error| format!("it cannot be reached: {error}"))?;
        let request = Request::post(url.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, url.authority().map_or(host, |authority| authority.as_str()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", &message.id)
            .body(Full::new(Bytes::from(message.body.clone())))
            .map_err(|error| error.to_string())?;
        match &self.tls {
            Some(tls) if is_tls => {
                let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
                let stream = tls.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
                exchange(stream, request).await
            }
            Some(_) | None if !is_tls => exchange(stream, request).await,
            Some(_) | None => Err("it is reached over TLS, and this coordinator was not told so".to_owned()),
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller(tls={})", self.tls.is_some())
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(), String> {
    let failed = |error: hyper::Error| format!("it broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut connection = std::pin::pin!(connection);
    let answer = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        // Why it refused, for the log; an answer that is longer is cut.
        let said = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let said = said.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        if status.is_success() {
            return Ok(());
        }
        let said: String = said.lines().next().unwrap_or_default().chars().take(200).collect();
        Err(format!("it answered {status} {said}").trim_end().to_owned())
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answered = &mut answer => answered,
        // The connection may end with the answer still in hand.
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(failed(error)),
        },
    }
}
