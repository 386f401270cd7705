//! Changes of the route table: whole or by the endpoints that differ, never onto the wrong base, never backwards.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::table::{EndpointRoute, RouteTable};
use crate::{
    id::{Digest, LogIndex},
    model::EndpointName,
};

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// Everything.
    Full(RouteTable),
    /// What differs from an older version.
    Delta(TableDelta),
}

/// What differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDelta {
    /// The only version it may be applied to.
    pub applies_to: LogIndex,
    /// The version that comes out.
    pub results_in: LogIndex,
    /// Routes that are new or changed.
    pub changed: Vec<Arc<EndpointRoute>>,
    /// Endpoints that are gone.
    pub removed: Vec<EndpointName>,
    /// The digest of the table that comes out.
    pub digest: Digest,
}

/// Why a change was not applied. The router keeps what it has and asks for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Resync {
    /// The delta starts from another version.
    #[error("the delta applies to version {applies_to}, this table is version {have}")]
    Base {
        /// What the delta starts from.
        applies_to: LogIndex,
        /// What is held.
        have: LogIndex,
    },
    /// The change is older than what is held: a feed that fell behind.
    #[error("version {offered} is older than version {have}")]
    Older {
        /// What was offered.
        offered: LogIndex,
        /// What is held.
        have: LogIndex,
    },
    /// A table of another cluster.
    #[error("the table belongs to another cluster")]
    ForeignCluster,
    /// The feed is ahead: a change was lost on the way.
    #[error("the feed is at version {told}, this table is version {have}")]
    Missed {
        /// What the feed says it has sent.
        told: LogIndex,
        /// What is held.
        have: LogIndex,
    },
    /// The result differs from what the sender has.
    #[error("the table after the delta differs from the sender's")]
    Digest,
}

// === impl RouteTable ===

impl RouteTable {
    /// Returns the digest of the table: over its version and the revision of each endpoint's routes, which the log
    /// makes equal for equal content. It finds a lost or doubled change at the cost of a few bytes per endpoint.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update((self.cluster_id.len() as u64).to_le_bytes());
        hash.update(&self.cluster_id);
        hash.update(self.version.0.to_le_bytes());
        for (name, route) in &self.endpoints {
            hash.update([name.as_str().len() as u8]);
            hash.update(name.as_str());
            hash.update(route.revision.0.to_le_bytes());
        }
        Digest(hash.finalize().into())
    }

    /// Returns what differs between this table and a newer one.
    pub fn delta_to(&self, newer: &Self) -> TableDelta {
        let same = |route: &&Arc<EndpointRoute>| {
            self.endpoints.get(&route.name).is_some_and(|known| known.revision == route.revision)
        };
        TableDelta {
            applies_to: self.version,
            results_in: newer.version,
            changed: newer.endpoints.values().filter(|route| !same(route)).cloned().collect(),
            removed: self.endpoints.keys().filter(|name| !newer.endpoints.contains_key(*name)).cloned().collect(),
            digest: newer.digest(),
        }
    }

    /// Returns the table after a change, or why everything is needed instead.
    pub fn apply(&self, change: TableChange) -> Result<Self, Resync> {
        match change {
            TableChange::Full(table) => {
                let held = !self.cluster_id.is_empty();
                if held && table.cluster_id != self.cluster_id {
                    return Err(Resync::ForeignCluster);
                }
                if held && table.version < self.version {
                    return Err(Resync::Older { offered: table.version, have: self.version });
                }
                Ok(table)
            }
            TableChange::Delta(delta) => self.apply_delta(delta),
        }
    }

    /// Judges a feed's sign of life: what it says it has sent must have come. A feed that is behind says nothing of this
    /// table; it has nothing newer to send.
    pub fn hears(&self, version: LogIndex, digest: Digest) -> Result<(), Resync> {
        if version > self.version {
            return Err(Resync::Missed { told: version, have: self.version });
        }
        if version == self.version && digest != self.digest() { Err(Resync::Digest) } else { Ok(()) }
    }

    fn apply_delta(&self, delta: TableDelta) -> Result<Self, Resync> {
        if delta.applies_to != self.version {
            return Err(Resync::Base { applies_to: delta.applies_to, have: self.version });
        }
        if delta.results_in < self.version {
            return Err(Resync::Older { offered: delta.results_in, have: self.version });
        }
        let mut next = self.clone();
        next.version = delta.results_in;
        for name in &delta.removed {
            next.endpoints.remove(name);
        }
        for route in delta.changed {
            next.endpoints.insert(route.name.clone(), route);
        }
        if next.digest() == delta.digest { Ok(next) } else { Err(Resync::Digest) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{AuthMode, MirrorRules},
        time::LogTime,
    };

    fn table(version: u64, endpoints: &BTreeMap<u8, u64>) -> RouteTable {
        let route = |(name, revision): (&u8, &u64)| {
            let name = EndpointName::new(&format!("ep{name}x")).expect("a valid name");
            let route = EndpointRoute {
                name: name.clone(),
                revision: LogIndex(*revision),
                auth_mode: AuthMode::None,
                key_hashes: Vec::new(),
                max_body_bytes: 1,
                idempotent: None,
                hedging: None,
                split: Vec::new(),
                mirror: Vec::new(),
                mirror_rules: MirrorRules::default(),
                created_at: LogTime::default(),
                deployments: Vec::new(),
            };
            (name, Arc::new(route))
        };
        RouteTable {
            cluster_id: "c".into(),
            version: LogIndex(version),
            endpoints: endpoints.iter().map(route).collect(),
        }
    }

    proptest! {
        #[test]
        fn a_delta_leads_from_the_old_table_to_the_new(
            old in prop::collection::btree_map(0..20_u8, 0..50_u64, 0..20),
            new in prop::collection::btree_map(0..20_u8, 0..50_u64, 0..20),
        ) {
            let (old, new) = (table(50, &old), table(51, &new));
            prop_assert_eq!(old.apply(TableChange::Delta(old.delta_to(&new))), Ok(new));
        }
    }

    #[test]
    fn a_sign_of_life_tells_of_lost_and_damaged_changes() {
        let held = table(7, &BTreeMap::from([(1, 5)]));
        let other = table(7, &BTreeMap::from([(1, 6)]));
        for (version, digest, heard, why) in [
            (7, held.digest(), Ok(()), "all is well"),
            (7, other.digest(), Err(Resync::Digest), "the same version of something else"),
            (8, other.digest(), Err(Resync::Missed { told: LogIndex(8), have: LogIndex(7) }), "a change was lost"),
            (6, other.digest(), Ok(()), "the feed is behind"),
        ] {
            assert_eq!(held.hears(LogIndex(version), digest), heard, "{why}");
        }
    }

    #[test]
    fn what_does_not_fit_asks_for_everything() {
        let held = table(7, &BTreeMap::from([(1, 5)]));
        let newer = table(9, &BTreeMap::from([(1, 9)]));
        let delta = held.delta_to(&newer);
        let based = |applies_to| TableChange::Delta(TableDelta { applies_to: LogIndex(applies_to), ..delta.clone() });
        assert_eq!(held.apply(based(7)), Ok(newer.clone()));
        assert_eq!(held.apply(based(6)), Err(Resync::Base { applies_to: LogIndex(6), have: LogIndex(7) }));
        let lossy = TableDelta { changed: Vec::new(), ..delta };
        assert_eq!(held.apply(TableChange::Delta(lossy)), Err(Resync::Digest), "a change was lost on the way");
        let older = TableChange::Full(table(6, &BTreeMap::new()));
        assert_eq!(held.apply(older), Err(Resync::Older { offered: LogIndex(6), have: LogIndex(7) }));
        let foreign = RouteTable { cluster_id: "other".into(), ..newer.clone() };
        assert_eq!(held.apply(TableChange::Full(foreign)), Err(Resync::ForeignCluster));
        assert_eq!(RouteTable::default().apply(TableChange::Full(newer.clone())), Ok(newer), "the first table");
    }
}
