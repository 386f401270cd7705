//! The built-in ONNX server: one `.onnx` file behind the Open Inference Protocol v2 and Azure's `/score`, with neither
//! Python nor a native library.
//!
//! It runs as a replica's own process (`berth serve-onnx`), so a model that misbehaves takes nothing else with it.

mod grpc;
mod http;
mod model;
mod oip;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod promises;
mod rewrite;
mod route;
mod sample;
mod score;
mod server;
mod swagger;
mod tensor;
mod trees;

pub use self::sample::sample;
pub use self::server::{OnnxOptions, OnnxServer, run_blocking, serve};
