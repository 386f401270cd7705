//! What comes on a connection of HTTP/2.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_node::fuzzing::frames(bytes));
