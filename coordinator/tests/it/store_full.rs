//! A disk without room: a typed end, nothing acknowledged is lost, and room is all it takes to go on.

use std::{fs::File, io::Write as _, path::PathBuf, process::Command, sync::Arc};

use berth_coordinator::raft::{Formation, RaftOptions, RaftService, RaftToken};
use berth_core::error::Error;
use bytes::Bytes;
use nix::sys::{
    resource::{Resource, setrlimit},
    signal::{SigSet, Signal},
};
use tempfile::TempDir;

use crate::{
    powerloss::{Disk, skipped},
    raft_cluster::{Kv, soon},
    store_child::{Promised, Storing, say, verify},
};

const MEMBER: &str = "BERTH_TEST_FULL_MEMBER";

/// Largest file of the starved member: a few segments of the store.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

#[test]
fn a_full_disk_stops_the_store_and_keeps_what_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("disk");
    let mounted = Disk::format(&image, 48 * 1024 * 1024).and_then(|()| Disk::mount(&image, &dir.path().join("mnt")));
    let disk = match mounted {
        Ok(disk) => disk,
        Err(why) => return skipped("disk full", &why),
    };
    let mut promised = Promised::default();
    let mut child = Storing::start(disk.path(), promised);
    child.listen(&mut promised, 100);
    // Somebody else takes the rest.
    let ballast = disk.path().join("ballast");
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[7; 64 * 1024]).is_ok() {}
    while file.write_all(&[7; 512]).is_ok() {}
    let last_words = child.finish(&mut promised);
    assert!(last_words.contains("stopped: ") && last_words.contains("No space left"), "{last_words}");
    assert!(last_words.contains("refused: "), "nothing is tried after the first failure: {last_words}");
    std::fs::remove_file(&ballast).unwrap();
    drop(file);
    verify(disk.path(), promised);
    let mut child = Storing::start(disk.path(), promised);
    child.listen(&mut promised, 50);
    child.kill(&mut promised);
    verify(disk.path(), promised);
}

#[test]
fn a_member_whose_disk_is_full_ends_with_a_code() {
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store_full::member", "--nocapture", "--test-threads=1"]).env(MEMBER, dir.path());
    let words = Storing::spawn(command).finish(&mut Promised::default());
    assert!(words.contains("proposed: "), "{words}");
    assert!(words.contains("ended: E_DISK_FULL"), "{words}");
    assert!(words.contains("make room"), "{words}");
}

/// Not a test of its own: a member that may write no long file, started by the test above.
#[test]
fn member() {
    let Some(dir) = std::env::var_os(MEMBER).map(PathBuf::from) else {
        return;
    };
    // Blocked before any other thread is started, so that a write over the limit fails instead of ending the process.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    signals.thread_block().unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, FILE_BYTES, FILE_BYTES).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(propose_until_full(dir));
}

async fn propose_until_full(dir: PathBuf) {
    let formation = Formation::Bootstrap { expect: 1, peers: vec![] };
    let options = RaftOptions::new(dir, "test", vec![RaftToken::new("secret")], "127.0.0.1:7400", formation);
    let service = RaftService::open(options, Arc::new(Kv::default())).await.unwrap();
    let handle = service.handle();
    let running = tokio::spawn(service.run(std::future::pending()));
    handle.wait_for(soon(), "leadership", |status| status.is_leader).await.unwrap();
    let refused = loop {
        let command = Bytes::from(format!("k={}", "v".repeat(20_000)));
        if let Err(refused) = handle.propose(command, soon()).await {
            break refused;
        }
    };
    say(&format!("proposed: {refused}"));
    let ended = tokio::time::timeout_at(soon(), running).await.unwrap().unwrap().unwrap_err();
    say(&format!("ended: {}", ended.code()));
    assert!(handle.status().fatal.is_some());
    say(&Error::from(ended).to_string());
}
