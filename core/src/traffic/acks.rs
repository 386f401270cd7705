//! Acknowledged tables: what a router may claim to have received, applied and warmed.
//!
//! A rollout takes its next step on these claims, so they only ever rise, and a version is never claimed as warm before
//! it is applied, nor applied before it is received.

use crate::id::LogIndex;

/// The newest version a router has received, applied and warmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableAcks {
    /// It arrived.
    pub received: LogIndex,
    /// Every new request is routed by it.
    pub applied: LogIndex,
    /// The gates of all nodes that own a replica of it are connected.
    pub warm: LogIndex,
}

// === impl TableAcks ===

impl TableAcks {
    /// Notes that a version arrived.
    pub fn received(&mut self, version: LogIndex) {
        self.received = self.received.max(version);
    }

    /// Notes that new requests are routed by a version.
    pub fn applied(&mut self, version: LogIndex) {
        self.received(version);
        self.applied = self.applied.max(version);
    }

    /// Notes that the gates of a version are connected; one that is not applied yet does not count.
    pub fn warm(&mut self, version: LogIndex) {
        if version <= self.applied {
            self.warm = self.warm.max(version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_only_rise_and_keep_their_order() {
        let mut acks = TableAcks::default();
        acks.received(LogIndex(5));
        acks.warm(LogIndex(5));
        assert_eq!(acks, TableAcks { received: LogIndex(5), ..TableAcks::default() }, "warm without applied");
        acks.applied(LogIndex(5));
        acks.warm(LogIndex(4));
        acks.applied(LogIndex(3));
        assert_eq!((acks.applied, acks.warm), (LogIndex(5), LogIndex(4)));
        acks.applied(LogIndex(7));
        assert_eq!(acks.received, LogIndex(7), "what is applied has arrived");
    }
}
