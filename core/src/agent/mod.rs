//! The agent: what a node does with its orders.

pub mod order;
