//! The frames of a connection to a model's server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_node::fuzzing::frames(bytes));
