//! The built-in ONNX server: one `.onnx` file behind the Open Inference Protocol v2 and Azure's `/score`, with neither
//! Python nor a native library.
//!
//! It runs as a replica's own process (`berth serve-onnx`), so a model that misbehaves takes nothing else with it.

mod grpc;
mod http;
mod model;
mod oip;
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

#[doc(hidden)]
pub mod fuzz {
    //! Entrances for tests that feed arbitrary bytes.

    use std::path::Path;

    use berth_core::error::Error;

    /// A loaded model whose parsers can be called directly.
    pub struct Parsers(super::model::Model);

    impl Parsers {
        /// Loads the model at `path`.
        pub fn load(path: &Path) -> Result<Self, Error> {
            super::model::Model::load(path).map(Self)
        }

        /// Reads `body` as an infer request and returns whether it was one.
        pub fn infer(&self, body: &[u8], json_length: Option<usize>) -> bool {
            super::oip::read(&self.0, body, json_length).is_ok()
        }

        /// Reads `body` as a scoring request and returns whether it was one.
        pub fn score(&self, body: &[u8]) -> bool {
            super::score::read(&self.0, body).is_ok()
        }
    }
}
