//! The ledger on disk: what an agent must know again after it was restarted.
//!
//! One small file, replaced whole. It is not what keeps two processes of one replica apart (marks in the processes' own
//! environment do), so the agent does not wait for the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    agent::{Desired, Fence, Ledger, LedgerEntry, PrefetchOrder, Process, ReplicaOrder},
    error::{Code, Error},
    id::{Generation, ReplicaId},
    model::{DeploymentKey, DeploymentSpec, DeviceGrant},
    time::LogTime,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::identity::{io_error, write_durably};

/// The version that is written.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    fence: Fence,
    replicas: Vec<Row>,
    #[serde(default)]
    prefetches: Vec<PrefetchRow>,
}

#[derive(Serialize, Deserialize)]
struct PrefetchRow {
    key: DeploymentKey,
    generation: Generation,
    spec: DeploymentSpec,
}

#[derive(Serialize, Deserialize)]
struct Row {
    replica: ReplicaId,
    key: DeploymentKey,
    generation: Generation,
    spec: DeploymentSpec,
    devices: Vec<DeviceGrant>,
    desired: Wanted,
    attempt: u64,
    process: Option<Running>,
    is_warm: bool,
    ever_warm: bool,
    restarts: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Run,
    Drain { deadline: LogTime },
    Stop,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Running {
    pid: u32,
    start_ticks: u64,
    port: u16,
}

/// Reads the ledger; an empty one when there is none.
pub(crate) fn read(home: &Path) -> Result<Ledger, Error> {
    let path = path(home);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
        Err(error) => return Err(io_error("cannot read", &path, &error)),
    };
    let damaged = |why: String| {
        Error::new(Code::StoreDamaged, format!("{} cannot be read", path.display()))
            .why(why)
            .try_("move it away: the node then learns its orders from the coordinators and ends what it does not know")
    };
    let version = serde_json::from_slice::<serde_json::Value>(&bytes).map_err(|error| damaged(error.to_string()))?;
    match version.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(VERSION) => {
            return Err(Error::new(Code::StoreVersion, format!("{} was written by a newer Berth", path.display()))
                .why(format!("it has version {found}, this one knows {VERSION}"))
                .try_("start the newer `berth` again"));
        }
        _ => {}
    }
    let file: File = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let prefetch =
        |row: PrefetchRow| Arc::new(PrefetchOrder { key: row.key, generation: row.generation, spec: row.spec });
    Ok(Ledger {
        fence: file.fence,
        replicas: file.replicas.into_iter().map(Row::entry).collect(),
        prefetches: file.prefetches.into_iter().map(prefetch).collect(),
    })
}

/// The ledger's file, with one writer at a time.
#[derive(Clone, Debug)]
pub(crate) struct LedgerFile {
    home: PathBuf,
    newest: watch::Receiver<Ledger>,
    writing: Arc<Mutex<()>>,
}

// === impl LedgerFile ===

impl LedgerFile {
    pub(crate) fn new(home: PathBuf, newest: watch::Receiver<Ledger>) -> Self {
        Self { home, newest, writing: Arc::default() }
    }

    /// Writes every newer ledger, the newest one when several came meanwhile; ends when the other side is dropped.
    pub(crate) async fn keep(mut self) {
        while self.newest.changed().await.is_ok() {
            self.newest.mark_unchanged();
            // The next change is written anew; until then a restart finds the processes by their marks and ends them.
            if let Err(error) = self.write_newest().await {
                tracing::error!(%error, "the ledger was not written");
            }
        }
    }

    /// Writes the newest ledger after whatever is being written now.
    pub(crate) async fn write_newest(&self) -> Result<(), Error> {
        let file = self.clone();
        let work = move || {
            let _one_at_a_time = file.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = file.newest.borrow().clone();
            write(&file.home, &newest)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::new(Code::Internal, "writing the ledger broke off").why(error.to_string()))?
    }
}

/// Writes a ledger.
fn write(home: &Path, ledger: &Ledger) -> Result<(), Error> {
    let path = path(home);
    let rows = ledger.replicas.iter().map(Row::of).collect();
    let prefetch = |order: &Arc<PrefetchOrder>| {
        let order = PrefetchOrder::clone(order);
        PrefetchRow { key: order.key, generation: order.generation, spec: order.spec }
    };
    let prefetches = ledger.prefetches.iter().map(prefetch).collect();
    let file = File { version: VERSION, fence: ledger.fence, replicas: rows, prefetches };
    let bytes = serde_json::to_vec(&file)
        .map_err(|error| Error::new(Code::Internal, "the ledger cannot be written down").why(error.to_string()))?;
    write_durably(&path, &bytes).map_err(|error| io_error("cannot write", &path, &error))
}

fn path(home: &Path) -> PathBuf {
    home.join("ledger.json")
}

// === impl Row ===

impl Row {
    fn of(entry: &LedgerEntry) -> Self {
        let order = &entry.order;
        Self {
            replica: order.replica,
            key: order.key.clone(),
            generation: order.generation,
            spec: order.spec.clone(),
            devices: order.devices.clone(),
            desired: match order.desired {
                Desired::Run => Wanted::Run,
                Desired::Drain { deadline } => Wanted::Drain { deadline },
                Desired::Stop => Wanted::Stop,
            },
            attempt: entry.attempt,
            process: entry.process.map(|process| Running {
                pid: process.pid,
                start_ticks: process.start_ticks,
                port: process.port,
            }),
            is_warm: entry.is_warm,
            ever_warm: entry.ever_warm,
            restarts: entry.restarts,
        }
    }

    fn entry(self) -> LedgerEntry {
        LedgerEntry {
            order: Arc::new(ReplicaOrder {
                replica: self.replica,
                key: self.key,
                generation: self.generation,
                spec: self.spec,
                devices: self.devices,
                desired: match self.desired {
                    Wanted::Run => Desired::Run,
                    Wanted::Drain { deadline } => Desired::Drain { deadline },
                    Wanted::Stop => Desired::Stop,
                },
            }),
            attempt: self.attempt,
            process: self.process.map(|process| Process {
                pid: process.pid,
                start_ticks: process.start_ticks,
                port: process.port,
            }),
            is_warm: self.is_warm,
            ever_warm: self.ever_warm,
            restarts: self.restarts,
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_core::{
        id::{LogIndex, NodeEpoch, Term},
        model::Runtime,
    };

    use super::*;

    fn ledger() -> Ledger {
        let order = |replica, desired| {
            Arc::new(ReplicaOrder {
                replica: ReplicaId(replica),
                key: "fraud/blue".parse().unwrap(),
                generation: Generation(3),
                spec: DeploymentSpec::new(Runtime::Command(vec!["a".into(), "b c".into()])),
                devices: vec![DeviceGrant { uuid: "GPU-1".into(), memory_mib: None }],
                desired,
            })
        };
        let entry =
            |order, process| LedgerEntry { order, attempt: 4, process, is_warm: true, ever_warm: true, restarts: 3 };
        let deadline = LogTime::from_millis(9);
        Ledger {
            fence: Fence { term: Term(2), epoch: NodeEpoch(5), revision: LogIndex(77) },
            replicas: vec![
                entry(order(1, Desired::Run), Some(Process { pid: 10, start_ticks: 11, port: 12 })),
                entry(order(2, Desired::Drain { deadline }), None),
                entry(order(3, Desired::Stop), None),
            ],
            prefetches: vec![Arc::new(PrefetchOrder {
                key: "fraud/green".parse().unwrap(),
                generation: Generation(2),
                spec: DeploymentSpec::new(Runtime::Onnx),
            })],
        }
    }

    #[test]
    fn a_ledger_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Ledger::default());
        write(dir.path(), &ledger()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), ledger());
    }

    #[test]
    fn damage_and_newer_versions_are_refused_in_plain_words() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, code) in [
            ("{", Code::StoreDamaged),
            (r#"{"version":1,"fence":{}}"#, Code::StoreDamaged),
            (r#"{"version":2}"#, Code::StoreVersion),
        ] {
            fs::write(path(dir.path()), bytes).unwrap();
            assert_eq!(read(dir.path()).unwrap_err().code, code, "{bytes}");
        }
    }
}
