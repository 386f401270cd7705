//! Berth's coordinator: Raft-replicated state, the API, node sessions and the artifact store.

pub mod raft;
pub mod store;
