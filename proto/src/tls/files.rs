//! Files of certificates, and the watch over them.
//!
//! A renewed certificate is for connections to come; those that are open go on with the one they began with. Files that
//! cannot be used, half written ones among them, change nothing: the certificate in force stays.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use berth_core::error::{Code, Error};
use tokio_rustls::rustls::{RootCertStore, crypto::ring, sign::CertifiedKey};

use super::pem;

/// How often the files are looked at. Renewals come weeks before a certificate ends.
const LOOK: Duration = Duration::from_secs(2);

/// Where a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its issuer, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// What files are: the same stamp, the same content.
pub type Stamp = Vec<Option<(u64, i64, i64, u64)>>;

/// What is looked at, and what becomes of a change.
pub struct Look {
    /// The files.
    pub files: Vec<PathBuf>,
    /// What they were when they were loaded.
    pub seen: Stamp,
    /// For the log.
    pub what: &'static str,
    /// Takes up what the files hold.
    pub renew: Box<dyn FnMut() -> Result<(), Error> + Send>,
}

/// Looks at the files until it goes away.
#[derive(Debug)]
pub struct Watch {
    _stop: mpsc::Sender<()>,
}

// === impl TlsFiles ===

impl TlsFiles {
    /// Checks that the files hold a certificate and its key.
    pub fn check(&self) -> Result<(), Error> {
        self.load().map(drop)
    }

    pub(super) fn load(&self) -> Result<CertifiedKey, Error> {
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

/// Reads the certificates of authorities.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let refuse = |why: String| {
        Error::new(Code::Certificate, format!("the certificates `{}` cannot be used", path.display()))
            .why(why)
            .try_("name a PEM file with the certificate of the authority, or the one of an end that signed itself")
    };
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path).map_err(refuse)? {
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    Ok(roots)
}

// === impl Watch ===

impl Watch {
    /// Looks at files until this goes away, and has what they hold taken up when they have changed.
    pub fn start(mut look: Look) -> Result<Self, Error> {
        let (stop, stopped) = mpsc::channel::<()>();
        let run = move || {
            // What stood in the way, such as who may read the key, need not show in the files.
            let mut failed = false;
            while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = stamp(&look.files);
                let is_news = now != look.seen;
                if !is_news && !failed {
                    continue;
                }
                look.seen = now;
                let renewed = (look.renew)();
                failed = renewed.is_err();
                match renewed {
                    Ok(()) => tracing::info!(what = look.what, "new connections get the renewed certificate"),
                    Err(_) if !is_news => {}
                    Err(error) => {
                        tracing::error!(what = look.what, %error, "the certificate in force stays: its files cannot be used");
                    }
                }
            }
        };
        let started: io::Result<_> = thread::Builder::new().name("tls-files".to_owned()).spawn(run);
        started
            .map_err(|error| Error::new(Code::Internal, "no thread to watch a certificate").why(error.to_string()))?;
        Ok(Self { _stop: stop })
    }
}

/// Returns what tells files from those that took their place.
pub fn stamp(files: &[PathBuf]) -> Stamp {
    let stamp = |metadata: Metadata| (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
    files.iter().map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
}

/// Says so when others on this host may read a key.
pub fn warn_of_readers(key: &Path) {
    if is_read_by_others(key) {
        tracing::warn!(key = %key.display(), "others on this host may read this key: chmod 600");
    }
}

/// Returns whether a file may be read by anybody but its owner.
pub fn is_read_by_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}
