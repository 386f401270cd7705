//! Route tables for nodes, from any member.
//!
//! Each member derives the table from its own state as it applies entries, once for all watchers. A watcher gets
//! everything first and then what differs from the version it was sent last; one that reads slowly skips versions and
//! never holds up another. A member that is cut from its leader falls silent, so that its nodes turn to another one.

mod feed;
mod stream;

pub(crate) use feed::{Feed, follow};
pub(crate) use stream::watch_table;
