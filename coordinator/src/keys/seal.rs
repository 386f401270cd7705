//! Endpoint keys: made, sealed under the cluster key for the log, opened for an authorised caller.
//!
//! Azure's contract lets a caller read keys back, so a hash alone would not do. The name of the endpoint and the slot
//! are sealed along: a sealed key copied to another endpoint or slot does not open there.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{ClusterKey, Purpose, Secret, random};
use berth_core::{
    error::{Code, Error},
    id::Digest,
    model::{EndpointKeys, EndpointName, SealedKey},
};

/// Bytes of an endpoint key before base64: 256 bits.
const KEY_BYTES: usize = 32;

/// Lengths of a key a caller supplies: long enough not to be guessed, short enough for a header.
const SUPPLIED_LEN: std::ops::RangeInclusive<usize> = 16..=256;

/// The two places of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySlot {
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

/// A key in clear, on its way to the caller. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

// === impl KeySlot ===

impl KeySlot {
    fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }

    fn aad(self, endpoint: &EndpointName) -> Aad<Vec<u8>> {
        Aad::from(format!("{endpoint}\0{}", self.word()).into_bytes())
    }
}

// === impl KeyText ===

impl KeyText {
    /// Makes a fresh key.
    pub fn fresh() -> Result<Self, Error> {
        Ok(Self(base64url(&random::<KEY_BYTES>()?)))
    }

    /// Takes a key a caller supplies, if it can be one.
    pub fn supplied(text: &str) -> Result<Self, Error> {
        let fits = SUPPLIED_LEN.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(Code::Invalid, "the supplied key cannot be used")
            .why("a key travels in a header and must not be guessed")
            .try_("use 16 to 256 printable ASCII characters without spaces, or leave it out to have one made"))
    }

    /// Returns the key.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyText(…)")
    }
}

// === impl ClusterKey ===

impl ClusterKey {
    /// Makes two fresh keys for an endpoint.
    pub fn fresh_keys(&self, endpoint: &EndpointName) -> Result<EndpointKeys, Error> {
        Ok(EndpointKeys {
            primary: self.seal(endpoint, KeySlot::Primary, &KeyText::fresh()?)?,
            secondary: self.seal(endpoint, KeySlot::Secondary, &KeyText::fresh()?)?,
        })
    }

    /// Seals a key for the log.
    pub fn seal(&self, endpoint: &EndpointName, slot: KeySlot, key: &KeyText) -> Result<SealedKey, Error> {
        let secret = self.current();
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut ciphertext = key.0.clone().into_bytes();
        let sealed = cipher(secret).and_then(|cipher| {
            cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), slot.aad(endpoint), &mut ciphertext)
        });
        sealed.map_err(|_| Error::new(Code::Internal, "the key cannot be sealed"))?;
        let hash = Digest::of(key.0.as_bytes()).0;
        Ok(SealedKey { cluster_key_id: secret.id, nonce: nonce.to_vec(), ciphertext, hash })
    }

    /// Opens a sealed key for an authorised caller.
    pub fn open(&self, endpoint: &EndpointName, slot: KeySlot, sealed: &SealedKey) -> Result<KeyText, Error> {
        let id = sealed.cluster_key_id;
        let Some(secret) = self.by_id(id) else {
            return Err(Error::new(Code::ClusterKey, format!("a key of endpoint `{endpoint}` cannot be opened"))
                .why(format!("it was sealed under secret {id}, which cluster.key no longer holds"))
                .try_("regenerate it, or put that secret back into cluster.key"));
        };
        let broken = |_| {
            Error::new(Code::ClusterKey, format!("a key of endpoint `{endpoint}` cannot be opened"))
                .why(format!("secret {id} of cluster.key is not the one it was sealed under"))
        };
        let nonce = Nonce::try_assume_unique_for_key(&sealed.nonce).map_err(broken)?;
        let mut bytes = sealed.ciphertext.clone();
        let clear = cipher(secret)
            .and_then(|cipher| cipher.open_in_place(nonce, slot.aad(endpoint), &mut bytes).map(|clear| clear.to_vec()));
        let text = String::from_utf8(clear.map_err(broken)?).map_err(|_| broken(ring::error::Unspecified))?;
        Ok(KeyText(text))
    }
}

fn cipher(secret: &Secret) -> Result<LessSafeKey, ring::error::Unspecified> {
    UnboundKey::new(&CHACHA20_POLY1305, &secret.derive(Purpose::Seal)).map(LessSafeKey::new)
}

/// Writes bytes with letters that need no escaping in a header, a shell or a URL.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let padded = [group[0], group.get(1).copied().unwrap_or(0), group.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for letter in 0..=group.len() {
            out.push(char::from(LETTERS[(bits >> (18 - 6 * letter) & 63) as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: u32, byte: u8) -> ClusterKey {
        ClusterKey { cluster_id: "c-1".into(), secrets: vec![Secret { id, bytes: [byte; 32] }] }
    }

    #[test]
    fn base64url_is_what_everyone_else_writes() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (&[0xfb, 0xff], "-_8")] {
            assert_eq!(base64url(bytes), text);
        }
        assert_eq!(KeyText::fresh().expect("random").reveal().len(), 43);
    }

    #[test]
    fn a_sealed_key_opens_only_where_it_belongs() {
        let name = |text| EndpointName::new(text).expect("a name");
        let ours = keys(1, 1);
        let text = KeyText::supplied("a-key-of-some-length").expect("long enough");
        let sealed = ours.seal(&name("fraud"), KeySlot::Primary, &text).expect("sealed");
        assert_eq!(ours.open(&name("fraud"), KeySlot::Primary, &sealed).as_ref(), Ok(&text));
        assert_eq!(sealed.hash, Digest::of(b"a-key-of-some-length").0);
        assert!(!sealed.ciphertext.windows(6).any(|part| part == b"a-key-"));
        for (key, endpoint, slot, why) in [
            (&ours, "other", KeySlot::Primary, "another endpoint"),
            (&ours, "fraud", KeySlot::Secondary, "another slot"),
            (&keys(1, 2), "fraud", KeySlot::Primary, "another secret under the same number"),
            (&keys(2, 1), "fraud", KeySlot::Primary, "the number is gone"),
        ] {
            let refused = key.open(&name(endpoint), slot, &sealed).expect_err(why);
            assert_eq!(refused.code, Code::ClusterKey, "{why}");
        }
        let again = ours.seal(&name("fraud"), KeySlot::Primary, &text).expect("sealed");
        assert_ne!(again.nonce, sealed.nonce);
    }

    #[test]
    fn a_supplied_key_must_be_able_to_travel() {
        for text in ["", "short", "with a space inside it", "with\nnewline-inside-it", &"x".repeat(257)] {
            assert_eq!(KeyText::supplied(text).expect_err("refused").code, Code::Invalid);
        }
    }
}
