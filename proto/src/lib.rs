//! Berth's wire and stored messages, their conversions and golden bytes.
//!
//! Generated messages live under their package (`api::v1`, `node::v1`, `peer::v1`, `raft::v1`, `store::v1`); the modules
//! beside them convert to and from the types of `berth_core`. Conversions into core check everything: bytes from a disk
//! or a peer may be anything.

/// Every message and service, described: a `FileDescriptorSet` with the comments of the .proto files.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod api;
mod convert;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod node;
pub mod status;
pub mod store;
pub mod tls;
pub mod words;

/// The Open Inference Protocol over gRPC: what models and their clients speak, not Berth's own.
pub mod inference {
    /// Version 2.
    #[expect(missing_docs, reason = "generated; the .proto files hold the words")]
    pub mod v2 {
        tonic::include_proto!("inference");
    }
}

/// Messages between coordinator members about assets.
pub mod peer {
    /// Version 1.
    #[expect(missing_docs, reason = "generated; the .proto files hold the words")]
    pub mod v1 {
        tonic::include_proto!("berth.peer.v1");
    }
}

/// Messages between coordinator members, and what a member keeps on disk.
pub mod raft {
    /// Version 1.
    #[expect(missing_docs, reason = "generated; the .proto files hold the words")]
    pub mod v1 {
        tonic::include_proto!("berth.raft.v1");
    }
}
