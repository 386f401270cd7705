//! Berth's node agent: replicas, runtimes, capacity and the routing mesh.

pub mod onnx;
