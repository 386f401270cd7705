//! A saved state as the beginning of a cluster that goes on from it.
//!
//! Those who follow a cluster (agents, routers, watchers of events) refuse whatever is older than what they have seen. The
//! cluster that was lost went on for a while after the snapshot, nobody knows for how long; so what goes on from it begins
//! far beyond any number that it can have reached.

use std::collections::BTreeSet;

use super::{ClusterState, Event, EventSubject, RouteRevisions, Severity};
use crate::{
    id::{Digest, LogIndex, MemberId, Term},
    time::LogTime,
};

/// Entries and terms that are skipped: a century of a thousand entries a second does not use them up twice.
const LEAP: u64 = 1 << 40;

/// Event numbers that are skipped, so that a watcher of the lost cluster takes no new event for one it has had.
const EVENTS_LEAP: u64 = 1 << 20;

// === impl ClusterState ===

impl ClusterState {
    /// Makes the beginning of a cluster of this saved state. `assets` are those whose bytes `holder`, its only member, has;
    /// the rest is forgotten, so that whoever refers to it uploads it again.
    #[must_use]
    pub fn revived(mut self, at: LogTime, holder: MemberId, assets: &BTreeSet<Digest>) -> Self {
        let saved = self.applied;
        self.applied = LogIndex(saved.0 + LEAP);
        self.term = Term(self.term.0 + LEAP);
        self.time = self.time.max(at);
        let endpoints = self.endpoints.keys().map(|name| (name.clone(), self.applied)).collect();
        self.routes = RouteRevisions::restore(self.applied, self.applied, endpoints, []);
        self.assets.retain(|digest, _| assets.contains(digest));
        for asset in self.assets.values_mut() {
            asset.holders = [holder].into_iter().collect();
        }
        self.upgrade = None;
        let next_seq = self.events.next_seq() + EVENTS_LEAP;
        self.events = super::EventLog::restore(Vec::new(), next_seq);
        self.events.push(Event {
            seq: next_seq,
            index: self.applied,
            at: self.time,
            severity: Severity::Warning,
            kind: "cluster.restored".to_owned(),
            subject: EventSubject::default(),
            text: format!("the cluster goes on from a snapshot of entry {saved}; what was changed after it is lost"),
        });
        self.reindex();
        self
    }
}
