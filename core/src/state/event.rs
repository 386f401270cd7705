//! Events: what happened lately, for people, bounded.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    id::{LogIndex, NodeId, ReplicaId},
    model::{DeploymentKey, EndpointName, NodeName},
    time::LogTime,
};

/// Events kept: a busy day of a small cluster, a few hundred KiB of snapshot.
const EVENTS_MAX: usize = 2_000;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something went as planned.
    Info,
    /// Someone should look when there is time.
    Warning,
    /// Someone should look now.
    Error,
}

/// What an event is about; each part when it applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSubject {
    /// The endpoint.
    pub endpoint: Option<EndpointName>,
    /// The deployment.
    pub deployment: Option<DeploymentKey>,
    /// The replica.
    pub replica: Option<ReplicaId>,
    /// The node.
    pub node: Option<NodeId>,
    /// The node's name.
    pub node_name: Option<NodeName>,
}

/// Nothing of a replica is left on its node but its log.
pub(super) const GONE: &str = "replica.gone";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up by one per event of the cluster, so that a watcher sees gaps.
    pub seq: u64,
    /// The entry that caused it.
    pub index: LogIndex,
    /// When.
    pub at: LogTime,
    /// How much it matters.
    pub severity: Severity,
    /// A stable word: `replica.serving`, `node.lost`.
    pub kind: String,
    /// What it is about.
    pub subject: EventSubject,
    /// One sentence for people.
    pub text: String,
}

/// The last events, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventLog {
    events: VecDeque<Event>,
    next_seq: u64,
}

// === impl EventLog ===

impl EventLog {
    /// Restores a log; `next_seq` is the number the next event gets.
    pub fn restore(events: impl IntoIterator<Item = Event>, next_seq: u64) -> Self {
        Self { events: events.into_iter().collect(), next_seq }
    }

    /// Returns the number the next event gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Lists the events, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// Lists the events from number `seq` on.
    pub fn from(&self, seq: u64) -> impl Iterator<Item = &Event> {
        let at = self.events.partition_point(|event| event.seq < seq);
        self.events.range(at..)
    }

    /// Finds the replica of a deployment that ended last, or this one if it has: where its node keeps what it wrote.
    pub fn last_ended(&self, key: &DeploymentKey, only: Option<ReplicaId>) -> Option<(ReplicaId, NodeId)> {
        let ended =
            self.iter().rev().filter(|event| event.kind == GONE && event.subject.deployment.as_ref() == Some(key));
        let mut places = ended.filter_map(|event| event.subject.replica.zip(event.subject.node));
        places.find(|(replica, _)| only.is_none_or(|only| only == *replica))
    }

    pub(super) fn push(&mut self, mut event: Event) -> Event {
        event.seq = self.next_seq;
        self.next_seq += 1;
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_last_is_found_by_its_event() {
        let key = |text: &str| text.parse::<DeploymentKey>().unwrap();
        let about = |kind: &str, of: &str, replica, node| Event {
            seq: 0,
            index: LogIndex(1),
            at: LogTime::default(),
            severity: Severity::Info,
            kind: kind.to_owned(),
            subject: EventSubject {
                deployment: Some(key(of)),
                replica: Some(ReplicaId(replica)),
                node: Some(NodeId(node)),
                ..EventSubject::default()
            },
            text: String::new(),
        };
        let mut log = EventLog::default();
        for (kind, of, replica, node) in [
            (GONE, "fraud/blue", 1, 1),
            (GONE, "fraud/blue", 2, 2),
            (GONE, "fraud/green", 3, 3),
            ("replica.serving", "fraud/blue", 4, 4),
        ] {
            log.push(about(kind, of, replica, node));
        }
        for (of, only, found) in [
            ("fraud/blue", None, Some((2, 2))),
            ("fraud/blue", Some(1), Some((1, 1))),
            ("fraud/blue", Some(3), None),
            ("fraud/blue", Some(4), None),
            ("other/blue", None, None),
        ] {
            let found = found.map(|(replica, node)| (ReplicaId(replica), NodeId(node)));
            assert_eq!(log.last_ended(&key(of), only.map(ReplicaId)), found, "{of} {only:?}");
        }
    }

    #[test]
    fn the_last_events_are_kept_and_their_numbers_go_on() {
        let event = Event {
            seq: 0,
            index: LogIndex(1),
            at: LogTime::default(),
            severity: Severity::Info,
            kind: "node.lost".to_owned(),
            subject: EventSubject::default(),
            text: String::new(),
        };
        let mut log = EventLog::default();
        let more = 3 * EVENTS_MAX as u64 + 7;
        (0..more).for_each(|_| drop(log.push(event.clone())));
        assert_eq!(log.iter().count(), EVENTS_MAX, "what is kept is bounded");
        assert_eq!((log.next_seq(), log.iter().next().map(|event| event.seq)), (more, Some(more - EVENTS_MAX as u64)));
        assert_eq!(log.from(0).count(), EVENTS_MAX, "who asks for older ones gets those that are left");
        assert_eq!(log.from(more - 2).map(|event| event.seq).collect::<Vec<_>>(), [more - 2, more - 1]);
    }
}
