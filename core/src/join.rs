//! Join tokens: what a new node shows until it is taken, and until when that may be.
//!
//! The line for a second machine is pasted into chats and kept in notes, so what it holds ends by itself. A node that shows one
//! in time is given the cluster's lasting node token and needs the other no more. Nobody keeps a list: a token says until when
//! it holds, and a proof that only who has the lasting token can make covers that.

use std::fmt;

use crate::time::{LogTime, Millis};

/// What a token begins with. A lasting token is hex alone, so neither is taken for the other.
const PREFIX: &str = "join-v1-";

/// Digits of the number that tells tokens apart which end at the same time.
const NONCE_DIGITS: usize = 16;

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
}
