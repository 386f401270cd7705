//! Replies: what an entry answered, kept long enough that a retry gets the same answer instead of a second effect.

use std::collections::{BTreeMap, VecDeque};

use super::{Event, StepOutcome};
use crate::{
    error::Error,
    id::{LogIndex, NodeEpoch, RequestId},
};

/// Answers kept. A client gives up long before this many other requests were made.
const REPLIES_MAX: usize = 10_000;

/// What an entry answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was applied; the object is at this revision.
    Done {
        /// The revision of what changed, or of what was found unchanged.
        revision: LogIndex,
    },
    /// A node registered under this epoch.
    Registered {
        /// The epoch.
        epoch: NodeEpoch,
    },
    /// What became of each step of a plan.
    Planned {
        /// In the order of the steps.
        outcomes: Vec<StepOutcome>,
    },
    /// It was refused and changed nothing.
    Refused(Error),
}

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyRecord {
    /// The request.
    pub request_id: RequestId,
    /// The fingerprint of what was asked.
    pub fingerprint: u64,
    /// The entry that answered.
    pub index: LogIndex,
    /// The answer.
    pub reply: Reply,
}

/// What applying an entry gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer for the proposer.
    pub reply: Reply,
    /// What happened.
    pub events: Vec<Event>,
}

/// Answers by request, the oldest dropped first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyTable {
    records: BTreeMap<RequestId, ReplyRecord>,
    order: VecDeque<RequestId>,
}

// === impl ReplyTable ===

impl ReplyTable {
    /// Restores a table from its records, oldest first.
    pub fn restore(records: impl IntoIterator<Item = ReplyRecord>) -> Self {
        let mut table = Self::default();
        records.into_iter().for_each(|record| table.insert(record));
        table
    }

    /// Lists the records, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &ReplyRecord> {
        self.order.iter().filter_map(|id| self.records.get(id))
    }

    /// Finds the answer to a request.
    pub fn get(&self, request_id: &RequestId) -> Option<&ReplyRecord> {
        self.records.get(request_id)
    }

    pub(super) fn insert(&mut self, record: ReplyRecord) {
        if self.order.len() == REPLIES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
        self.order.push_back(record.request_id.clone());
        self.records.insert(record.request_id.clone(), record);
    }
}
