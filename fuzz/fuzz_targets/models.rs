//! Files of models.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_node::fuzzing::models(bytes));
