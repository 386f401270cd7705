//! The console log: every line that a replica writes, or that preparing it did, as a row of Azure's
//! `AmlOnlineEndpointConsoleLog`, with the time at which it came.
//!
//! Replicas write into files of their own, which outlive them and say nothing of time. Whoever wants one stream with times,
//! as a collector of logs does, names a file: it is written while the lines come, and rotated by size. Looking is bounded: a
//! replica that writes faster than it is read is read on, later, and what was rotated away meanwhile is left out.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
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
        logs::{CHUNK_MAX, Log},
        rotated,
    },
    runtime::Layout,
};

/// How often logs are looked at: a row's time is that of its line, give or take so much.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A line without an end is cut here.
const LINE_MAX: usize = 64 << 10;

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
    let mut file = rotated(&options.path, options.max_bytes, options.files);
    let mut well = true;
    loop {
        pace.tick().await;
        let entries =
            world.ledger.borrow().replicas.iter().map(|it| (it.order.replica, it.order.key.clone())).collect();
        let worked = tokio::task::spawn_blocking(move || {
            let rows = reader.look(&entries, SystemTime::now());
            let written = rows.iter().try_for_each(|row| file.write_all(row)).and_then(|()| file.flush());
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
    /// Reads what came since the last look, each line as a row.
    fn look(&mut self, known: &BTreeMap<ReplicaId, DeploymentKey>, now: SystemTime) -> Vec<Vec<u8>> {
        for (replica, key) in known {
            let (home, has_looked) = (&self.home, self.has_looked);
            self.replicas.entry(*replica).or_insert_with(|| {
                let logs = logs(home, *replica);
                let offsets = logs.map(|log| if has_looked { 0 } else { log.end().unwrap_or(0) });
                Read { key: key.clone(), offsets }
            });
        }
        self.has_looked = true;
        let time = DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut rows = Vec::new();
        for (replica, read) in &mut self.replicas {
            let is_gone = !known.contains_key(replica);
            for (at, log) in logs(&self.home, *replica).into_iter().enumerate() {
                // What cannot be read now is read at the next look.
                let Ok(chunk) = log.read(read.offsets[at], CHUNK_MAX) else { continue };
                let data = whole_lines(&chunk.data, is_gone);
                read.offsets[at] = chunk.next_offset - (chunk.data.len() - data.len()) as u64;
                let text = String::from_utf8_lossy(data);
                rows.extend(text.lines().filter_map(|message| {
                    let row = Row {
                        time_generated: &time,
                        operation_name: "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/console",
                        instance_id: replica.to_string(),
                        deployment_name: read.key.deployment.as_str(),
                        container_name: CONTAINERS[at],
                        message,
                        endpoint_name: read.key.endpoint.as_str(),
                    };
                    let mut row = serde_json::to_vec(&row).ok()?;
                    row.push(b'\n');
                    Some(row)
                }));
            }
        }
        self.replicas.retain(|replica, _| known.contains_key(replica));
        rows
    }
}

/// What is written of a replica, in the order of [`CONTAINERS`].
fn logs(home: &std::path::Path, replica: ReplicaId) -> [Log; 2] {
    let layout = Layout::new(home, replica);
    [layout.prepare(), layout.output()].map(Log::new)
}

/// Takes the lines that have ended; all of it from a replica that is gone, and of a line that is too long.
fn whole_lines(data: &[u8], is_gone: bool) -> &[u8] {
    match data.iter().rposition(|byte| *byte == b'\n') {
        _ if is_gone => data,
        Some(end) => &data[..=end],
        None if data.len() >= LINE_MAX => data,
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

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
            let rows: Vec<Value> =
                reader.look(known, now).iter().map(|row| serde_json::from_slice(row).unwrap()).collect();
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
        // A replica that is gone leaves its last words, ended or not, and is not looked at again.
        let last = "1970-01-01T00:00:04.000Z 0000000000000001 inference-server three";
        assert_eq!(look(&[(ReplicaId(2), key)].into(), 4), [last]);
        write(layout(1).output(), "late\n");
        write(layout(2).output(), "starts\n");
        let fifth = "1970-01-01T00:00:05.000Z 0000000000000002 inference-server starts";
        assert_eq!(look(&[(ReplicaId(2), "fraud/blue".parse().unwrap())].into(), 5), [fifth]);
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
