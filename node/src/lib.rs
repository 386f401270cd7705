//! Berth's node agent: replicas, runtimes, capacity and the routing mesh.

pub mod mesh;
pub mod onnx;
