//! Berth's simulator: the same four machines under a virtual clock, a fake network and planted faults.
//!
//! It is the fourth shell. Nothing here decides anything: coordinators are a `ClusterState` and, on the leader, a
//! `Controller`; nodes are an `Agent` and the router's own pieces; the log, the network, the disks and the processes are
//! fake, and every delay, loss and crash is drawn from the seed. After every step the invariants are checked, so a seed
//! that fails is a story that can be told again, event by event, on any machine.
//!
//! ```
//! let report = berth_sim::run(&berth_sim::Options { seed: 7, ..Default::default() });
//! assert!(report.violations.is_empty(), "{report}");
//! ```

mod action;
mod apart;
mod blackout;
mod bug;
pub mod cluster;
mod crowd;
mod event;
#[cfg(test)]
mod foretold;
mod gpu;
mod invariants;
mod judge;
mod lies;
mod log;
mod member;
mod net;
mod node;
pub mod pack;
mod promises;
mod quota;
mod report;
mod request;
mod rest;
mod router;
#[cfg(test)]
mod steps;
mod story;
mod swarm;
mod trace;
mod walk;
#[cfg(test)]
mod waves;
mod workload;
mod world;

pub use blackout::{Blackout, blackout};
pub use bug::Bug;
pub use invariants::INVARIANTS;
pub use report::{Finding, Options, Report, Tally};
pub use story::{StoryError, story};
pub use swarm::{Swarm, swarm};

use world::World;

/// Runs one seed to its end, or to its first broken invariant.
pub fn run(options: &Options) -> Report {
    let mut world = World::new(options);
    workload::schedule(&mut world);
    world.run();
    world.into_report()
}
