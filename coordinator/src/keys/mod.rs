//! The cluster key: what members share as a file, and everything derived from it.
//!
//! One secret proves that a member belongs to the cluster, gives nodes and gates their tokens, and seals endpoint keys.
//! Each use derives its own key from it, so that what a node holds opens nothing else. Several secrets may be in force
//! at once: the first is used, all are accepted, so that a secret can be exchanged member by member.

mod file;
mod seal;

use std::fmt;

use ring::{hmac, rand::SecureRandom};
use subtle::{Choice, ConstantTimeEq as _};

pub use seal::{KeySlot, KeyText};

use berth_core::{
    error::{Code, Error},
    join::{JoinToken, RanOut},
    time::LogTime,
};

/// Bytes of one secret: as strong as everything derived from it.
const SECRET_BYTES: usize = 32;

/// The cluster's id and its secrets. Has no `Debug` of what it holds.
#[derive(Clone)]
pub struct ClusterKey {
    cluster_id: String,
    /// Never empty; the first is used, all are accepted.
    secrets: Vec<Secret>,
}

#[derive(Clone)]
struct Secret {
    id: u32,
    bytes: [u8; SECRET_BYTES],
}

/// What a derived secret is for. The words are part of the derivation and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Members prove themselves to one another.
    Member,
    /// Nodes prove themselves to coordinators.
    Node,
    /// Gates prove themselves to one another.
    Gate,
    /// Endpoint keys are sealed with it.
    Seal,
}

// === impl Purpose ===

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Member => b"berth member v1",
            Self::Node => b"berth node v1",
            Self::Gate => b"berth gate v1",
            Self::Seal => b"berth endpoint keys v1",
        }
    }
}

// === impl ClusterKey ===

impl ClusterKey {
    /// Returns the id of the cluster this key belongs to.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Returns what a node shows to be let in.
    pub fn node_token(&self) -> String {
        hex::encode(self.current().derive(Purpose::Node))
    }

    /// Returns what members show one another: the first is sent, all are accepted.
    pub fn member_tokens(&self) -> Vec<String> {
        self.secrets.iter().map(|secret| hex::encode(secret.derive(Purpose::Member))).collect()
    }

    /// Returns what gates show one another.
    pub fn gate_token(&self) -> String {
        hex::encode(self.current().derive(Purpose::Gate))
    }

    /// Returns whether `shown` proves a node of this cluster, or one that may join it now.
    pub fn admits_node(&self, shown: &str, now: LogTime) -> Result<bool, RanOut> {
        let Some(token) = JoinToken::parse(shown) else { return Ok(self.admits(Purpose::Node, shown)) };
        let fits = self.secrets.iter().fold(Choice::from(0), |fits, secret| {
            let lasting = hex::encode(secret.derive(Purpose::Node));
            fits | proof(&lasting, &token).as_bytes().ct_eq(token.proof.as_bytes())
        });
        // Who made it up learns nothing of when it would have held.
        if bool::from(fits) { token.judge(now).map(|()| true) } else { Ok(false) }
    }

    /// Returns whether `shown` proves a member of this cluster.
    pub fn admits_member(&self, shown: &str) -> bool {
        self.admits(Purpose::Member, shown)
    }

    /// Compares with every secret in constant time, whichever fits.
    fn admits(&self, purpose: Purpose, shown: &str) -> bool {
        let fits = self.secrets.iter().fold(Choice::from(0), |fits, secret| {
            fits | hex::encode(secret.derive(purpose)).as_bytes().ct_eq(shown.as_bytes())
        });
        bool::from(fits)
    }

    fn current(&self) -> &Secret {
        // Neither loading nor creating gives a key without secrets.
        &self.secrets[0]
    }

    fn by_id(&self, id: u32) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.id == id)
    }
}

impl fmt::Debug for ClusterKey {
    /// Shows which cluster and which secrets, and nothing of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.secrets.iter().map(|secret| secret.id).collect();
        write!(f, "ClusterKey({}, ids {ids:?})", self.cluster_id)
    }
}

/// Makes a join token of the lasting one. Whoever has that may: it opens the same door, and for ever.
pub fn join_token(lasting: &str, until: LogTime) -> Result<JoinToken, Error> {
    let nonce = hex::encode(random::<8>()?);
    let mut token = JoinToken { until, nonce, proof: String::new() };
    token.proof = proof(lasting, &token);
    Ok(token)
}

fn proof(lasting: &str, token: &JoinToken) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, lasting.as_bytes());
    hex::encode(hmac::sign(&key, JoinToken::claim(token.until, &token.nonce).as_bytes()))
}

// === impl Secret ===

impl Secret {
    fn derive(&self, purpose: Purpose) -> [u8; SECRET_BYTES] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.bytes);
        let mut out = [0; SECRET_BYTES];
        out.copy_from_slice(hmac::sign(&key, purpose.label()).as_ref());
        out
    }
}

/// Fills an array from the system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::new(Code::Internal, "the system gives no random numbers"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey { cluster_id: "c-1".into(), secrets: vec![Secret { id: 1, bytes: [byte; SECRET_BYTES] }] }
    }

    #[test]
    fn a_token_opens_what_it_is_for_and_nothing_else() {
        let (ours, theirs) = (key(1), key(2));
        let admits = |shown: &str| ours.admits_node(shown, LogTime::default()) == Ok(true);
        assert!(admits(&ours.node_token()));
        assert!(!admits(&theirs.node_token()));
        assert!(!admits(&ours.member_tokens()[0]));
        assert!(!ours.admits_member(&ours.node_token()));
        assert!(!admits(&ours.gate_token()));
        assert!(!admits(""));
    }

    #[test]
    fn a_join_token_opens_the_door_until_its_time() {
        let (ours, theirs) = (key(1), key(2));
        let at = LogTime::from_millis;
        let token = join_token(&ours.node_token(), at(5_000)).expect("random numbers");
        let longer = JoinToken { until: at(9_000), ..token.clone() };
        let foreign = join_token(&theirs.node_token(), at(5_000)).expect("random numbers");
        let late = Err(RanOut { ago: berth_core::time::Millis(1_000) });
        for (token, now_ms, admitted, why) in [
            (&token, 4_000, Ok(true), "in time"),
            (&token, 6_000, late, "too late"),
            (&longer, 6_000, Ok(false), "its time was changed by hand"),
            (&foreign, 4_000, Ok(false), "another cluster's"),
            (&foreign, 6_000, Ok(false), "another cluster's is not said to have run out"),
        ] {
            assert_eq!(ours.admits_node(&token.to_string(), at(now_ms)), admitted, "{why}");
        }
        let mut rotated = key(2);
        rotated.secrets.push(Secret { id: 1, bytes: [1; SECRET_BYTES] });
        assert_eq!(rotated.admits_node(&token.to_string(), at(4_000)), Ok(true), "of an older secret");
    }

    #[test]
    fn an_older_secret_is_accepted_and_the_first_is_shown() {
        let mut rotated = key(2);
        rotated.secrets[0].id = 2;
        rotated.secrets.push(Secret { id: 1, bytes: [1; SECRET_BYTES] });
        assert_eq!(rotated.admits_node(&key(1).node_token(), LogTime::default()), Ok(true));
        assert_ne!(rotated.node_token(), key(1).node_token());
        assert_eq!(rotated.member_tokens().len(), 2);
    }

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        let shown = format!("{:?}", key(0xab));
        assert_eq!(shown, "ClusterKey(c-1, ids [1])");
    }
}
