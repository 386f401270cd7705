//! Processes: started in their own group, watched, signalled, known again after a restart, and heard.

mod group;
mod inspect;
pub(crate) mod logs;
mod marks;
mod port;
mod rotation;
mod spawner;
mod watch;

pub(crate) use group::{end_replica, signal_group};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use inspect::promise as promise_of_inspect;
pub(crate) use inspect::{Held, held_by, is_alive, is_listed, marked_processes, owner, start_ticks};
pub(crate) use port::Ports;
pub use rotation::RowFile;
pub(crate) use rotation::check_writable;
pub(crate) use spawner::{Spawn, Spawner};
pub(crate) use watch::watch_leader;

/// The variable by which a replica's processes are found again, whatever became of the ledger: the folder of the
/// replica.
pub(crate) const MARK: &str = "BERTH_REPLICA_ROOT";
