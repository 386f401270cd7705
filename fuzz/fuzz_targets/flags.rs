//! What people write in flags and files of settings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_cli::fuzzing::flags(bytes));
