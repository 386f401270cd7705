//! Join tokens: what a new node shows until it is taken, and until when that may be.
//!
//! The line for a second machine is pasted into chats and kept in notes, so what it holds ends by itself. A node that shows one
//! in time is given the cluster's lasting node token and needs the other no more. Nobody keeps a list: a token says until when
//! it holds, and a proof that only who has the lasting token can make covers that.
//!
//! Where coordinators speak TLS the line also says what the certificate of their authority hashes to. A new node asks for that
//! certificate before it believes anybody, and shows its token to nobody else.

use std::{fmt, str::FromStr};

use crate::time::{LogTime, Millis};

/// What a token begins with. A lasting token is hex alone, so neither is taken for the other.
const PREFIX: &str = "join-v1-";

/// Digits of a lasting token: the 32 bytes that are derived from the cluster's key.
const LASTING_DIGITS: usize = 64;

/// Digits of the number that tells tokens apart which end at the same time.
const NONCE_DIGITS: usize = 16;

/// What a hash begins with, as `sha256sum` and container images have it.
const SHA256: &str = "sha256:";

/// Authorities that one line may name: two while one takes another's place.
const AUTHORITIES_MAX: usize = 8;

/// What stands before authorities that were asked for, beside the hashes they were asked for by.
const MARK: &str = "# asked for by ";

/// SHA-256 of a certificate as it is signed (DER).
pub type CertificateHash = [u8; 32];

/// What the certificates of a cluster's authorities hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaHash(Vec<CertificateHash>);

/// A token as it is shown; whether its proof fits is for who knows the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Until when it holds.
    pub until: LogTime,
    /// Tells it from others; public.
    pub nonce: String,
    /// What proves the rest.
    pub proof: String,
}

/// It held, and holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanOut {
    /// How long ago.
    pub ago: Millis,
}

// === impl JoinToken ===

impl JoinToken {
    /// Reads a token; nothing when it is none, as a lasting one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('-');
        let (until, nonce, proof) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let fits = parts.next().is_none() && nonce.len() == NONCE_DIGITS && is_hex(nonce) && is_hex(proof);
        // What is written is read back as the same text: a proof covers the text.
        let until = until.parse().ok().filter(|ms: &u64| fits && ms.to_string() == until)?;
        Some(Self { until: LogTime::from_millis(until), nonce: nonce.to_owned(), proof: proof.to_owned() })
    }

    /// Returns what the proof is to cover.
    pub fn claim(until: LogTime, nonce: &str) -> String {
        format!("{PREFIX}{}-{nonce}", until.millis())
    }

    /// Judges whether it still holds; the clock is the coordinator's.
    pub fn judge(&self, now: LogTime) -> Result<(), RanOut> {
        match now.millis().checked_sub(self.until.millis()) {
            Some(ago) => Err(RanOut { ago: Millis(ago) }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Self::claim(self.until, &self.nonce), self.proof)
    }
}

// === impl CaHash ===

impl CaHash {
    /// Names authorities; nothing when there are none, or more than one line may name.
    pub fn of(hashes: Vec<CertificateHash>) -> Option<Self> {
        (1..=AUTHORITIES_MAX).contains(&hashes.len()).then_some(Self(hashes))
    }

    /// Chooses of what is offered: what is believed is never more than what was said, and may be less, for of two authorities
    /// one may have gone meanwhile.
    pub fn chosen<'a, T>(&self, offered: &'a [(CertificateHash, T)]) -> Vec<&'a T> {
        offered.iter().filter(|(hash, _)| self.0.contains(hash)).map(|(_, certificate)| certificate).collect()
    }

    /// Returns whether a file that is there is believed as it is: one that was asked for by these very hashes, whatever was
    /// added since, and one that a person put there. One that was asked for by others belongs to another line.
    pub fn keeps(&self, file: &str) -> bool {
        match file.lines().next().and_then(|line| line.strip_prefix(MARK)) {
            Some(by) => by.parse() == Ok(self.clone()),
            None => true,
        }
    }

    /// Returns what a file is to begin with that was asked for.
    pub fn mark(&self) -> String {
        format!("{MARK}{self}\n")
    }
}

impl FromStr for CaHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = |part: &str| {
            let hex = part.trim().strip_prefix(SHA256).unwrap_or_default();
            let is_one = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            let mut bytes = [0; 32];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap_or_default(), 16).unwrap_or_default();
            }
            let unfit = || format!("`{part}` is not {SHA256} and 64 digits of hex");
            is_one.then_some(bytes).ok_or_else(unfit)
        };
        let hashes = text.split(',').map(hash).collect::<Result<Vec<_>, _>>()?;
        Self::of(hashes).ok_or_else(|| format!("more than {AUTHORITIES_MAX} authorities"))
    }
}

impl fmt::Display for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, hash) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { SHA256 } else { ",sha256:" })?;
            hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Returns whether a text is a lasting token.
pub fn is_lasting(text: &str) -> bool {
    text.len() == LASTING_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Chooses what a node shows: the lasting token that it was given for this very join token, or what its file has. A new join
/// token in the file means that it is to join anew.
pub fn shown<'a>(file: &'a str, given_for: Option<(&str, &'a str)>) -> &'a str {
    let joins_with = JoinToken::parse(file).map(|token| token.nonce);
    match (joins_with, given_for) {
        (Some(nonce), Some((of, lasting))) if nonce == of => lasting,
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "0123456789abcdef";

    fn token(until_ms: u64) -> JoinToken {
        JoinToken { until: LogTime::from_millis(until_ms), nonce: NONCE.into(), proof: "ab12".into() }
    }

    #[test]
    fn a_token_reads_back_and_nothing_else_is_one() {
        assert_eq!(token(5_000).to_string(), "join-v1-5000-0123456789abcdef-ab12");
        assert_eq!(JoinToken::parse(&token(5_000).to_string()), Some(token(5_000)));
        let lasting = "ab".repeat(32);
        for (text, why) in [
            (lasting.as_str(), "a lasting token"),
            ("", "nothing"),
            ("join-v1-5000-0123456789abcdef", "no proof"),
            ("join-v1-5000-0123456789abcdef-", "an empty proof"),
            ("join-v1-5000-0123-ab12", "too short a number"),
            ("join-v1-05000-0123456789abcdef-ab12", "the same time in another spelling"),
            ("join-v1-+5000-0123456789abcdef-ab12", "and in another"),
            ("join-v1--0123456789abcdef-ab12", "no time"),
            ("join-v1-5000-0123456789ABCDEF-ab12", "upper case"),
            ("join-v1-5000-0123456789abcdef-ab12-more", "more behind"),
            ("join-v2-5000-0123456789abcdef-ab12", "a later kind"),
        ] {
            assert_eq!(JoinToken::parse(text), None, "{why}");
        }
    }

    #[test]
    fn a_lasting_token_has_a_shape() {
        for (text, is, why) in [
            ("ab".repeat(32), true, "32 bytes"),
            ("ab".repeat(31), false, "cut short"),
            ("ab".repeat(33), false, "two lines in one"),
            ("ag".repeat(32), false, "another alphabet"),
            (token(5_000).to_string(), false, "a join token"),
            (String::new(), false, "nothing"),
        ] {
            assert_eq!(is_lasting(&text), is, "{why}");
        }
    }

    #[test]
    fn a_token_holds_until_its_time() {
        for (now_ms, judged, why) in [
            (0, Ok(()), "a clock that is behind"),
            (4_999, Ok(()), "the last moment"),
            (5_000, Err(RanOut { ago: Millis(0) }), "its time itself is over"),
            (9_000, Err(RanOut { ago: Millis(4_000) }), "long after"),
        ] {
            assert_eq!(token(5_000).judge(LogTime::from_millis(now_ms)), judged, "{why}");
        }
    }

    #[test]
    fn a_node_shows_what_it_was_given_for_the_token_it_has() {
        let (join, lasting) = (token(5_000).to_string(), "ab".repeat(32));
        for (file, given_for, expected, why) in [
            (join.as_str(), None, join.as_str(), "it has yet to join"),
            (&join, Some((NONCE, "cd")), "cd", "it joined with this one"),
            (&join, Some(("ffffffffffffffff", "cd")), &join, "it is to join anew"),
            (&lasting, Some((NONCE, "cd")), &lasting, "an operator's own token stands"),
            (&lasting, None, &lasting, "as it always was"),
        ] {
            assert_eq!(shown(file, given_for), expected, "{why}");
        }
    }

    fn hash(of: &[u8]) -> CaHash {
        CaHash::of(of.iter().map(|byte| [*byte; 32]).collect()).expect("so many")
    }

    #[test]
    fn hashes_read_back_and_nothing_else_is_one() {
        let (one, two) = (format!("sha256:{}", "0a".repeat(32)), format!("sha256:{}", "ff".repeat(32)));
        let both = format!("{one},{two}");
        assert_eq!(hash(&[10, 255]).to_string(), both);
        for (text, read, why) in [
            (one.clone(), Some(hash(&[10])), "one"),
            (both.clone(), Some(hash(&[10, 255])), "two while one takes another's place"),
            (
                format!("{one}, {}", two.to_uppercase().replace("SHA256", "sha256")),
                Some(hash(&[10, 255])),
                "as people write",
            ),
            (String::new(), None, "nothing"),
            ("0a".repeat(32), None, "of which kind?"),
            (one[..one.len() - 1].to_owned(), None, "too short"),
            (format!("{one}0"), None, "too long"),
            (format!("{one},"), None, "one that is missing"),
            (format!("sha256:+{}", "0a".repeat(32)[1..].to_owned()), None, "a sign is no digit"),
            (one.replace("256", "512"), None, "another kind"),
            (vec![one.clone(); AUTHORITIES_MAX + 1].join(","), None, "too many"),
        ] {
            assert_eq!(text.parse().ok(), read, "{why}: {text}");
        }
    }

    #[test]
    fn what_is_believed_was_said_and_never_more() {
        for (said, offered, believed, why) in [
            (&[1][..], &[1][..], &[1][..], "the one"),
            (&[1], &[2, 1], &[1], "another that is offered beside it is not"),
            (&[1, 2], &[2], &[2], "one has gone meanwhile"),
            (&[1, 2], &[2, 1], &[2, 1], "both"),
            (&[1], &[2], &[], "somebody else's"),
            (&[1], &[], &[], "nothing"),
        ] {
            let offered: Vec<_> = offered.iter().map(|byte| ([*byte; 32], *byte)).collect();
            let chosen: Vec<_> = hash(said).chosen(&offered).into_iter().copied().collect();
            assert_eq!(chosen, believed, "{why}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_believed_unless_it_is_of_another_line() {
        let pem = "-----BEGIN CERTIFICATE-----";
        for (file, keeps, why) in [
            (format!("{}{pem}", hash(&[1]).mark()), true, "it was asked for by this line"),
            (format!("{}{pem}{pem}", hash(&[1]).mark()), true, "whatever was added since"),
            (format!("{}{pem}", hash(&[2]).mark()), false, "the node joins another cluster, or its new authority"),
            (format!("{}{pem}", hash(&[1, 2]).mark()), false, "more was believed"),
            (format!("{MARK}something\n{pem}"), false, "a mark that nobody wrote"),
            (pem.to_owned(), true, "a person put it there"),
        ] {
            assert_eq!(hash(&[1]).keeps(&file), keeps, "{why}");
        }
    }
}
