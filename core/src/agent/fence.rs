//! The fence: what keeps an old order from undoing a newer one.

use serde::{Deserialize, Serialize};

use super::Assignments;
use crate::id::{LogIndex, NodeEpoch, Term};

/// The newest orders that were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The highest term of a leader that was heard.
    pub term: Term,
    /// The node's epoch.
    pub epoch: NodeEpoch,
    /// The highest revision of orders that were taken.
    pub revision: LogIndex,
}

// === impl Fence ===

impl Fence {
    /// Enters a session, or says why it is refused.
    pub(super) fn register(&mut self, epoch: NodeEpoch, term: Term) -> Result<(), String> {
        if term < self.term {
            return Err(format!("a leader of term {term} was deposed: term {} is known", self.term));
        }
        if epoch < self.epoch {
            return Err(format!("epoch {epoch}: epoch {} was held", self.epoch));
        }
        (self.term, self.epoch) = (term, epoch);
        Ok(())
    }

    /// Takes orders, or says why they are refused. The same revision may come again: a session repeats its orders.
    pub(super) fn take(&mut self, orders: &Assignments) -> Result<(), String> {
        if orders.term < self.term {
            return Err(format!("orders of term {}: term {} is known", orders.term, self.term));
        }
        if orders.epoch != self.epoch {
            return Err(format!("orders for epoch {}: this is epoch {}", orders.epoch, self.epoch));
        }
        if orders.revision < self.revision {
            return Err(format!("orders of revision {}: revision {} was taken", orders.revision, self.revision));
        }
        (self.term, self.revision) = (orders.term, orders.revision);
        Ok(())
    }
}
