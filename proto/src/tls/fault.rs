//! What two ends that do not agree are told: which of them, why, and what to try.

use std::{error::Error as Cause, io, path::Path};

use berth_core::{
    address,
    error::{Code, Error},
};
use tokio_rustls::rustls::{self, CertificateError};

/// Who was called, and with what in hand.
pub(super) struct Refused<'a> {
    pub(super) authority: &'a str,
    /// Who is believed.
    pub(super) ca: &'a Path,
    /// Whether a certificate was asked for.
    pub(super) asked: bool,
    /// Whether one was shown.
    pub(super) showed: bool,
}

// === impl Refused ===

impl Refused<'_> {
    /// Puts into words why TLS was not agreed on. What is no matter of TLS stays as it is: a connection may break.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            None => error,
            Some(why) => io::Error::other(self.words(why)),
        }
    }

    fn words(&self, error: &rustls::Error) -> Error {
        let Self { authority, ca, .. } = self;
        let (what, why, try_) = match error {
            // An authority that was made anew under its old name is another one.
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
                format!("the certificate of {authority} is not believed"),
                format!("nobody in `{}` signed it", ca.display()),
                "name the PEM file of the authority that did".to_owned(),
            ),
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => (
                format!("the certificate of {authority} is not for `{}`", address::host(authority)),
                names(error),
                "call it by a name in its certificate, or give it one for this name".to_owned(),
            ),
            rustls::Error::InvalidCertificate(why) => (
                format!("the certificate of {authority} is not believed"),
                why.to_string(),
                "renew it, or set this host's clock if that is wrong".to_owned(),
            ),
            rustls::Error::InvalidMessage(_) => (
                format!("{authority} speaks no TLS"),
                "what it answered is not TLS".to_owned(),
                "write its address without `https://`, or give it a certificate".to_owned(),
            ),
            rustls::Error::AlertReceived(_) if self.asked && !self.showed => (
                format!("{authority} wants a certificate of its callers"),
                "none was shown".to_owned(),
                "name one and its key: --client-cert FILE --client-key FILE".to_owned(),
            ),
            rustls::Error::AlertReceived(alert) if self.asked => (
                format!("{authority} does not believe the certificate it was shown"),
                format!("its answer was {alert:?}"),
                "show one that the authority in its `tls_client_ca` signed".to_owned(),
            ),
            other => (format!("{authority} and this end do not agree on TLS"), other.to_string(), String::new()),
        };
        Error::new(Code::Tls, what).why(why).try_(try_)
    }
}

/// Lists for whom a certificate is.
fn names(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })
            if !presented.is_empty() =>
        {
            format!("it is for {}", presented.join(", "))
        }
        _ => "it is for nobody by name".to_owned(),
    }
}

/// Finds what TLS had to say in an error, and in what it came of.
pub fn fault(error: &(dyn Cause + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<Error>() {
            return Some(found.clone());
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            return Some(found.clone());
        }
        let reason = cause.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
        if reason == Some(h2::Reason::INADEQUATE_SECURITY) {
            return Some(
                Error::new(Code::Tls, "TLS is spoken there, and was not spoken to it")
                    .try_("write its address with `https://`, and name whom to believe: --ca FILE"),
            );
        }
        next = cause.source();
    }
    None
}
