//! Files that people bring.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_cli::fuzzing::yaml(bytes));
