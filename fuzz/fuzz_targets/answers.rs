//! Two answers that are compared.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_core::fuzzing::answers(bytes));
