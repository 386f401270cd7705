//! The beginnings of bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_core::fuzzing::peeks(bytes));
