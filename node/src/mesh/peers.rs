//! Mutual TLS between nodes: each shows a certificate of one authority, to whoever it calls and to whoever calls its gate.
//!
//! Nodes move and have addresses that no certificate names, so all of them have one name, which no certificate of another
//! purpose should hold. Renewed files are for connections to come; files that cannot be used change nothing.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use berth_core::error::{Code, Error};
use berth_proto::tls::{Look, Stamp, TlsFiles, Watch, pem, stamp, warn_of_readers};
use tokio::{io::AsyncBufReadExt as _, net::TcpStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
        SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerifier as _},
            verify_server_name,
        },
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::{
            ParsedCertificate, WebPkiClientVerifier,
            danger::{ClientCertVerified, ClientCertVerifier},
        },
        version::TLS13,
    },
    server,
};

/// The name that every node's certificate holds.
pub const PEER_NAME: &str = "node.berth";

/// How long two nodes may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Gates speak HTTP/2 alone.
const H2: &[u8] = b"h2";

/// Where a node's own certificate is, and that of the authority which signs those of all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFiles {
    /// The certificate and its key; it names [`PEER_NAME`].
    pub own: TlsFiles,
    /// The authority, in PEM; several while one takes another's place.
    pub ca: PathBuf,
}

/// Both ends as they are at present.
struct Ends {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

/// Mutual TLS of a node.
#[derive(Clone)]
pub(super) struct Peers(Arc<ArcSwap<Ends>>);

/// Who calls has a certificate of the authority, and it is one of a node.
#[derive(Debug)]
struct OnlyNodes(Arc<dyn ClientCertVerifier>);

/// What the files hold.
struct Loaded {
    ends: Ends,
    /// Why others will not believe the certificate today, although it is theirs to believe on another day.
    out_of_time: Option<rustls::Error>,
}

// === impl PeerFiles ===

impl PeerFiles {
    /// Checks that other nodes with the same authority would believe the certificate, today.
    pub fn check(&self) -> Result<(), Error> {
        match self.load()?.out_of_time {
            None => Ok(()),
            Some(why) => Err(refuse(&self.own.cert, why.to_string())),
        }
    }

    fn load(&self) -> Result<Loaded, Error> {
        let mut roots = RootCertStore::empty();
        let certificates = |path: &Path| pem::certificates(path).map_err(|why| refuse(path, why));
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|error| refuse(&self.ca, error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&self.own.cert)?;
        let key = pem::key(&self.own.key).map_err(|why| refuse(&self.own.key, why))?;
        let provider = Arc::new(ring::default_provider());
        let unusable = |error: rustls::Error| refuse(&self.own.cert, error.to_string());
        let callers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let callers = Arc::new(OnlyNodes(callers.map_err(|error| refuse(&self.ca, error.to_string()))?));
        let called = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
        let called = called.map_err(|error| refuse(&self.ca, error.to_string()))?;

        // A certificate that no other node believes is found here and not by them, one request after the other.
        let now = UnixTime::now();
        let name = ServerName::try_from(PEER_NAME).map_err(|error| refuse(&self.own.cert, error.to_string()))?;
        let (own, issuers) = chain.split_first().ok_or_else(|| refuse(&self.own.cert, "it is empty".to_owned()))?;
        let believed = called.verify_server_cert(own, issuers, &name, &[], now);
        let believed = believed.and_then(|_| callers.verify_client_cert(own, issuers, now));
        let out_of_time = match believed {
            Ok(_) => None,
            Err(error) if is_of_another_day(&error) => Some(error),
            Err(error) => return Err(unusable(error)),
        };

        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13]);
        let server = builder.map_err(unusable)?.with_client_cert_verifier(callers);
        let mut server = server.with_single_cert(chain.clone(), key.clone_key()).map_err(unusable)?;
        server.alpn_protocols = vec![H2.to_vec()];
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
        let client = builder.map_err(unusable)?.with_webpki_verifier(called);
        let mut client = client.with_client_auth_cert(chain, key).map_err(unusable)?;
        client.alpn_protocols = vec![H2.to_vec()];
        let ends = Ends { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() };
        Ok(Loaded { ends, out_of_time })
    }

    /// Loads what is to be in force, with a word about what is wrong with it and does not keep a node from running: what
    /// is its own it may serve all the same.
    fn take_up(&self) -> Result<Ends, Error> {
        let loaded = self.load()?;
        if let Some(why) = loaded.out_of_time {
            tracing::error!(cert = %self.own.cert.display(), %why, "other nodes will not believe this certificate");
        }
        warn_of_readers(&self.own.key);
        Ok(loaded.ends)
    }
}

fn refuse(path: &Path, why: String) -> Error {
    Error::new(Code::Certificate, format!("`{}` cannot be used between nodes", path.display()))
        .why(why)
        .try_(format!("name PEM files: a certificate for `{PEER_NAME}`, its key, and who signed it"))
}

fn is_of_another_day(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let rustls::Error::InvalidCertificate(why) = error else { return false };
    matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

// === impl Peers ===

impl Peers {
    /// Loads the files and watches them from then on.
    pub(super) fn open(files: &PeerFiles) -> Result<(Self, Watch), Error> {
        let looked = [&files.own.cert, &files.own.key, &files.ca].map(PathBuf::clone);
        let seen: Stamp = stamp(&looked);
        let peers = Self(Arc::new(ArcSwap::from_pointee(files.take_up()?)));
        let (ends, files) = (peers.0.clone(), files.clone());
        let renew = Box::new(move || {
            ends.store(Arc::new(files.take_up()?));
            Ok(())
        });
        let watch = Watch::start(Look { files: looked.to_vec(), seen, what: "between nodes", renew })?;
        Ok((peers, watch))
    }

    /// Agrees on keys with a node that calls.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        let acceptor = self.0.load().acceptor.clone();
        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Agrees on keys with a node that is called, and waits until it has shown that it believes this one.
    ///
    /// Who calls is done with TLS 1.3 before it is believed. A gate's first word comes after that, without being asked
    /// for, so that a gate which refuses this node is one that could not be connected and no request is lost on it.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        let connector = self.0.load().connector.clone();
        let name = ServerName::try_from(PEER_NAME).map_err(io::Error::other)?;
        let believed = async {
            let mut stream = connector.connect(name, stream).await?;
            match stream.fill_buf().await? {
                [] => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(stream),
            }
        };
        tokio::time::timeout(HANDSHAKE, believed).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

// === impl OnlyNodes ===

impl ClientCertVerifier for OnlyNodes {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        let name = ServerName::try_from(PEER_NAME).map_err(|_| CertificateError::NotValidForName)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, &name)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
