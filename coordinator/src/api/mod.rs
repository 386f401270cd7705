//! The public API: parse, check, propose, answer from this member's own state.
//!
//! Any member takes any call. A change is replicated through the leader and answered once it is applied here, so that a
//! caller reads its own write wherever it asks next. A read first learns from the leader how far it must have applied.
//! What only the leader knows (loads, logs, what a rollout waits for) is asked there, once.

mod alerts;
mod assets;
mod boards;
mod call;
mod cluster;
mod deployments;
mod endpoints;
mod forward;
mod logs;
mod mirrors;
mod nodes;
mod plans;
mod quotas;
mod replicas;
mod requests;
mod watch;

use std::sync::Arc;

use crate::context::Context;

pub(crate) use call::answer;

/// The services of the API.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) context: Arc<Context>,
}
