//! Bytes from a disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_proto::fuzzing::stored(bytes));
