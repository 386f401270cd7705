//! The coordinator's integration tests, one binary so that everything is linked once.

mod alert;
mod api;
mod api_fleet;
mod artifact;
mod clock;
mod feature;
mod page;
mod powerloss;
mod quota;
mod raft;
mod raft_cluster;
mod raft_partition;
mod rest;
mod session;
mod session_node;
mod store;
mod store_child;
mod store_full;
mod store_golden;
mod store_kill;
mod table;
