//! Words that people write: amounts, names, ids, places of an answer, shapes of a plan.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_core::fuzzing::words(bytes));
