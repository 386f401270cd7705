//! What callers and replicas say beside their messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_core::fuzzing::metadata(bytes));
