//! TLS as a listener speaks it: what it shows, whom it lets in, and a word for who speaks none.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use berth_core::error::{Code, Error};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, CertificateError, ServerConfig,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        crypto::ring,
        pki_types::{ServerName, UnixTime},
        server::{StoresServerSessions, WebPkiClientVerifier, danger::ClientCertVerifier},
        sign::{CertifiedKey, SingleCertAndKey},
    },
    server::TlsStream,
};

use super::files::{Look, TlsFiles, Watch, roots, stamp, warn_of_readers};

/// How long a caller may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a connection of TLS begins with: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// What a caller hears that speaks plain HTTP/1.1 to a port of TLS.
const NOT_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 31\r\n\
    connection: close\r\n\r\nthis port speaks TLS: use https";

/// The same for who speaks plain HTTP/2: settings, which come first, and GOAWAY with INADEQUATE_SECURITY.
const NOT_HERE_2: &[u8] =
    b"\0\0\0\x04\0\0\0\0\0\0\0\x27\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0cthis port speaks TLS: use https";

/// What is read of a caller that is told to go, so that the answer is not lost to a reset.
const FAREWELL_BYTES: usize = 64 << 10;

/// The protocols that are offered, the preferred one first.
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What a listener shows, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate that callers are shown, and its key.
    pub own: TlsFiles,
    /// The authority of callers, in PEM: nobody else is let in. Anybody is when absent.
    pub client_ca: Option<PathBuf>,
}

/// Who is to believe what a listener shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The authority they believe, in PEM.
    pub ca: PathBuf,
    /// The host they call.
    pub host: String,
}

/// TLS of a listener, as its files are at present. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<ArcSwap<ServerConfig>>);

/// Sends tickets, since callers wait for one, and takes none: who calls is judged each time.
#[derive(Debug)]
struct Forgetful;

// === impl Forgetful ===

impl StoresServerSessions for Forgetful {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        true
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        false
    }
}

// === impl ServerFiles ===

impl ServerFiles {
    fn config(&self, own: CertifiedKey) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Code::Internal, "no version of TLS can be spoken").why(error.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(callers(path)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.session_storage = Arc::new(Forgetful);
        config.alpn_protocols = [H2, HTTP1].map(<[u8]>::to_vec).to_vec();
        warn_of_readers(&self.own.key);
        Ok(config)
    }

    /// Checks that an audience would believe the certificate, and that the authority of callers can be read. A certificate
    /// that nobody believes is found here, and not by one caller after the other. One whose time has not come or is over is
    /// a word in the log: it is the files that will be renewed, not the rest of the settings.
    pub fn check(&self, audience: &Audience) -> Result<(), Error> {
        match self.believed(&self.own.load()?, audience)? {
            Err(error) if is_of_another_day(&error) => {
                tracing::error!(cert = %self.own.cert.display(), why = %error, "others will not believe this certificate");
                Ok(())
            }
            believed => believed.map_err(|error| self.refuse(audience, error.to_string())),
        }
    }

    /// Loads what callers are shown from now on. One that an audience would not believe today is not taken: what it takes the
    /// place of may be.
    fn renewed(&self, audience: Option<&Audience>) -> Result<ServerConfig, Error> {
        let own = self.own.load()?;
        if let Some(audience) = audience {
            self.believed(&own, audience)?.map_err(|error| self.refuse(audience, error.to_string()))?;
        }
        self.config(own)
    }

    /// Tells whether an audience would believe a certificate, now.
    fn believed(&self, own: &CertifiedKey, audience: &Audience) -> Result<Result<(), rustls::Error>, Error> {
        let refuse = |why: String| self.refuse(audience, why);
        let (end, issuers) = own.cert.split_first().ok_or_else(|| refuse("it is empty".to_owned()))?;
        let called = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots(&audience.ca)?),
            Arc::new(ring::default_provider()),
        );
        let called = called.build().map_err(|error| refuse(error.to_string()))?;
        let host = audience.host.as_str();
        let name = ServerName::try_from(host).map_err(|error| refuse(format!("`{host}`: {error}")))?;
        let now = UnixTime::now();
        let mut believed = called.verify_server_cert(end, issuers, &name, &[], now).map(drop);
        if let (Ok(()), Some(path)) = (&believed, &self.client_ca) {
            // Members call each other, each with the certificate it shows to callers.
            believed = callers(path)?.verify_client_cert(end, issuers, now).map(drop);
        }
        Ok(believed)
    }

    fn refuse(&self, audience: &Audience, why: String) -> Error {
        let Audience { ca, host } = audience;
        Error::new(Code::Certificate, format!("others would not believe `{}`", self.own.cert.display()))
            .why(why)
            .try_(format!("name a certificate for `{host}` that `{}` signed", ca.display()))
    }
}

fn callers(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let roots = Arc::new(roots(path)?);
    WebPkiClientVerifier::builder_with_provider(roots, Arc::new(ring::default_provider())).build().map_err(|error| {
        Error::new(Code::Certificate, format!("the certificates `{}` cannot be used", path.display()))
            .why(error.to_string())
    })
}

/// Returns whether a certificate is refused for its dates alone.
fn is_of_another_day(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let rustls::Error::InvalidCertificate(why) = error else { return false };
    matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

// === impl Server ===

impl Server {
    /// Loads the files and watches them from then on. `what` is for the log.
    pub fn open(files: &ServerFiles, what: &'static str) -> Result<(Self, Watch), Error> {
        Self::open_for(files, None, what)
    }

    /// The same, where an audience has to believe what is shown: renewed files are taken up when it would.
    pub fn open_for(
        files: &ServerFiles,
        audience: Option<Audience>,
        what: &'static str,
    ) -> Result<(Self, Watch), Error> {
        let looked: Vec<_> = [&files.own.cert, &files.own.key].into_iter().chain(&files.client_ca).cloned().collect();
        let seen = stamp(&looked);
        let server = Self(Arc::new(ArcSwap::from_pointee(files.config(files.own.load()?)?)));
        let (current, files) = (server.0.clone(), files.clone());
        let renew = Box::new(move || {
            current.store(Arc::new(files.renewed(audience.as_ref())?));
            Ok(())
        });
        let watch = Watch::start(Look { files: looked, seen, what, renew })?;
        Ok((server, watch))
    }

    /// Agrees on keys with a caller. Returns whether HTTP/2 is spoken from there on.
    pub async fn accept(&self, mut stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, bool)> {
        let agreed = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
                send_away(&mut stream).await?;
                return Err(io::Error::other("it speaks no TLS"));
            }
            TlsAcceptor::from(self.0.load_full()).accept(stream).await
        };
        let stream = tokio::time::timeout(HANDSHAKE, agreed).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok((stream, is_http2))
    }
}

/// Says that TLS is spoken here, in the version of HTTP that the caller began with.
async fn send_away(stream: &mut TcpStream) -> io::Result<()> {
    let mut begin = [0; 3];
    let read = stream.read(&mut begin).await?;
    stream.write_all(if begin[..read] == *b"PRI" { NOT_HERE_2 } else { NOT_HERE }).await?;
    stream.shutdown().await?;
    // A socket that is closed with something unread resets the connection, and may take the answer with it.
    let mut rest = stream.take(FAREWELL_BYTES as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn authority(dir: &TempDir, file: &str) -> Issuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("an authority").pem();
        std::fs::write(dir.path().join(file), pem).expect("written");
        Issuer::new(params, key)
    }

    fn signed(own: &TlsFiles, issuer: &Issuer<'static, KeyPair>, name: &str, until_year: i32) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        std::fs::write(&own.key, key.serialize_pem()).expect("written");
        std::fs::write(&own.cert, params.signed_by(&key, issuer).expect("a certificate").pem()).expect("written");
    }

    /// Each row: who signed it, for whom, until when, and whether it takes the place of the one before.
    #[test]
    fn a_renewed_certificate_that_nobody_would_believe_is_not_taken() {
        let dir = TempDir::new().expect("a folder");
        let (ours, theirs) = (authority(&dir, "ca.pem"), authority(&dir, "theirs.pem"));
        let own = TlsFiles { cert: dir.path().join("own.pem"), key: dir.path().join("own.key") };
        let audience = Audience { ca: dir.path().join("ca.pem"), host: "c1.example".to_owned() };
        for client_ca in [None, Some(audience.ca.clone())] {
            let files = ServerFiles { own: own.clone(), client_ca };
            for (issuer, name, until_year, taken, at_start, why) in [
                (&ours, "c1.example", 2100, true, true, "as at start"),
                (&theirs, "c1.example", 2100, false, false, "another authority"),
                (&ours, "c2.example", 2100, false, false, "another host"),
                (&ours, "c1.example", 2021, false, true, "its time is over, and that of the one in force may not be"),
            ] {
                signed(&own, issuer, name, until_year);
                let renewed = files.renewed(Some(&audience));
                assert_eq!(renewed.is_ok(), taken, "{why}");
                assert!(
                    renewed
                        .err()
                        .is_none_or(|error| error.code == Code::Certificate && error.try_.contains("c1.example"))
                );
                assert_eq!(files.check(&audience).is_ok(), at_start, "{why}");
                assert!(files.renewed(None).is_ok(), "{why}: whom callers of an ingress believe is theirs to say");
            }
        }
    }
}
