//! A feed of the route table.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_proto::fuzzing::feed(bytes));
