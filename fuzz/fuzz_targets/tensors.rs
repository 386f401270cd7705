//! Requests to the built-in ONNX server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| berth_node::fuzzing::tensors(bytes));
