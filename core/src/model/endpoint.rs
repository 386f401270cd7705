//! Endpoints: the stable address clients call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AlertRule, EndpointName, Hedging, MirrorRules, ProjectName, Traffic};
use crate::{
    defaults::DEFAULTS,
    error::{Code, Error, Problems},
    id::LogIndex,
    time::LogTime,
};

/// How callers prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// One of two keys that never expire.
    #[default]
    Key,
    /// No credential is asked for.
    None,
}

/// What a user says about an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Free text.
    pub description: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// How callers prove who they are.
    pub auth_mode: AuthMode,
    /// Largest request body in bytes; 413 beyond it.
    pub max_body_bytes: u64,
    /// Whether an unanswered request may be sent again to another replica on any route; `None` leaves it to the route's
    /// protocol.
    pub idempotent: Option<bool>,
    /// When a second replica is asked beside the first; never when absent.
    pub hedging: Option<Hedging>,
    /// How its mirrors are judged.
    pub mirror_rules: MirrorRules,
    /// What somebody wants to be told about it.
    pub alerts: Vec<AlertRule>,
}

/// A key under the cluster key: readable by coordinators alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// Which cluster key sealed it.
    pub cluster_key_id: u32,
    /// The nonce.
    pub nonce: Vec<u8>,
    /// The sealed bytes with their tag.
    pub ciphertext: Vec<u8>,
    /// SHA-256 of the key in clear: all that routers get.
    pub hash: [u8; 32],
}

/// The two keys of an endpoint, so that one can be changed while the other works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointKeys {
    /// The first key.
    pub primary: SealedKey,
    /// The second key.
    pub secondary: SealedKey,
}

/// An endpoint as the cluster holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name, unique in the cluster.
    pub name: EndpointName,
    /// The project it belongs to.
    pub project: ProjectName,
    /// What the user says about it.
    pub spec: EndpointSpec,
    /// Its keys.
    pub keys: EndpointKeys,
    /// The live split.
    pub traffic: Traffic,
    /// Copies of live requests, per deployment.
    pub mirror: Traffic,
    /// When it was created.
    pub created_at: LogTime,
    /// The entry that last changed it.
    pub revision: LogIndex,
}

// === impl EndpointSpec ===

impl Default for EndpointSpec {
    fn default() -> Self {
        Self {
            description: String::new(),
            tags: BTreeMap::new(),
            auth_mode: AuthMode::Key,
            max_body_bytes: DEFAULTS.max_body_mib << 20,
            idempotent: None,
            hedging: None,
            mirror_rules: MirrorRules::default(),
            alerts: Vec::new(),
        }
    }
}

impl EndpointSpec {
    /// Checks every rule and reports all that are broken.
    pub fn validate(&self) -> Result<(), Error> {
        let mut problems = Problems::default();
        if self.max_body_bytes == 0 || self.max_body_bytes > 2 << 30 {
            problems.add_try(
                "max_body_bytes",
                format!("{} is out of range", self.max_body_bytes),
                "use 1 to 2147483648",
            );
        }
        if self.description.len() > 4_096 {
            problems.add("description", "longer than 4096 bytes");
        }
        if self.tags.len() > 64 {
            problems.add("tags", "more than 64 tags");
        }
        if let Some(hedging) = &self.hedging {
            hedging.check(self.idempotent, &mut problems);
        }
        self.mirror_rules.check(&mut problems);
        super::alert::check(&self.alerts, &mut problems);
        problems.into_result(Code::Invalid, "the endpoint")
    }
}

// === impl SealedKey ===

impl std::fmt::Debug for SealedKey {
    /// Shows that there is a key and nothing of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedKey(cluster_key_id={})", self.cluster_key_id)
    }
}
