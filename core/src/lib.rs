//! Berth's pure core: every decision the product makes, and nothing that acts.
//!
//! Four deterministic machines live here: [`state::ClusterState`] (replicated by the coordinators), the controller (on
//! the leader), the agent (on every node) and the router (beside the request path). Each is `input + now → effects`: no
//! clock, no randomness of its own, no I/O, no async, no hash order. The shells in `coordinator`, `node` and `sim` copy
//! messages in and carry effects out.
//!
//! The module list is the map, in order of dependence.

pub mod address;
pub mod error;
pub mod id;
pub mod rng;
pub mod time;
pub mod units;

pub mod join;
pub mod written;

pub mod cost;
pub mod defaults;
pub mod model;
pub mod state;

pub mod invariant;
pub mod quota;
pub mod reserve;
pub mod schedule;

pub mod health;
pub mod plan;
pub mod whatif;

pub mod traffic;

pub mod alert;

pub mod controller;

pub mod agent;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
