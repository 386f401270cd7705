//! The agent: what a node does with its orders.
//!
//! [`Agent`] is `input + now → effects`. It decides when to fetch, build, launch, probe, publish, restart and kill; the
//! node's shell does these things and tells what came of them. It needs no coordinator: a session brings newer orders,
//! and without one the last orders stay in force, crashes are mended and probes go on.

pub mod order;

mod effect;
mod fence;
mod input;
mod ledger;
mod life;
mod machine;
mod prefetch;
mod probe;
mod running;
mod share;
mod target;
mod words;

#[cfg(test)]
mod tests;

pub use effect::{Effect, GateState, Signal};
pub use fence::Fence;
pub use input::{Fault, Input, ProbeKind, Process, Remedy};
pub use ledger::{Ledger, LedgerEntry};
pub use machine::{Agent, Timing};
pub use order::{Assignments, Desired, ReplicaOrder};
pub use prefetch::{PrefetchOrder, PrefetchReport, PrefetchState};
pub use target::ProbeTarget;
