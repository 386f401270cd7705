//! TLS where callers connect: the certificate in force, and the watch over its files.
//!
//! A renewed certificate is for connections to come; those that are open go on with the one they began with. Files that
//! cannot be used, half written ones among them, change nothing: the certificate in force stays.

use std::{
    fmt,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use berth_core::error::{Code, Error};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};

use super::pem;

/// How often the files are looked at. Renewals come weeks before a certificate ends.
const LOOK: Duration = Duration::from_secs(2);

/// How long a caller may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a connection of TLS begins with: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// What a caller hears that speaks plain HTTP to a port of TLS.
const NOT_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 31\r\n\
    connection: close\r\n\r\nthis port speaks TLS: use https";

/// The protocols that are offered, the preferred one first.
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Where a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its issuer, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// TLS as the listeners of callers use it.
#[derive(Clone)]
pub(super) struct Tls(TlsAcceptor);

/// The certificate in force.
struct Current(ArcSwap<CertifiedKey>);

/// What files are: the same stamp, the same content.
pub(super) type Stamp = Vec<Option<(u64, i64, i64, u64)>>;

/// What is looked at, and what becomes of a change.
pub(super) struct Look {
    pub(super) files: Vec<PathBuf>,
    /// What they were when they were loaded.
    pub(super) seen: Stamp,
    /// For the log.
    pub(super) what: &'static str,
    pub(super) renew: Box<dyn FnMut() -> Result<(), Error> + Send>,
}

/// Looks at the files until it goes away.
pub(super) struct Watch {
    _stop: mpsc::Sender<()>,
}

// === impl TlsFiles ===

impl TlsFiles {
    /// Checks that the files hold a certificate and its key.
    pub fn check(&self) -> Result<(), Error> {
        self.load().map(drop)
    }

    fn load(&self) -> Result<CertifiedKey, Error> {
        let unusable = |what: &str, path: &Path, why: String, try_: &str| {
            Error::new(Code::Certificate, format!("the {what} `{}` cannot be used", path.display())).why(why).try_(try_)
        };
        let chain = pem::certificates(&self.cert).map_err(|why| {
            unusable("certificate", &self.cert, why, "name a PEM file that this user may read, the certificate first")
        })?;
        let key = pem::key(&self.key).map_err(|why| {
            let try_ = "name a PEM file that this user may read, with a private key without a passphrase";
            unusable("key", &self.key, why, try_)
        })?;
        // Which also finds a key that belongs to another certificate.
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
            let why = format!("with the key `{}`: {error}", self.key.display());
            unusable("certificate", &self.cert, why, "name a certificate and the key it was made for")
        })
    }
}

// === impl Tls ===

impl Tls {
    /// Loads the certificate and watches its files from then on.
    pub(super) fn open(files: &TlsFiles) -> Result<(Self, Watch), Error> {
        let looked = vec![files.cert.clone(), files.key.clone()];
        let seen = stamp(&looked);
        let current = Arc::new(Current(ArcSwap::from_pointee(files.load()?)));
        warn_of_readers(&files.key);
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Code::Internal, "no version of TLS can be spoken").why(error.to_string()))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = [H2, HTTP1].map(<[u8]>::to_vec).to_vec();
        let files = files.clone();
        let renew = Box::new(move || {
            current.0.store(Arc::new(files.load()?));
            warn_of_readers(&files.key);
            Ok(())
        });
        let watch = Watch::start(Look { files: looked, seen, what: "to callers", renew })
            .map_err(|error| Error::new(Code::Internal, "no thread to watch a certificate").why(error.to_string()))?;
        Ok((Self(TlsAcceptor::from(Arc::new(config))), watch))
    }

    /// Agrees on keys with a caller. Returns whether HTTP/2 is spoken from there on.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, bool)> {
        let agreed = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
                stream.write_all(NOT_HERE).await?;
                return Err(io::Error::other("it speaks no TLS"));
            }
            self.0.accept(stream).await
        };
        let stream = tokio::time::timeout(HANDSHAKE, agreed).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok((stream, is_http2))
    }
}

// === impl Current ===

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

// === impl Watch ===

impl Watch {
    /// Looks at files until this goes away, and has what they hold taken up when they have changed.
    pub(super) fn start(mut look: Look) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let run = move || {
            while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = stamp(&look.files);
                if now == look.seen {
                    continue;
                }
                look.seen = now;
                match (look.renew)() {
                    Ok(()) => tracing::info!(what = look.what, "new connections get the renewed certificate"),
                    Err(error) => {
                        tracing::error!(what = look.what, %error, "the certificate in force stays: its files cannot be used");
                    }
                }
            }
        };
        thread::Builder::new().name("mesh-tls".to_owned()).spawn(run)?;
        Ok(Self { _stop: stop })
    }
}

/// Returns what tells files from those that took their place.
pub(super) fn stamp(files: &[PathBuf]) -> Stamp {
    let stamp = |metadata: Metadata| (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
    files.iter().map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
}

/// Says so when others on this host may read a key.
pub(super) fn warn_of_readers(key: &Path) {
    if is_read_by_others(key) {
        tracing::warn!(key = %key.display(), "others on this host may read this key: chmod 600");
    }
}

/// Returns whether a file may be read by anybody but its owner.
pub(crate) fn is_read_by_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}
