//! The console log: every line that a replica writes, or that preparing it did, as a row of Azure's
//! `AmlOnlineEndpointConsoleLog`, with the time at which it came.
//!
//! Replicas write into files of their own, which outlive them and say nothing of time. Whoever wants one stream with times,
//! as a collector of logs does, names a file: it is written while the lines come, and rotated by size. Looking is bounded:
//! of each log a chunk, whose rows are written before the next one is read. A replica that writes faster than it is read is
//! read on, later, and what was rotated away meanwhile is left out. So is what was written while nobody looked: of replicas
//! that are there at first, only what comes is read.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use berth_core::{id::ReplicaId, model::DeploymentKey};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    actor::World,
    process::{
        RowFile,
        logs::{CHUNK_MAX, Log},
    },
    runtime::Layout,
};

/// How often logs are looked at: a row's time is that of its line, give or take so much.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A line without an end is cut here.
const LINE_MAX: usize = 64 << 10;
/// How often a replica that is gone is looked at: beyond what a log keeps, and not for ever where it cannot be read.
const GONE_LOOKS_MAX: u32 = 1024;

/// Where the rows go, and how much of them is kept.
#[derive(Clone, Debug)]
pub(crate) struct ConsoleOptions {
    /// The file that is written; older ones lie beside it, numbered from 1, the newest first.
    pub(crate) path: PathBuf,
    /// Bytes after which another file is begun.
    pub(crate) max_bytes: u64,
    /// Older files that are kept.
    pub(crate) files: usize,
}

/// A row. `EndpointName` is ours.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    time_generated: &'a str,
    operation_name: &'static str,
    instance_id: String,
    deployment_name: &'a str,
    container_name: &'static str,
    message: &'a str,
    endpoint_name: &'a str,
}

/// The logs of a replica, and how far each was read.
struct Read {
    key: DeploymentKey,
    /// What preparing wrote, and what the process did.
    offsets: [u64; 2],
    /// How often it was looked at since it is gone.
    gone_looks: u32,
}

/// Azure's names of what writes them.
const CONTAINERS: [&str; 2] = ["storage-initializer", "inference-server"];

/// What was read of every replica.
#[derive(Default)]
struct Reader {
    home: PathBuf,
    replicas: BTreeMap<ReplicaId, Read>,
    /// Whether replicas were looked at before: those that are there at first have said what they said unheard.
    has_looked: bool,
}

/// Writes rows for ever; ends by being dropped.
pub(crate) async fn keep(world: Arc<World>, options: Option<ConsoleOptions>) {
    let Some(options) = options else { return std::future::pending().await };
    let mut pace = interval(LOOK_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reader = Reader { home: world.home.clone(), ..Reader::default() };
    let mut file = RowFile::new(&options.path, options.max_bytes, options.files);
    let mut well = true;
    loop {
        pace.tick().await;
        let entries =
            world.ledger.borrow().replicas.iter().map(|it| (it.order.replica, it.order.key.clone())).collect();
        let worked = tokio::task::spawn_blocking(move || {
            let written = reader.look(&entries, SystemTime::now(), &mut file).and_then(|()| file.flush());
            (reader, file, written)
        });
        let Ok((read, rest, written)) = worked.await else {
            tracing::warn!("the console log is not written any more: its writer panicked");
            return std::future::pending().await;
        };
        (reader, file) = (read, rest);
        // Once, not per line: the disk that is full may hold this process's own log too.
        if let Err(error) = &written
            && well
        {
            tracing::warn!(%error, "the console log cannot be written");
        }
        well = written.is_ok();
    }
}

// === impl Reader ===

impl Reader {
    /// Writes what came since the last look, each line as a row. An error of `file` ends the look: the next one goes on
    /// behind the last row that was written.
    fn look(
        &mut self,
        known: &BTreeMap<ReplicaId, DeploymentKey>,
        now: SystemTime,
        file: &mut impl Write,
    ) -> io::Result<()> {
        for (replica, key) in known {
            let (home, has_looked) = (&self.home, self.has_looked);
            self.replicas.entry(*replica).or_insert_with(|| {
                let logs = logs(home, *replica);
                let offsets = logs.map(|log| if has_looked { 0 } else { log.end().unwrap_or(0) });
                Read { key: key.clone(), offsets, gone_looks: 0 }
            });
        }
        self.has_looked = true;
        for (_, read) in self.replicas.iter_mut().filter(|(replica, _)| !known.contains_key(replica)) {
            read.gone_looks += 1;
        }
        let time = DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut heard = Vec::new();
        let written = self.replicas.iter_mut().try_for_each(|(replica, read)| {
            let is_gone = read.gone_looks > 0;
            let has_more = read.take(*replica, &self.home, &time, file)?;
            if is_gone && !has_more {
                heard.push(*replica);
            }
            Ok(())
        });
        self.replicas.retain(|replica, read| !heard.contains(replica) && read.gone_looks < GONE_LOOKS_MAX);
        written
    }
}

// === impl Read ===

impl Read {
    /// Writes a chunk of each log as rows. Returns whether there may be more.
    fn take(&mut self, replica: ReplicaId, home: &Path, time: &str, file: &mut impl Write) -> io::Result<bool> {
        let mut has_more = false;
        for (at, log) in logs(home, replica).into_iter().enumerate() {
            // What cannot be read now is read at the next look.
            let Ok(chunk) = log.read(self.offsets[at], CHUNK_MAX) else {
                has_more = true;
                continue;
            };
            has_more |= !chunk.data.is_empty();
            let is_last = self.gone_looks > 0 && (chunk.data.len() as u64) < CHUNK_MAX;
            self.offsets[at] = chunk.next_offset - chunk.data.len() as u64;
            for line in whole_lines(&chunk.data, is_last).split_inclusive(|byte| *byte == b'\n') {
                let text = String::from_utf8_lossy(line);
                let mut row = serde_json::to_vec(&Row {
                    time_generated: time,
                    operation_name: "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/console",
                    instance_id: replica.to_string(),
                    deployment_name: self.key.deployment.as_str(),
                    container_name: CONTAINERS[at],
                    message: text.lines().next().unwrap_or_default(),
                    endpoint_name: self.key.endpoint.as_str(),
                })?;
                row.push(b'\n');
                file.write_all(&row)?;
                self.offsets[at] += line.len() as u64;
            }
        }
        Ok(has_more)
    }
}

/// What is written of a replica, in the order of [`CONTAINERS`].
fn logs(home: &Path, replica: ReplicaId) -> [Log; 2] {
    let layout = Layout::new(home, replica);
    [layout.prepare(), layout.output()].map(Log::new)
}

/// Takes the lines that have ended; all of it where nothing follows, and of a line that is too long.
fn whole_lines(data: &[u8], is_last: bool) -> &[u8] {
    match data.iter().rposition(|byte| *byte == b'\n') {
        _ if is_last => data,
        Some(end) => &data[..=end],
        None if data.len() >= LINE_MAX => data,
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::BufRead as _};

    use serde_json::Value;

    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn every_line_is_a_row_once_with_the_time_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let layout = |id| Layout::new(dir.path(), ReplicaId(id));
        let key: DeploymentKey = "fraud/blue".parse().unwrap();
        let known: BTreeMap<_, _> = [(ReplicaId(1), key.clone())].into();
        let mut reader = Reader { home: dir.path().to_owned(), ..Reader::default() };
        let mut look = |known: &BTreeMap<_, _>, second: u64| -> Vec<String> {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            let mut rows = Vec::new();
            reader.look(known, now, &mut rows).unwrap();
            let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect();
            let text = |row: &Value, column: &str| row[column].as_str().unwrap().to_owned();
            let told = |row: Value| {
                let columns = ["TimeGenerated", "InstanceId", "ContainerName", "Message"];
                columns.map(|column| text(&row, column)).join(" ")
            };
            rows.into_iter().map(told).collect()
        };
        write(layout(1).output(), "said before anybody looked\n");
        assert_eq!(look(&known, 1), [""; 0]);
        write(layout(1).output(), "one\ntw");
        let second = "1970-01-01T00:00:02.000Z 0000000000000001 inference-server one";
        assert_eq!(look(&known, 2), [second]);
        write(layout(1).output(), "o\nthree");
        write(layout(2).prepare(), "fetches\n");
        let both: BTreeMap<_, _> = [(ReplicaId(1), key.clone()), (ReplicaId(2), key.clone())].into();
        let third = [
            "1970-01-01T00:00:03.000Z 0000000000000001 inference-server two",
            "1970-01-01T00:00:03.000Z 0000000000000002 storage-initializer fetches",
        ];
        assert_eq!(look(&both, 3), third);
        // A replica that is gone leaves its last words, ended or not, and is not looked at again once it has none.
        let left: BTreeMap<_, _> = [(ReplicaId(2), key)].into();
        let last = "1970-01-01T00:00:04.000Z 0000000000000001 inference-server three";
        assert_eq!(look(&left, 4), [last]);
        assert_eq!(look(&left, 5), [""; 0]);
        write(layout(1).output(), "late\n");
        write(layout(2).output(), "starts\n");
        let sixth = "1970-01-01T00:00:06.000Z 0000000000000002 inference-server starts";
        assert_eq!(look(&left, 6), [sixth]);
    }

    fn reader(home: &Path) -> Reader {
        Reader { home: home.to_owned(), has_looked: true, ..Reader::default() }
    }

    fn messages(rows: &[u8]) -> Vec<String> {
        let message = |row: &str| -> Value { serde_json::from_str::<Value>(row).unwrap()["Message"].take() };
        str::from_utf8(rows).unwrap().lines().map(|row| message(row).as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn of_a_replica_that_is_gone_every_line_is_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..6_000).map(|n| format!("line {n:0100}")).collect();
        let text = lines.join("\n");
        assert!(text.len() as u64 > 2 * CHUNK_MAX);
        let (mut reader, mut rows) = (reader(dir.path()), Vec::new());
        let known = [(ReplicaId(1), "fraud/blue".parse().unwrap())].into();
        reader.look(&known, SystemTime::UNIX_EPOCH, &mut rows).unwrap();
        write(Layout::new(dir.path(), ReplicaId(1)).output(), &text);
        let mut looks = 0;
        while !reader.replicas.is_empty() {
            reader.look(&BTreeMap::new(), SystemTime::UNIX_EPOCH, &mut rows).unwrap();
            looks += 1;
        }
        assert!(messages(&rows) == lines, "every line once, in order, the last one without an end");
        assert_eq!(looks, 4, "three chunks, and nothing more");
    }

    #[test]
    fn a_gone_replica_that_cannot_be_read_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = reader(dir.path());
        let known = [(ReplicaId(1), "fraud/blue".parse().unwrap())].into();
        reader.look(&known, SystemTime::UNIX_EPOCH, &mut Vec::new()).unwrap();
        // A folder is no log.
        fs::create_dir_all(Layout::new(dir.path(), ReplicaId(1)).output()).unwrap();
        for _ in 1..GONE_LOOKS_MAX {
            reader.look(&BTreeMap::new(), SystemTime::UNIX_EPOCH, &mut Vec::new()).unwrap();
            assert!(!reader.replicas.is_empty());
        }
        reader.look(&BTreeMap::new(), SystemTime::UNIX_EPOCH, &mut Vec::new()).unwrap();
        assert!(reader.replicas.is_empty());
    }

    /// A disk with room for so many rows.
    struct Disk {
        rows: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, row: &[u8]) -> io::Result<usize> {
            self.room = self.room.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            self.rows.write(row)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_no_row_and_doubles_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = reader(dir.path());
        let key: DeploymentKey = "fraud/blue".parse().unwrap();
        let known = [(ReplicaId(1), key.clone()), (ReplicaId(2), key)].into();
        write(Layout::new(dir.path(), ReplicaId(1)).prepare(), "one\n");
        write(Layout::new(dir.path(), ReplicaId(1)).output(), "two\nthree\n");
        write(Layout::new(dir.path(), ReplicaId(2)).output(), "four\n");
        let mut disk = Disk { rows: Vec::new(), room: 2 };
        let mut look = |disk: &mut Disk| reader.look(&known, SystemTime::UNIX_EPOCH, disk);
        assert_eq!(look(&mut disk).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(messages(&disk.rows), ["one", "two"]);
        disk.room = 9;
        look(&mut disk).unwrap();
        assert_eq!(messages(&disk.rows), ["one", "two", "three", "four"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = [b'x'; LINE_MAX];
        assert_eq!(whole_lines(&long, false).len(), LINE_MAX);
        assert_eq!(whole_lines(&long[1..], false).len(), 0);
        assert_eq!(whole_lines(b"a\nb", false), b"a\n");
        assert_eq!(whole_lines(b"a\nb", true), b"a\nb");
    }
}
