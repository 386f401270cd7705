//! The scheduler: which node takes a replica, and in plain words why none does.
//!
//! It looks at nodes and at what is held on them, never at every replica: the state keeps the sums. A node that passes
//! the [`filter`] gets a [`score`], [`solve`] takes the best ones for all missing replicas of a deployment at once, and
//! [`verdict`] tells a person what stands in the way when there are too few.

mod filter;
pub mod fragment;
mod nearest;
pub mod pack;
pub(crate) mod preempt;
mod problem;
mod reserve;
mod score;
mod solve;
mod spread;
mod verdict;
mod worth;

pub use filter::{Dimension, Refusal, Shortage};
pub use nearest::Fix;
pub use problem::{Ask, Fleet};
pub use score::NodeScore;
pub use solve::Placement;
pub use verdict::{NodeRefusal, Verdict};
pub(crate) use worth::worth;
