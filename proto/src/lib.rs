//! Berth's wire and stored messages, their conversions and golden bytes.

/// Messages between coordinator members, and what a member keeps on disk.
pub mod raft {
    /// Version 1.
    #[expect(missing_docs, reason = "generated; the .proto files hold the words")]
    pub mod v1 {
        tonic::include_proto!("berth.raft.v1");
    }
}
