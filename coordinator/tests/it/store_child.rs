//! A process of its own that stores and says what was acknowledged, to be killed, stopped or starved by its parent.
//!
//! It is this very test binary, run again with an environment variable. What it stores can be checked from the stored
//! bytes alone: an entry's content follows from its position, a snapshot's from what it covers.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use berth_coordinator::{
    raft::types::{Entry, LeaderId, LogId, SnapshotMeta, Vote},
    store::{self, Committer, LogStore, SnapshotStore},
};
use openraft::{RaftLogReader as _, entry::RaftEntry as _, storage::RaftLogStorage as _};

use crate::store::{append, entry};

const DIR: &str = "BERTH_TEST_CHILD_DIR";
const PROMISED: &str = "BERTH_TEST_CHILD_PROMISED";
const VERIFY_ONLY: &str = "BERTH_TEST_CHILD_VERIFY";

/// Entries between two snapshots, and how many stay in the log behind one.
const SNAPSHOT_EVERY: u64 = 150;
const KEEP: u64 = 40;

/// What a child has acknowledged so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promised {
    /// One past the last durable entry.
    pub(crate) entries: u64,
    pub(crate) vote: u64,
    /// The last entry that a durable snapshot covers.
    pub(crate) snapshot: u64,
}

/// A running child.
pub(crate) struct Storing {
    pub(crate) process: Child,
    lines: BufReader<ChildStdout>,
}

// === impl Promised ===

impl Promised {
    fn from_env() -> Self {
        let text = std::env::var(PROMISED).unwrap_or_default();
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Self { entries: next(), vote: next(), snapshot: next() }
    }

    fn note(&mut self, line: &str) {
        let (what, number) = line.split_at(1);
        let Ok(number) = number.trim().parse() else {
            return;
        };
        match what {
            "E" => self.entries = self.entries.max(number),
            "V" => self.vote = self.vote.max(number),
            "S" => self.snapshot = self.snapshot.max(number),
            _ => {}
        }
    }
}

// === impl Storing ===

impl Storing {
    /// Starts a child on `dir` that first checks that everything promised is there.
    pub(crate) fn start(dir: &Path, promised: Promised) -> Self {
        Self::spawn(command(dir, promised))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Reads acknowledgements until there are `count` of them, or the child has ended.
    pub(crate) fn listen(&mut self, promised: &mut Promised, count: usize) {
        let mut line = String::new();
        let mut heard = 0;
        while heard < count {
            line.clear();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return;
            }
            if line.starts_with(['E', 'V', 'S']) {
                promised.note(&line);
                heard += 1;
            }
        }
    }

    /// Kills the child and reads what it had still acknowledged.
    pub(crate) fn kill(mut self, promised: &mut Promised) {
        self.process.kill().unwrap();
        self.listen(promised, usize::MAX);
        self.process.wait().unwrap();
    }

    /// Waits for the child to end by itself and returns what it wrote besides acknowledgements.
    pub(crate) fn finish(mut self, promised: &mut Promised) -> String {
        let mut rest = String::new();
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if line.starts_with(['E', 'V', 'S']) {
                promised.note(&line)
            } else {
                rest.push_str(&line)
            }
            line.clear();
        }
        self.process.wait().unwrap();
        rest
    }
}

pub(crate) fn command(dir: &Path, promised: Promised) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let Promised { entries, vote, snapshot } = promised;
    command
        .args(["--exact", "store_child::child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(PROMISED, format!("{entries} {vote} {snapshot}"))
        .env("RUST_BACKTRACE", "0");
    command
}

/// Checks in a process of its own that everything promised is there.
pub(crate) fn verify(dir: &Path, promised: Promised) {
    let output = command(dir, promised).env(VERIFY_ONLY, "1").output().unwrap();
    assert!(
        output.status.success(),
        "promised {promised:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Says `line` to the parent, past the capturing of the test harness.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.write_all(b"\n").unwrap();
    out.flush().unwrap();
}

fn content(id: &LogId) -> Vec<u8> {
    let length = if id.index.is_multiple_of(40) { 9_000 } else { (id.index * 37 % 700) as usize };
    vec![(id.index ^ id.leader_id.term) as u8; length]
}

fn snapshot_content(last: &LogId) -> Vec<u8> {
    (0..200_000_u64).map(|n| (n ^ last.index) as u8).collect()
}

fn entry_at(term: u64, index: u64) -> Entry {
    let id = entry(term, index, vec![]).log_id();
    entry(term, index, content(&id))
}

/// Not a test of its own: does nothing unless a parent asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    // The harness has begun a line of its own.
    say("");
    let promised = Promised::from_env();
    let durable = Arc::new(store::open(&dir.join("raft"), "test").unwrap().0);
    let committer = Committer::start(durable.clone()).unwrap();
    let mut log = LogStore::open(durable.clone(), committer).unwrap();
    let mut snapshots = SnapshotStore::open(durable).unwrap();

    let state = log.get_log_state().await.unwrap();
    let next = state.last_log_id.map_or(0, |id| id.index + 1);
    assert!(next >= promised.entries, "entries up to {} were promised, {next} are there", promised.entries);
    for stored in log.try_get_log_entries(..).await.unwrap() {
        assert_eq!(stored, entry_at(stored.log_id().leader_id.term, stored.index()), "an entry is not what was stored");
    }
    let vote = log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
    assert!(vote >= promised.vote, "a vote in term {} was promised, {vote} is there", promised.vote);
    let covered = snapshots.read().unwrap().map_or(0, |snapshot| {
        let last = snapshot.meta.last_log_id.unwrap();
        assert_eq!(snapshot.snapshot, snapshot_content(&last), "the snapshot is not what was stored");
        last.index
    });
    assert!(covered >= promised.snapshot, "a snapshot up to {} was promised, {covered} is there", promised.snapshot);
    let purged = state.last_purged_log_id.map_or(0, |id| id.index);
    assert!(covered >= purged, "entries up to {purged} were dropped, a snapshot covers only {covered}");
    if std::env::var_os(VERIFY_ONLY).is_some() {
        return;
    }

    let broken = store_for_ever(&mut log, &mut snapshots, promised, vote + 1).await.unwrap_err();
    say(&format!("stopped: {broken}"));
    let after = append(&mut log, vec![entry_at(1, 0)]).await.unwrap_err();
    say(&format!("refused: {after}"));
}

async fn store_for_ever(
    log: &mut LogStore,
    snapshots: &mut SnapshotStore,
    promised: Promised,
    term: u64,
) -> std::io::Result<()> {
    log.save_vote(&Vote { leader_id: LeaderId { term, node_id: 7 }, committed: true }).await?;
    say(&format!("V {term}"));
    let state = log.get_log_state().await?;
    let mut next = state.last_log_id.map_or(0, |id| id.index + 1);
    if term.is_multiple_of(3) {
        // Another leader overwrites what nobody was told of.
        let kept = log.try_get_log_entries(..promised.entries.max(1)).await?;
        if let Some(last) = kept.last().map(|entry| entry.log_id())
            && last.index + 1 >= promised.entries
        {
            log.truncate_after(Some(last)).await?;
            next = last.index + 1;
        }
    }
    let snapshot = snapshots.read()?;
    let mut covered = snapshot.and_then(|snapshot| snapshot.meta.last_log_id).map_or(0, |last| last.index);
    loop {
        let count = 1 + next % 3;
        let entries: Vec<Entry> = (next..next + count).map(|index| entry_at(term, index)).collect();
        let last = entries.last().unwrap().log_id();
        append(log, entries).await?;
        next += count;
        say(&format!("E {next}"));
        log.save_committed(Some(last)).await?;
        // As long as it is due: one that a kill fell into is taken by the next child.
        if next >= covered + SNAPSHOT_EVERY {
            let meta = SnapshotMeta { last_log_id: Some(last), ..SnapshotMeta::default() };
            snapshots.write(&meta, &snapshot_content(&last))?;
            covered = last.index;
            say(&format!("S {}", last.index));
            let kept = log.try_get_log_entries(next - KEEP..=next - KEEP).await?;
            if let Some(first) = kept.first() {
                log.purge(first.log_id()).await?;
            }
        }
    }
}
