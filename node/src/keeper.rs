//! Housekeeping: logs are rotated, and what nothing refers to any more is collected.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use berth_core::{agent::Ledger, id::ReplicaId};
use tokio::time::{MissedTickBehavior, interval};

use crate::{actor::World, process::logs::Log, runtime::Layout};

/// How often logs are looked at: the time of a line is late by no more than that.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks per rotation: a process that writes 100 MB a second outgrows its file by that much.
const ROTATE_EVERY: u32 = 5;
/// Looks per collection of everything else.
const COLLECT_EVERY: u32 = 300;
/// Logs of replicas that are gone which are kept: somebody may still ask why.
const GONE_LOGS_MAX: usize = 64;

/// What logs may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    pub(crate) max_bytes: u64,
    pub(crate) files: usize,
}

/// Keeps house for ever; ends by being dropped.
pub(crate) async fn keep(world: Arc<World>, limits: LogLimits) {
    let mut pace = interval(LOOK_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    for turn in 0_u32.. {
        pace.tick().await;
        let home = world.home.clone();
        let ids: BTreeSet<ReplicaId> = world.ledger.borrow().replicas.iter().map(|entry| entry.order.replica).collect();
        let marked = tokio::task::spawn_blocking(move || {
            seen.mark(&home, &ids);
            seen
        });
        seen = marked.await.unwrap_or_default();
        if turn % ROTATE_EVERY != 0 {
            continue;
        }
        let known = world.ledger.borrow().clone();
        let home = world.home.clone();
        let ids: BTreeSet<ReplicaId> = known.replicas.iter().map(|entry| entry.order.replica).collect();
        let prefetches: BTreeSet<PathBuf> =
            known.prefetches.iter().map(|order| Layout::prefetch(&home, &order.key)).collect();
        let collects = turn % COLLECT_EVERY == COLLECT_EVERY - ROTATE_EVERY;
        let worked = tokio::task::spawn_blocking(move || {
            rotate(&home, &ids, limits)?;
            if !collects {
                return Ok(());
            }
            forget_logs(&home, &ids)?;
            forget_prefetches(&home, &prefetches)
        });
        match worked.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "logs were not kept in order"),
            Err(error) => tracing::warn!(%error, "keeping logs in order broke off"),
        }
        if collects {
            collect(&world, known).await;
        }
    }
}

/// What logs were like at the last look: of one that has not grown nothing more is read.
#[derive(Default)]
struct Seen(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

// === impl Seen ===

impl Seen {
    /// Keeps a mark of how far each log has grown.
    fn mark(&mut self, home: &Path, known: &BTreeSet<ReplicaId>) {
        let paths = known.iter().flat_map(|replica| {
            let layout = Layout::new(home, *replica);
            [layout.output(), layout.prepare()]
        });
        let mut seen = BTreeMap::new();
        for path in paths {
            let Ok(meta) = fs::metadata(&path) else { continue };
            let is = (meta.len(), meta.modified().ok());
            let was = self.0.get(&path);
            // What cannot be marked now is marked at the next look; times are worth no more than that.
            if was == Some(&is) || Log::new(path.clone()).mark().is_ok() {
                seen.insert(path, is);
            }
        }
        self.0 = seen;
    }
}

async fn collect(world: &Arc<World>, known: Ledger) {
    let specs: Vec<_> = known.specs().collect();
    if let Err(error) = world.environments.collect(&specs).await {
        tracing::warn!(%error, "unused environments were not collected");
    }
    let referenced = specs.iter().flat_map(|spec| spec.assets()).map(|asset| asset.digest).collect();
    let cache = Arc::clone(&world.cache);
    match tokio::task::spawn_blocking(move || cache.collect(&referenced)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(bytes)) => tracing::info!(bytes, "unused assets were collected"),
        Ok(Err(error)) => tracing::warn!(%error, "unused assets were not collected"),
        Err(error) => tracing::warn!(%error, "collecting assets broke off"),
    }
}

fn rotate(home: &Path, known: &BTreeSet<ReplicaId>, limits: LogLimits) -> io::Result<()> {
    for replica in known {
        let layout = Layout::new(home, *replica);
        for path in [layout.output(), layout.prepare()] {
            if Log::new(path).rotate(limits.max_bytes, limits.files)? {
                tracing::debug!(%replica, "a log was rotated");
            }
        }
    }
    Ok(())
}

/// Removes the oldest logs of replicas that are gone.
fn forget_logs(home: &Path, known: &BTreeSet<ReplicaId>) -> io::Result<()> {
    let mut gone: Vec<(SystemTime, _)> = Vec::new();
    let entries = match fs::read_dir(Layout::all_logs(home)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<ReplicaId>().ok());
        if id.is_some_and(|id| !known.contains(&id)) {
            gone.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    gone.sort();
    let surplus = gone.len().saturating_sub(GONE_LOGS_MAX);
    gone.iter().take(surplus).try_for_each(|(_, path)| fs::remove_dir_all(path))
}

/// Removes the logs of prefetches that are no longer wanted.
fn forget_prefetches(home: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(Layout::all_prefetches(home)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if !wanted.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_marked_as_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), ReplicaId(1));
        layout.create().unwrap();
        let log = Log::new(layout.output());
        let (mut seen, known) = (Seen::default(), BTreeSet::from([ReplicaId(1), ReplicaId(2)]));
        for (text, at_s) in [("one\n", 1), ("one\ntwo\n", 2), ("one\ntwo\n", 2), ("one\ntwo\n3\n", 3)] {
            fs::write(log.path(), text).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at_s);
            fs::File::open(log.path()).unwrap().set_modified(at).unwrap();
            seen.mark(dir.path(), &known);
        }
        let told: Vec<_> = log.times(0, 10).unwrap().iter().map(|mark| (mark.until, mark.at_ms)).collect();
        assert_eq!(told, [(4, 1_000), (8, 2_000), (10, 3_000)]);
        seen.mark(dir.path(), &BTreeSet::new());
        assert_eq!(seen.0.len(), 0, "what is not looked at is not remembered");
    }

    #[test]
    fn logs_of_the_living_stay_and_the_oldest_of_the_gone_go() {
        let dir = tempfile::tempdir().unwrap();
        let count = GONE_LOGS_MAX as u64 + 6;
        for id in 1..=count {
            let layout = Layout::new(dir.path(), ReplicaId(id));
            layout.create().unwrap();
            let folder = fs::File::open(layout.output().parent().unwrap()).unwrap();
            folder.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(id)).unwrap();
        }
        let known = BTreeSet::from([ReplicaId(1)]);
        forget_logs(dir.path(), &known).unwrap();
        let has = |id| Layout::new(dir.path(), ReplicaId(id)).output().parent().unwrap().exists();
        assert!(has(1), "known");
        assert!((2..=6).all(|id| !has(id)), "the oldest five of the gone");
        assert!((7..=count).all(has));
    }
}
