//! How many nodes a fleet needs: the real planner on nodes that do not exist yet.
//!
//! A [`Description`] says which shapes of nodes there may be, what is deployed, how the load moves over a day, and which
//! failure must be survived. A trial plays that day against a fleet of a given size; the smallest fleet that passes is
//! found by bisection, and the one that is a node smaller says why it does not.

mod description;
mod plot;
mod report;
mod size;
mod trial;

pub use description::{Count, Description, Load, Shape, Survive, Workload};
pub use plot::plot;
pub use report::{Amounts, Sample, Shortfall, Sizing};
pub use size::size;
