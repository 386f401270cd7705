//! Node sessions: one stream per node, to the leader.
//!
//! Orders go down as the node's whole set, built when there is room to send it, so that a slow node gets the newest and
//! nothing queues. Reports come up and are acknowledged once they are in the log. Each session is a task of its own with
//! bounded queues: a node that stops reading holds up nobody.

mod admit;
mod orders;
mod registry;
mod reports;
mod serve;

pub(crate) use admit::open;
pub(crate) use registry::{LogAsk, LogEnd, LogFrom, LogPiece, MirrorsAsk, Opened, RequestAsk, Sessions};
