//! The heads that an ingress and a gate read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_node::fuzzing::gate(bytes));
