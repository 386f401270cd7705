//! Whose store it is: written once, before the store gets its name.

use std::path::Path;

use berth_core::id::MemberId;
use berth_proto::raft::v1::StoreIdentity;
use ring::rand::SecureRandom as _;

use super::{
    error::StoreError,
    frame::{decode, encode},
    sled::{Durable, Space, set_aside},
};

const IDENTITY_KEY: &[u8] = b"identity";

/// A member and the cluster it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Minted when the store was created. It lives and dies with the log beside it: a member that comes back without its
    /// log under its old id could vote twice.
    pub member: MemberId,
    /// The cluster.
    pub cluster: String,
}

/// Opens the store at `dir` for `cluster`, or creates it under a fresh member id. Blocks.
pub fn open(dir: &Path, cluster: &str) -> Result<(Durable, Identity), StoreError> {
    let minted = StoreIdentity { member: mint(dir)?, cluster: cluster.to_owned() };
    let store = Durable::open(dir, &[(IDENTITY_KEY, encode(&minted))])?;
    let stored = store.get(Space::Meta, IDENTITY_KEY).map_err(|source| StoreError::io("read", dir, &source))?;
    let identity = match stored.as_deref().map(decode::<StoreIdentity>) {
        Some(Ok(identity)) => identity,
        Some(Err(broken)) => return Err(set_aside(dir, format!("its identity cannot be read: {broken}"))),
        None => return Err(set_aside(dir, "it does not say whose it is".into())),
    };
    if identity.cluster != cluster {
        return Err(StoreError::ForeignCluster {
            path: dir.to_owned(),
            found: identity.cluster,
            expected: cluster.to_owned(),
        });
    }
    Ok((store, Identity { member: MemberId(identity.member), cluster: identity.cluster }))
}

/// Draws a member id from the system's generator. Zero is left out: it stands for "nobody" in an unset message field.
fn mint(dir: &Path) -> Result<u64, StoreError> {
    let random = ring::rand::SystemRandom::new();
    loop {
        let mut bytes = [0; 8];
        random.fill(&mut bytes).map_err(|_| {
            StoreError::io("mint a member id for", dir, &std::io::Error::other("the system gave no random bytes"))
        })?;
        match u64::from_be_bytes(bytes) {
            0 => {}
            id => return Ok(id),
        }
    }
}
