//! TLS as a caller speaks it: whose certificates are believed, and what is shown to who asks for one.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use arc_swap::ArcSwap;
use berth_core::{
    address,
    error::{Code, Error},
};
use tokio::{io::AsyncBufRead as _, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ProtocolVersion, SignatureScheme,
        client::{ResolvesClientCert, Resumption},
        crypto::ring,
        pki_types::ServerName,
        sign::CertifiedKey,
    },
};

use super::{
    fault::Refused,
    files::{Look, TlsFiles, Watch, roots, stamp, warn_of_readers},
};

/// How long the other end may take to judge the certificate it asked for. One that has not refused by then would end the
/// connection later, as any that breaks.
const JUDGED: Duration = Duration::from_secs(1);

/// Where those who are believed are, and the certificate that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFiles {
    /// The authority whose certificates are believed, in PEM; several while one takes another's place.
    pub ca: PathBuf,
    /// What is shown to who asks for a certificate.
    pub own: Option<TlsFiles>,
}

/// Those whose certificates are believed: an authority's own, or an end's when it signed itself. Cheap to clone.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    ca: PathBuf,
    current: ArcSwap<Current>,
}

/// What the files held when they were last looked at.
struct Current {
    config: ClientConfig,
    own: Option<Arc<CertifiedKey>>,
}

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Shows a certificate, and remembers that one was asked for.
struct Shown {
    own: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

// === impl TrustFiles ===

impl TrustFiles {
    fn load(&self) -> Result<Current, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Code::Internal, "no version of TLS can be spoken").why(error.to_string()))?;
        let mut config = builder.with_root_certificates(roots(&self.ca)?).with_no_client_auth();
        // Each connection is judged anew, by both ends.
        config.resumption = Resumption::disabled();
        let own = self.own.as_ref().map(TlsFiles::load).transpose()?.map(Arc::new);
        if let Some(own) = &self.own {
            warn_of_readers(&own.key);
        }
        Ok(Current { config, own })
    }
}

// === impl Trust ===

impl Trust {
    /// Reads the certificates of who is believed from a PEM file.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), berth_core::error::Error> {
    /// use berth_proto::tls::Trust;
    ///
    /// let trust = Trust::read("/etc/berth/ca.pem".as_ref())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(ca: &Path) -> Result<Self, Error> {
        Self::open(&TrustFiles { ca: ca.to_owned(), own: None })
    }

    /// Reads the files once.
    pub fn open(files: &TrustFiles) -> Result<Self, Error> {
        Ok(Self(Arc::new(Inner { ca: files.ca.clone(), current: ArcSwap::from_pointee(files.load()?) })))
    }

    /// Reads the files and watches them from then on. `what` is for the log.
    pub fn watch(files: &TrustFiles, what: &'static str) -> Result<(Self, Watch), Error> {
        let own = files.own.iter().flat_map(|own| [&own.cert, &own.key]);
        let looked: Vec<_> = std::iter::once(&files.ca).chain(own).cloned().collect();
        let seen = stamp(&looked);
        let trust = Self::open(files)?;
        let (inner, files) = (trust.0.clone(), files.clone());
        let renew = Box::new(move || {
            inner.current.store(Arc::new(files.load()?));
            Ok(())
        });
        let watch = Watch::start(Look { files: looked, seen, what, renew })?;
        Ok((trust, watch))
    }

    /// Returns the file of those who are believed.
    pub fn ca(&self) -> &Path {
        &self.0.ca
    }

    /// Agrees on keys with who answers at `authority` (`HOST:PORT`), which has to show that it is the one of this address.
    ///
    /// Who calls is done with TLS 1.3 before it is believed, so an end that asked for a certificate is heard first: what it
    /// refuses is a connection that could not be opened, and no call is lost on it.
    pub async fn connect(
        &self,
        authority: &str,
        stream: TcpStream,
        inside: Inside,
    ) -> io::Result<TlsStream<TcpStream>> {
        let current = self.0.current.load_full();
        let name = ServerName::try_from(address::host(authority).to_owned()).map_err(io::Error::other)?;
        let shown = Arc::new(Shown { own: current.own.clone(), asked: AtomicBool::new(false) });
        let mut config = current.config.clone();
        config.client_auth_cert_resolver = shown.clone();
        config.alpn_protocols = vec![if inside == Inside::Http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let agreed = async {
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            if shown.asked.load(Ordering::Relaxed) {
                tokio::time::timeout(JUDGED, judged(&mut stream)).await.unwrap_or(Ok(()))?;
            }
            Ok(stream)
        };
        agreed.await.map_err(|error: io::Error| {
            let asked = shown.asked.load(Ordering::Relaxed);
            Refused { authority, ca: &self.0.ca, asked, showed: shown.own.is_some() }.explain(error)
        })
    }
}

/// Waits until the other end has said something, which it does not before it has judged who calls. A ticket for a later
/// connection is a word too, and the first one of most.
async fn judged(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    std::future::poll_fn(|context| match Pin::new(&mut *stream).poll_fill_buf(context) {
        Poll::Ready(Ok([])) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => {
            let (_, connection) = stream.get_ref();
            let is_done = connection.protocol_version() != Some(ProtocolVersion::TLSv1_3)
                || connection.tls13_tickets_received() > 0;
            if is_done { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    })
    .await
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

// === impl Shown ===

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;
    use tokio::net::TcpListener;

    use super::{
        super::server::{Server, ServerFiles},
        *,
    };

    /// The limit of the wait is for ends that never say a word. Ours says one: without it this would wait for ever.
    #[tokio::test]
    async fn who_is_believed_hears_so_without_a_word_and_waits_for_no_clock() {
        let dir = TempDir::new().expect("a folder");
        let own = TlsFiles { cert: dir.path().join("own.pem"), key: dir.path().join("own.key") };
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        std::fs::write(&own.cert, params.self_signed(&key).expect("a certificate").pem()).expect("written");
        std::fs::write(&own.key, key.serialize_pem()).expect("written");
        let files = ServerFiles { own: own.clone(), client_ca: Some(own.cert.clone()) };
        let (server, _watch) = Server::open(&files, "in a test").expect("files that fit");
        let trust = Trust::open(&TrustFiles { ca: own.cert.clone(), own: Some(own) }).expect("files that fit");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepted");
            let _silent = server.accept(stream).await.expect("let in");
            std::future::pending::<()>().await;
        });
        let stream = TcpStream::connect(address).await.expect("a connection");
        let connected = trust.connect(&format!("localhost:{}", address.port()), stream, Inside::Http2).await;
        let mut stream = connected.expect("believed");
        let heard = tokio::time::timeout(std::time::Duration::from_secs(30), judged(&mut stream)).await;
        heard.expect("a ticket came").expect("it was let in");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
}
