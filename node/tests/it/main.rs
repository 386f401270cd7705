//! Integration tests of the node, in one binary to link once.

mod agent;
mod gpu;
mod mesh_abuse;
mod mesh_corners;
mod mesh_curl;
mod mesh_drain;
mod mesh_eject;
mod mesh_full;
mod mesh_gate;
mod mesh_grpc;
mod mesh_hedge;
mod mesh_law;
mod mesh_load;
mod mesh_mirror;
mod mesh_models;
mod mesh_peers;
mod mesh_pick;
mod mesh_record;
mod mesh_replay;
mod mesh_routing;
mod mesh_silent;
mod mesh_slow;
mod mesh_stall;
mod mesh_stream;
mod mesh_support;
mod mesh_table;
mod mesh_tls;
mod mesh_trace;
mod mesh_tunnel;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "onnx")]
mod onnx_grpc;
