//! A coordinator's certificate: whether others believe it, for how long they will, and whether the process that runs shows it.
//!
//! A coordinator takes up renewed files by itself, unless they do not fit. Then all goes on, until the certificate that it still
//! shows has come to its end: what stands in its log weeks before is what is looked for here.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_proto::tls::{Audience, ServerFiles, pem};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{Finding, Verdict, certificate, finding};

/// Renewals come weeks before an end: what ends in two was not renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How long the process may take to show its certificate.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// What a coordinator of this host shows, who is to believe it, and where it listens.
#[derive(Clone, Debug)]
pub struct CoordinatorTls {
    /// The certificate, and whom it lets in.
    pub files: ServerFiles,
    /// Who is to believe it.
    pub audience: Audience,
    /// Where it listens.
    pub listens: SocketAddr,
}

/// What was found out about a certificate that fits its key and its audience.
#[derive(Clone, Copy, Debug)]
struct Seen {
    is_valid: bool,
    is_valid_soon: bool,
    /// Whether the process shows this one; nothing when none answers.
    is_shown: Option<bool>,
}

/// Keeps the certificate that it is shown, and goes on with nobody.
#[derive(Debug, Default)]
struct Looker(Mutex<Option<CertificateDer<'static>>>);

pub(super) fn coordinator(of: &CoordinatorTls) -> Finding {
    let file = of.files.own.cert.display().to_string();
    let checked = of.files.check(&of.audience);
    if checked.is_err() {
        return certificate("tls", checked, String::new(), &of.files.own.key);
    }
    let now = UnixTime::now();
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
    let is_shown = shown(of).map(|shown| pem::certificates(&of.files.own.cert).is_ok_and(|own| own[0] == shown));
    let seen = Seen { is_valid: is_believed(of, now), is_valid_soon: is_believed(of, soon), is_shown };
    let (verdict, text, try_) = judged(seen, &file, of.listens);
    match verdict {
        Verdict::Good => certificate("tls", checked, text, &of.files.own.key),
        _ => finding("tls", verdict, text, try_),
    }
}

fn judged(seen: Seen, file: &str, listens: SocketAddr) -> (Verdict, String, &'static str) {
    match seen {
        Seen { is_valid: false, .. } => (
            Verdict::Bad,
            format!("the certificate {file} is not valid today: nobody believes it"),
            "renew it, or set the clock",
        ),
        Seen { is_shown: Some(false), .. } => (
            Verdict::Note,
            format!("the coordinator on {listens} shows another certificate than {file}, which it did not take up"),
            "its log says why; renewed files are taken up within seconds, and a restart reads them again",
        ),
        Seen { is_valid_soon: false, .. } => {
            let days = SOON.as_secs() / (24 * 60 * 60);
            (
                Verdict::Note,
                format!("the certificate {file} ends within {days} days"),
                "renew it: the files are taken up as they change",
            )
        }
        Seen { is_shown: Some(true), .. } => (
            Verdict::Good,
            format!("the certificate {file} is one that others believe, and the coordinator on {listens} shows it"),
            "",
        ),
        Seen { is_shown: None, .. } => (
            Verdict::Good,
            format!("the certificate {file} is one that others believe; no coordinator shows it on {listens}"),
            "",
        ),
    }
}

/// Tells whether its audience believes it at a time.
fn is_believed(of: &CoordinatorTls, at: UnixTime) -> bool {
    let believed = || -> Option<()> {
        let mut roots = RootCertStore::empty();
        for root in pem::certificates(&of.audience.ca).ok()? {
            roots.add(root).ok()?;
        }
        let provider = Arc::new(ring::default_provider());
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let own = pem::certificates(&of.files.own.cert).ok()?;
        let (end, issuers) = own.split_first()?;
        let name = ServerName::try_from(of.audience.host.as_str()).ok()?;
        judge.verify_server_cert(end, issuers, &name, &[], at).ok().map(drop)
    };
    believed().is_some()
}

/// Looks at what the process shows, and leaves; nothing when none answers, or none with TLS.
fn shown(of: &CoordinatorTls) -> Option<CertificateDer<'static>> {
    let ip = if of.listens.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { of.listens.ip() };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, of.listens.port()), SHOWN_WITHIN).ok()?;
    stream.set_read_timeout(Some(SHOWN_WITHIN)).ok()?;
    stream.set_write_timeout(Some(SHOWN_WITHIN)).ok()?;
    let looker = Arc::new(Looker::default());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok()?.dangerous();
    let config = builder.with_custom_certificate_verifier(looker.clone()).with_no_client_auth();
    let name = ServerName::try_from(of.audience.host.clone()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    // It fails, since who looks goes on with nobody.
    let _ = connection.complete_io(&mut stream);
    looker.0.lock().unwrap_or_else(PoisonError::into_inner).take()
}

// === impl Looker ===

impl Looker {
    fn leave<T>() -> Result<T, rustls::Error> {
        Err(rustls::Error::General("it was looked at".to_owned()))
    }
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end.clone().into_owned());
        Self::leave()
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::leave()
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::leave()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use berth_proto::tls::{Server, TlsFiles};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_worst_of_what_was_seen_is_told() {
        let listens = SocketAddr::from(([127, 0, 0, 1], 7400));
        for (is_valid, is_valid_soon, is_shown, verdict, part) in [
            (true, true, Some(true), Verdict::Good, "on 127.0.0.1:7400 shows it"),
            (true, true, None, Verdict::Good, "no coordinator shows it"),
            (true, true, Some(false), Verdict::Note, "shows another certificate"),
            (true, false, Some(false), Verdict::Note, "shows another certificate"),
            (true, false, Some(true), Verdict::Note, "within 14 days"),
            (true, false, None, Verdict::Note, "within 14 days"),
            (false, false, Some(true), Verdict::Bad, "not valid today"),
            (false, true, Some(false), Verdict::Bad, "not valid today"),
        ] {
            let seen = Seen { is_valid, is_valid_soon, is_shown };
            let (found, text, try_) = judged(seen, "c.pem", listens);
            assert!(found == verdict && text.contains(part), "{seen:?}: {found:?} {text}");
            assert_eq!(try_.is_empty(), verdict == Verdict::Good, "{seen:?}");
        }
    }

    /// Writes a certificate that ends with the year 2099, and returns who signs.
    fn signed(dir: &Path, issuer: &Issuer<'static, KeyPair>) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
        params.not_after = date_time_ymd(2100, 1, 1);
        let files = TlsFiles { cert: dir.join("c.pem"), key: dir.join("c.key") };
        std::fs::write(&files.cert, params.signed_by(&key, issuer).expect("a certificate").pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        std::process::Command::new("chmod").arg("600").arg(&files.key).status().expect("chmod runs");
        files
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_process_that_shows_what_the_files_held_before_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, params.self_signed(&key).expect("an authority").pem()).expect("written");
        let issuer = Issuer::new(params, key);
        let files = ServerFiles { own: signed(dir.path(), &issuer), client_ca: None };
        let (server, watch) = Server::open(&files, "in a test").expect("files that fit");
        // It takes up nothing from here on.
        drop(watch);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let listens = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let _ = server.accept(stream).await;
            }
        });
        let of = CoordinatorTls { files, audience: Audience { ca, host: "127.0.0.1".to_owned() }, listens };
        let look = async |of: &CoordinatorTls| {
            let of = of.clone();
            tokio::task::spawn_blocking(move || coordinator(&of)).await.expect("it looks")
        };
        let found = look(&of).await;
        assert!(found.verdict == Verdict::Good && found.text.contains("shows it"), "{found:?}");
        signed(dir.path(), &issuer);
        let found = look(&of).await;
        assert!(found.verdict == Verdict::Note && found.text.contains("shows another certificate"), "{found:?}");
        std::fs::write(&of.files.own.key, "nothing").expect("written");
        assert_eq!(look(&of).await.verdict, Verdict::Bad, "files that do not fit");

        let at = |year: u64| UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 365 * 86_400));
        assert!(is_believed(&of, at(2098)) && !is_believed(&of, at(2101)));
        let other = CoordinatorTls { audience: Audience { host: "c2".to_owned(), ..of.audience.clone() }, ..of };
        assert!(!is_believed(&other, at(2098)), "it is for another host");
    }
}
