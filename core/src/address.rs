//! Addresses of coordinators: `HOST:PORT`, or `https://HOST:PORT` where TLS is spoken.
//!
//! The scheme is part of the address wherever it goes (settings, memberships, what nodes are told), so that whoever calls
//! knows from the address alone how. Nothing is guessed from what somebody else was given.

use crate::error::Problems;

/// What an address begins with when TLS is spoken there.
pub const HTTPS: &str = "https://";

/// Returns whether TLS is spoken at an address.
pub fn is_tls(address: &str) -> bool {
    address.starts_with(HTTPS)
}

/// Returns `HOST:PORT` of an address.
pub fn authority(address: &str) -> &str {
    address.strip_prefix(HTTPS).unwrap_or(address)
}

/// Returns the host of an address, as a certificate names it.
pub fn host(address: &str) -> &str {
    let authority = authority(address);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Returns the URL of an address.
pub fn url(address: &str) -> String {
    if is_tls(address) { address.to_owned() } else { format!("http://{address}") }
}

/// Returns whether a member at `own` takes in a new one at `other`: one that speaks TLS would say the cluster's secrets in clear
/// to one that does not.
pub fn takes_in(own: &str, other: &str) -> bool {
    is_tls(other) || !is_tls(own)
}

/// Notes what does not fit in the addresses that a member is told: its own, and those of others under `field`. A cluster has
/// TLS on every member or on none; a member that knows whom to believe may yet be without, while a cluster changes over.
pub fn check_member(
    problems: &mut Problems,
    speaks_tls: bool,
    knows_ca: bool,
    advertise: Option<&str>,
    (field, others): (&str, &[String]),
) {
    match advertise.map(is_tls) {
        Some(false) if speaks_tls => {
            let what = format!("`{}` does not say that this member speaks TLS", advertise.unwrap_or_default());
            problems.add_try("advertise", what, "write https://HOST:PORT");
        }
        Some(true) if !speaks_tls => {
            let what = format!("at `{}` no TLS would be spoken", advertise.unwrap_or_default());
            problems.add_try("advertise", what, "name `tls_cert`, `tls_key` and `ca`, or write HOST:PORT");
        }
        _ => {}
    }
    if speaks_tls && !knows_ca {
        problems.add_try("ca", "is missing", "name the authority that signed the certificates of all members");
    }
    for other in others {
        match is_tls(other) {
            false if speaks_tls => {
                let what = format!("`{other}` would be called without TLS, by a member that speaks it");
                problems.add_try(field, what, "write https://HOST:PORT");
            }
            true if !speaks_tls && !knows_ca => {
                let what = format!("`{other}` would be called over TLS, and nobody is believed");
                problems.add_try(field, what, "name the authority of the members as `ca`");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: whether this member speaks TLS, whether it knows whom to believe, its own address, another's, and which
    /// settings are refused.
    #[test]
    fn a_member_with_tls_takes_in_no_other_without() {
        let (plain, tls) = ("c1:7400", "https://c1:7400");
        for (own, other, taken) in [(plain, plain, true), (plain, tls, true), (tls, tls, true), (tls, plain, false)] {
            assert_eq!(takes_in(own, other), taken, "{own} {other}");
        }
    }

    #[test]
    fn a_cluster_has_tls_on_every_member_or_on_none() {
        for (speaks, ca, own, other, refused) in [
            (false, false, Some("a:1"), "b:1", &[][..]),
            (true, true, Some("https://a:1"), "https://b:1", &[]),
            (true, true, None, "https://b:1", &[]),
            (false, true, Some("a:1"), "https://b:1", &[]),
            (false, true, Some("a:1"), "b:1", &[]),
            (true, false, None, "https://b:1", &["ca"]),
            (true, true, Some("a:1"), "https://b:1", &["advertise"]),
            (true, true, None, "b:1", &["peers"]),
            (false, true, Some("https://a:1"), "b:1", &["advertise"]),
            (false, false, None, "https://b:1", &["peers"]),
        ] {
            let mut problems = Problems::default();
            check_member(&mut problems, speaks, ca, own, ("peers", &[other.to_owned()]));
            let found = problems.into_result(crate::error::Code::Invalid, "it").err();
            let found: Vec<_> = found.iter().flat_map(|error| &error.problems).map(|it| it.field.as_str()).collect();
            assert_eq!(found, refused, "{speaks} {ca} {own:?} {other}");
        }
    }

    #[test]
    fn an_address_says_where_and_how() {
        for (address, tls, authority_, host_, url_) in [
            ("c1:7400", false, "c1:7400", "c1", "http://c1:7400"),
            ("https://c1:7400", true, "c1:7400", "c1", "https://c1:7400"),
            ("https://[::1]:7400", true, "[::1]:7400", "::1", "https://[::1]:7400"),
            ("[::1]:7400", false, "[::1]:7400", "::1", "http://[::1]:7400"),
            ("[::1]", false, "[::1]", "::1", "http://[::1]"),
            ("c1", false, "c1", "c1", "http://c1"),
        ] {
            assert_eq!(is_tls(address), tls, "{address}");
            assert_eq!(authority(address), authority_, "{address}");
            assert_eq!(host(address), host_, "{address}");
            assert_eq!(url(address), url_, "{address}");
        }
    }
}
