//! The kit of the process tests: clusters of real processes, a model server to deploy, network namespaces.
//!
//! What a test starts lives below one temporary folder, listens on loopback or in a namespace of its own, and ends with
//! the test.

pub mod abuse;
pub mod balance;
pub mod broken;
pub mod cluster;
pub mod echo;
pub mod feed;
pub mod leaving;
pub mod load;
pub mod netns;
pub mod overload;
pub mod peer;
pub mod protocol;
pub mod say;
pub mod seed;
pub mod talk;
pub mod zero_loss;
