//! The certificate of a cluster's authority, for a node that has yet to join: it is asked for before anybody is believed, and
//! believed only if it hashes to what the operator's line says.

use std::{io, path::Path, sync::Arc, time::Duration};

use berth_core::{
    address,
    error::{Code, Error},
    join::{CaHash, CertificateHash},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        sign::SingleCertAndKey,
    },
};

use super::{files::TlsFiles, pem};

/// Where a coordinator hands out the certificates of its authority. They are shown to everybody anyway.
pub const AUTHORITY_PAGE: &str = "/ca.pem";

/// The longest answer that is read from who is not believed: hundreds of certificates.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// Believes whoever answers, for as long as nothing is said that anybody may not hear.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

/// Returns what the certificates of authorities hash to.
pub fn authority_hash(ca: &Path) -> Result<CaHash, Error> {
    let unusable = |why: String| {
        Error::new(Code::Certificate, format!("the certificates `{}` cannot be used", ca.display())).why(why)
    };
    let hashes = pem::certificates(ca).map_err(unusable)?.iter().map(hash_of).collect();
    CaHash::of(hashes).ok_or_else(|| {
        unusable("it holds more than a line can name".to_owned())
            .try_("name a file with this cluster's authority alone")
    })
}

/// Asks who answers at `authority` (`HOST:PORT`) for the certificates of its authority, and returns those that hash to what
/// was said, in PEM. Nothing is sent but the question; `own` is shown where a certificate is asked for.
pub async fn ask_authority(
    authority: &str,
    own: Option<&TlsFiles>,
    said: &CaHash,
    within: Duration,
) -> Result<String, Error> {
    let failed = |error: io::Error| {
        let error = Error::new(Code::Unavailable, format!("{authority} does not hand out its authority"))
            .why(error.to_string());
        error.try_("where a certificate is asked for, add --client-cert FILE --client-key FILE; else see whether it answers there")
    };
    let late =
        |_| failed(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", within.as_millis())));
    let own = own.map(TlsFiles::load).transpose()?;
    let text = tokio::time::timeout(within, ask(authority, own)).await.map_err(late)?.map_err(failed)?;
    let mut offered: Vec<(CertificateHash, String)> = Vec::new();
    for block in pem::blocks(&text) {
        let certificate = pem::certificate(&block).map_err(|why| failed(io::Error::other(why)))?;
        offered.push((hash_of(&certificate), block));
    }
    let chosen = said.chosen(&offered);
    if chosen.is_empty() {
        let others = CaHash::of(offered.iter().map(|(hash, _)| *hash).collect());
        let others = others.map_or_else(|| "none that can be named".to_owned(), |hash| hash.to_string());
        return Err(Error::new(Code::Tls, format!("{authority} has another authority than the line says"))
            .why(format!("its own is {others}, and the line says {said}; nothing was shown to it"))
            .try_(
                "print a new line with `berth node join-command`; if this is the newest, somebody else answers there",
            ));
    }
    Ok(chosen.into_iter().map(String::as_str).collect())
}

fn hash_of(certificate: &CertificateDer<'_>) -> CertificateHash {
    Sha256::digest(certificate).into()
}

async fn ask(authority: &str, own: Option<rustls::sign::CertifiedKey>) -> io::Result<String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(address::host(authority).to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect(authority).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let question = format!("GET {AUTHORITY_PAGE} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await {
        // Who ends without a word of TLS has said what there is; the hash says whether that was all.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(io::Error::other(format!("it answered `{}`", answer.lines().next().unwrap_or_default())));
    }
    Ok(answer)
}

// === impl Anybody ===

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
