//! Certificates and keys in PEM files, and in words what is wrong with a file.

use std::path::Path;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// What stands around a certificate.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Reads the certificates of a file, of which there is at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("there is no `BEGIN CERTIFICATE` in it".to_owned()) } else { Ok(found) }
}

/// Reads the certificates of a file as they are written, and nothing else that is in it.
pub fn written(path: &Path) -> Result<Vec<String>, String> {
    let text = String::from_utf8(read(path)?).map_err(|error| error.to_string())?;
    let found = blocks(&text);
    if found.is_empty() { Err("there is no `BEGIN CERTIFICATE` in it".to_owned()) } else { Ok(found) }
}

/// Takes the certificates out of a text.
pub(super) fn blocks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines().map(str::trim) {
        if line == BEGIN {
            open = Some(String::new());
        }
        let Some(block) = &mut open else { continue };
        block.push_str(line);
        block.push('\n');
        if line == END {
            found.extend(open.take());
        }
    }
    found
}

/// Reads one that was taken out.
pub(super) fn certificate(block: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(block.as_bytes()).map_err(|error| error.to_string())
}

/// Reads the key of a file, which has no passphrase.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}
