//! The reserve as people read it: what is held, what is short and by how much, and what it would save.

mod arithmetic;
mod loss;
mod status;

pub use arithmetic::{Arithmetic, arithmetic};
pub use loss::{Uncovered, remedy, uncovered, uncovered_of};
pub use status::{ReserveStatus, status};
