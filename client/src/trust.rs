//! TLS towards an ingress: whose certificates are believed.

use std::{fmt, io, path::Path, sync::Arc};

use berth_core::error::{Code, Error};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::options::Address;

/// Those whose certificates are believed: an authority's own, or a node's when it signed itself. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    http1: TlsConnector,
    http2: TlsConnector,
}

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    Http1,
    Http2,
}

// === impl Trust ===

impl Trust {
    /// Reads certificates from a PEM file.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), berth_client::Error> {
    /// use berth_client::{InferClient, Trust};
    ///
    /// let trust = Trust::read("/etc/berth/ca.pem".as_ref())?;
    /// let digits = InferClient::over_tls(["node-1:7480"], "digits", &trust)?;
    /// let answer = digits.score("[0, 1, 2]").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |why: String| {
            Error::new(Code::Certificate, format!("the certificates `{}` cannot be used", path.display()))
                .why(why)
                .try_("name a PEM file with the certificate of who signed the nodes' own")
        };
        let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refuse("there is no `BEGIN CERTIFICATE` in it".to_owned()));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| refuse(error.to_string()))?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let connector = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self { http1: connector(b"http/1.1"), http2: connector(b"h2") })
    }

    /// Agrees on keys with a node, which has to show that it is the one of this address.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        stream: TcpStream,
        inside: Inside,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(address.host().to_owned()).map_err(io::Error::other)?;
        let connector = if inside == Inside::Http2 { &self.http2 } else { &self.http1 };
        connector.connect(name, stream).await
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}
