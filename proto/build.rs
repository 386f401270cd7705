//! Compiles the .proto files without a `protoc` binary.

/// Every file is named: a stray one is not part of the contract.
const FILES: &[&str] = &["proto/berth/raft/v1/log.proto", "proto/berth/raft/v1/raft.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        // Commands and snapshot chunks are handed on, not read: no copy on the way.
        .bytes(".berth.raft.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
