//! The scheduler: which node takes a replica, and in plain words why none does.
//!
//! It looks at rooms: nodes with the same left of the same are one, and the state keeps them so. A room that passes the
//! [`filter`] gets a [`score`], [`solve`] takes the best nodes for all missing replicas of a deployment at once, walking
//! them in order instead of listing them, and [`verdict`] tells a person what stands in the way when there are too few.

mod filter;
pub mod fragment;
mod local;
#[cfg(test)]
mod naive;
mod nearest;
pub mod pack;
pub(crate) mod preempt;
mod problem;
mod reserve;
mod score;
mod solve;
mod spread;
mod strand;
mod verdict;
mod walk;
mod worth;

pub use filter::{Dimension, Refusal, Shortage};
pub use nearest::Fix;
pub use problem::{Ask, Fleet};
pub use score::{NodeScore, RoomScore};
pub use solve::Placement;
pub use verdict::{NodeRefusal, Verdict};
pub(crate) use worth::worth;
