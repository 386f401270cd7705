//! What a host says of itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_node::fuzzing::host(bytes));
