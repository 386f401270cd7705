//! The controller's shell: starts it when this member leads, feeds it, carries out what it wants, stops it when deposed.
//!
//! Nothing here decides. Inputs are copied into an [`Inbox`], an actor hands them to the pure controller of `core`, and
//! its effects become proposals, probes and closed sessions.

mod actor;
mod cards;
mod inbox;
mod keeper;
mod lead;
mod loads;

pub(crate) use cards::Cards;
pub(crate) use inbox::Inbox;
pub(crate) use keeper::Keeper;
pub(crate) use lead::{Lead, LeadWatch, NodeUse};
pub(crate) use loads::{Loads, POINT_MS};
