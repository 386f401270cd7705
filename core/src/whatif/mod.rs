//! What if: the real planner on a copy of the state.
//!
//! Nobody should have to find out by doing it whether a node may be lost, whether a drain ends, or whether five times the
//! load fits. A question is a copy of the state and a list of hypothetical [`Change`]s. They go through the same `apply`
//! as any entry, the same planner plans, and only the nodes are idealised: what is placed starts, what is told to stop
//! is gone, and every router knows at once. So the answer tells what the cluster decides, not how long processes take.

mod ask;
mod cards;
mod change;
mod outcome;
mod rehearsal;
mod shape;

pub use ask::{Question, ask};
pub use cards::Card;
pub(crate) use cards::cards_for_slices;
pub use change::{Change, SpikeTarget};
pub use outcome::{
    Counts, DeploymentOutcome, DrainOutcome, EndpointOutcome, Fate, NodeTotals, Outcome, Taken, TakenKind,
};
pub use rehearsal::{Bounds, Rehearsal};
pub use shape::NodeShape;
