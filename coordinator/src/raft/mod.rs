//! Consensus: replicates opaque commands over the coordinator members.

pub mod convert;
mod machine;
pub mod types;

pub use self::machine::{RestoreError, StateMachine};
