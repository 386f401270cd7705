//! Asking the leader what only it knows. A call is handed on once: whoever gets it answers.

use std::sync::Arc;

use berth_core::error::{Code, Error};
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use super::{Api, call::Call};
use crate::{auth::FORWARDED, controller::Lead};

/// Where the leader is.
pub(super) enum Leader {
    /// This member leads.
    Here(Arc<Lead>),
    /// Another one does.
    There(Channel),
}

// === impl Api ===

impl Api {
    /// Finds the leader for a call.
    pub(super) fn leader(&self, call: &Call) -> Result<Leader, Error> {
        if let Some(lead) = self.context.lead.borrow().clone() {
            return Ok(Leader::Here(lead));
        }
        let status = self.context.raft.status();
        let elsewhere = status.leader.as_ref().filter(|leader| leader.id != status.member_id);
        match elsewhere {
            Some(leader) if !call.forwarded => Ok(Leader::There(self.context.peers.channel(&leader.address)?)),
            _ => Err(Error::new(Code::NoLeader, "no coordinator leads at the moment").try_("the same call again")),
        }
    }
}

/// Marks a request as handed on, with what is left of its time.
pub(super) fn handed_on<T>(call: &Call, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(FORWARDED, MetadataValue::from_static("1"));
    request.set_timeout(call.deadline.saturating_duration_since(tokio::time::Instant::now()));
    request
}
