//! Who may call from a browser: the page this member served, and nobody else's.
//!
//! A coordinator without roles trusts whoever reaches its port. A browser reaches it on behalf of any page it shows, so
//! what only a browser sends is looked at: a foreign `Origin`, and a `Host` that is a name of somebody else's choosing
//! (a name that an attacker points at this address makes its page same-origin with us). Changes also need a media type
//! that a foreign page cannot send without asking first; see `call`.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use berth_core::{
    address,
    error::{Code, Error},
};

/// Knows by which names this member is called.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// The host others call it by.
    advertised: String,
    /// It speaks TLS: a page that came without may be of whoever stands between.
    secure: bool,
}

// === impl Guard ===

impl Guard {
    pub(super) fn new(advertise: &str) -> Self {
        let advertised = host(address::authority(advertise)).to_ascii_lowercase();
        Self { advertised, secure: address::is_tls(advertise) }
    }

    /// Refuses what another site's page had sent.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_ascii_lowercase();
        // HTTP/2, which browsers speak over TLS, has it in its address.
        let in_uri = || uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
        let called = headers.get(header::HOST).map(text).or_else(in_uri).unwrap_or_default();
        if !called.is_empty() && !self.is_ours(host(&called)) {
            return Err(Error::new(Code::Forbidden, format!("this coordinator is not called `{}`", host(&called)))
                .why("a name that is not its own may have been pointed at it by another site")
                .try_("call it by its address, or by the name it advertises"));
        }
        match headers.get(header::ORIGIN).map(text) {
            Some(origin) if !self.is_own_page(&origin, &called) => {
                Err(Error::new(Code::Forbidden, format!("pages of `{origin}` may not call this coordinator"))
                    .try_("open the page of the coordinator itself"))
            }
            _ => Ok(()),
        }
    }

    /// Whoever speaks no TLS may stand behind somebody who does.
    fn is_own_page(&self, origin: &str, called: &str) -> bool {
        origin.split_once("://").is_some_and(|(scheme, site)| site == called && (scheme == "https" || !self.secure))
    }

    fn is_ours(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || name == self.advertised || bare.parse::<IpAddr>().is_ok()
    }
}

/// Takes the port off.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_refused() {
        let (plain, secure) = (Guard::new("node-1.example:7400"), Guard::new("https://node-1.example:7400"));
        for (guard, host, origin, allowed, why) in [
            (&plain, "localhost:7400", "http://localhost:7400", true, "its own page"),
            (&plain, "localhost:7400", "https://localhost:7400", true, "its own page, with TLS in front of it"),
            (&secure, "localhost:7400", "https://localhost:7400", true, "its own page, over TLS"),
            (&secure, "localhost:7400", "http://localhost:7400", false, "a page that somebody in between made up"),
            (&plain, "127.0.0.1:7400", "http://evil.example", false, "another site's page, without TLS"),
            (&secure, "127.0.0.1:7400", "", true, "a program"),
            (&secure, "[::1]:7400", "", true, "an address of the other kind"),
            (&secure, "Node-1.example:7400", "", true, "the advertised name"),
            (&secure, "evil.example:7400", "https://evil.example:7400", false, "a name pointed at us"),
            (&secure, "evil.example", "", false, "the same without a port"),
            (&secure, "127.0.0.1:7400", "https://evil.example", false, "another site's page"),
            (&secure, "127.0.0.1:7400", "https://127.0.0.1:8080", false, "another server of this host"),
            (&secure, "127.0.0.1:7400", "null", false, "a page without a site"),
            (&secure, "", "", true, "HTTP/2 without a host"),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().expect("a value"));
                }
            }
            assert_eq!(guard.check(&Uri::from_static("/"), &headers).is_ok(), allowed, "{why}");
            // Over HTTP/2 the same name comes another way.
            let uri = if host.is_empty() { "/".to_owned() } else { format!("https://{host}/") };
            headers.remove(header::HOST);
            assert_eq!(guard.check(&uri.parse().expect("an address"), &headers).is_ok(), allowed, "{why}, over HTTP/2");
        }
    }
}
