//! The coordinator's integration tests, one binary so that everything is linked once.

mod raft;
mod raft_cluster;
mod store;
mod store_golden;
