//! The replicated state as consensus and everybody else see it: bytes from one side, borrowed reads from the other.
//!
//! Consensus applies from one task. Readers borrow the state for as long as it takes to copy what they need; nobody
//! holds it across an await. Whoever waits for a change watches the position, then reads the state, so that a slow
//! reader misses no change and is handed none twice.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use berth_core::{
    error::{Code, Error},
    id::LogIndex,
    invariant::{self, Witness},
    state::{Applied, ClusterState, Command, Entry, Reply},
};
use berth_proto::store;
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Metrics,
    raft::{RestoreError, StateMachine},
};

/// How often the whole state is judged. Seldom: it is a look after what should never happen.
const JUDGE: Duration = Duration::from_secs(60);

/// Broken invariants logged in one round; one cause often breaks many.
const VIOLATIONS_LOGGED: usize = 10;

/// The replicated state of this member.
#[derive(Debug)]
pub struct Machine {
    state: RwLock<ClusterState>,
    applied: watch::Sender<LogIndex>,
    /// Entries applied since start; a measure of work, not part of the state.
    entries: AtomicU64,
    /// The newest feature level this build knows.
    knows_level: u32,
    /// Judges every entry, in debug builds only: it costs a copy of the state.
    witness: Mutex<Option<Witness>>,
}

// === impl Machine ===

impl Machine {
    /// Creates the state before the first entry, in a build that knows commands up to a level.
    pub fn new(knows_level: u32) -> Self {
        Self {
            state: RwLock::new(ClusterState::new()),
            applied: watch::Sender::new(LogIndex(0)),
            entries: AtomicU64::new(0),
            knows_level,
            witness: Mutex::new(None),
        }
    }

    /// Says in plain words that this build is too old for a level.
    fn too_old(&self, level: u32) -> Option<Error> {
        (level > self.knows_level).then(|| {
            Error::new(
                Code::FeatureLevel,
                format!("this build is too old for the cluster: it is at feature level {level}"),
            )
            .why(format!("this build knows levels up to {}", self.knows_level))
            .try_("start a build as new as that of the other coordinators")
        })
    }

    /// Reads the state. Nothing is applied meanwhile: copy what is needed and return.
    pub fn read<R>(&self, read: impl FnOnce(&ClusterState) -> R) -> R {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Watches the position of the state. Mark it seen *before* reading.
    pub fn watch(&self) -> watch::Receiver<LogIndex> {
        self.applied.subscribe()
    }

    /// Applies an entry and stops a debug build at the first one that breaks an invariant: later ones only hide where
    /// it came from.
    fn judged(&self, state: &mut ClusterState, index: LogIndex, entry: &Entry) -> Applied {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let witness = witness.get_or_insert_with(|| Witness::of(state));
        witness.skip_to(LogIndex(index.0.saturating_sub(1)));
        let applied = state.apply(index, entry);
        let mut broken = witness.check_step(state, entry, &applied.reply);
        broken.extend(invariant::check(state));
        assert!(broken.is_empty(), "entry {index} breaks {broken:?}");
        applied
    }

    /// Returns how many entries were applied since this process started.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }
}

impl StateMachine for Machine {
    fn apply(&self, index: LogIndex, command: &[u8]) -> Vec<u8> {
        let entry = match store::decode_entry(command) {
            Ok(entry) => entry,
            // Going on without an entry that other members understand would make this member's state differ from
            // theirs. Stopping is the only safe answer; a newer build picks up where this one stopped.
            Err(error) if error.code == Code::StoreVersion => {
                panic!("entry {index} was written by a newer build: {error}")
            }
            // Bytes that no build wrote: every member refuses them alike.
            Err(error) => return store::encode_reply(&Reply::Refused(error)),
        };
        // The state of a member that cannot follow any further must not differ from the others': it stops instead.
        if let Command::FeatureLevelRaise { level } = entry.command
            && let Some(error) = self.too_old(level)
        {
            panic!("entry {index}: {error}");
        }
        let applied = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if cfg!(debug_assertions) { self.judged(&mut state, index, &entry) } else { state.apply(index, &entry) }
        };
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.applied.send_replace(index);
        store::encode_reply(&applied.reply)
    }

    fn snapshot(&self) -> Vec<u8> {
        // Copied under the lock, encoded outside: readers and the next entry wait for the copy only.
        let snapshot = self.read(ClusterState::to_snapshot);
        store::encode_snapshot(&snapshot)
    }

    fn knows_level(&self) -> u32 {
        self.knows_level
    }

    fn demands_level(&self) -> u32 {
        self.read(|state| state.feature_level)
    }

    fn restore(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let state = ClusterState::from_snapshot(store::decode_snapshot(snapshot)?);
        if let Some(error) = self.too_old(state.feature_level) {
            return Err(error.into());
        }
        let index = state.applied;
        *self.witness.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.applied.send_replace(index);
        Ok(())
    }
}

/// Judges the whole state now and then, in every build, until `stop`: what is found is counted and logged.
pub(crate) async fn judge(machine: Arc<Machine>, metrics: Metrics, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(JUDGE);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut judged = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let applied = machine.read(|state| state.applied);
        if judged.replace(applied) == Some(applied) {
            continue;
        }
        // Copied, so that nothing waits while it is judged.
        let state = machine.read(Clone::clone);
        match tokio::task::spawn_blocking(move || invariant::check(&state)).await {
            Ok(broken) => {
                metrics.state.violations.set(i64::try_from(broken.len()).unwrap_or(i64::MAX));
                for violation in broken.iter().take(VIOLATIONS_LOGGED) {
                    tracing::error!(id = violation.id, what = violation.what, "the state breaks an invariant");
                }
            }
            Err(error) => tracing::error!(%error, "the state could not be judged"),
        }
    }
}

/// Says that the state gave an answer that does not belong to the question.
pub(crate) fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Internal, "the state gave an answer of another kind").why(format!("{reply:?}"))
}
