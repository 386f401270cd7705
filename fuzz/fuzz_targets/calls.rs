//! Requests to the API over HTTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_coordinator::fuzzing::calls(bytes));
