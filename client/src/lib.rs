//! Berth's Rust SDK.
