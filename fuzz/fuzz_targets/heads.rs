//! The heads of requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_core::fuzzing::heads(bytes));
