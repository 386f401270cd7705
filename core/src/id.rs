//! Identities: who a replica, node, member or log position is, as types that cannot be mixed up.
//!
//! Numbers are minted by whoever proposes (never by `apply`), so that two coordinators applying one log agree. Hex is
//! the only text form; people see the first eight digits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the first eight hex digits, as people see it in tables.
            pub fn short(self) -> String {
                format!("{:08x}", self.0 >> 32)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.len() != 16 {
                    return Err(ParseIdError);
                }
                u64::from_str_radix(text, 16).map(Self).map_err(|_| ParseIdError)
            }
        }
    };
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the value that follows.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

hex_id! {
    /// One instance of one generation of a deployment on one node. A replacement is a new id.
    ReplicaId
}
hex_id! {
    /// A place held beyond what a deployment asked for.
    SlotId
}
hex_id! {
    /// Capacity lent to a project for a while.
    LoanId
}
hex_id! {
    /// A host, by the id its agent minted at first start and keeps on its disk.
    NodeId
}
hex_id! {
    /// A coordinator member, by the id it minted at first start; a member whose store is lost comes back under a new one.
    MemberId
}
counter! {
    /// A position in the replicated log; also the revision of whatever that entry last changed.
    LogIndex
}
counter! {
    /// A Raft term: orders of a deposed leader carry an older one.
    Term
}
counter! {
    /// How often a node has registered: the fence against an agent that was replaced while it slept.
    NodeEpoch
}
counter! {
    /// How often a deployment's spec has changed.
    Generation
}

/// Refusal of text that is not sixteen hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected sixteen hex digits")]
pub struct ParseIdError;

/// The SHA-256 of an asset's bytes: its name in every store and cache.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Names one mutation across retries, so that it is applied once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub String);

// === impl Digest ===

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl FromStr for Digest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("sha256:").unwrap_or(text);
        if text.len() != 64 || !text.is_ascii() {
            return Err(ParseIdError);
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| ParseIdError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseIdError)?;
        }
        Ok(Self(out))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

// === impl RequestId ===

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = ReplicaId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "0123456789abcdef");
        assert_eq!(id.short(), "01234567");
        assert_eq!("0123456789abcdef".parse(), Ok(id));
        assert_eq!("123".parse::<ReplicaId>(), Err(ParseIdError));
        assert_eq!("+123456789abcdef".len(), 16);
        let digest = Digest::of(b"berth");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(format!("sha256:{digest}").parse(), Ok(digest));
        assert_eq!("é".repeat(32).parse::<Digest>(), Err(ParseIdError));
    }
}
