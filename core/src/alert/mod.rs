//! Alerts: what the leader makes of figures, and whom it tells.
//!
//! [`Tallies`] add up what nodes report, [`Watcher`] holds rules against it and says what began or ended, the log keeps
//! that, and [`Outbox`] says which receiver is told of what and when it is tried again. All of it runs beside the
//! controller: nothing that is slow here delays a placement.

mod outbox;
mod tally;
mod watcher;

pub use outbox::{Outbox, Outgoing, Receivers};
pub use tally::{Sample, Tallies};
pub use watcher::{Figures, Stand, Standing, Watcher};
