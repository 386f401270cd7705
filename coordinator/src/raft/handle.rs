//! What the rest of the coordinator holds of consensus.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use berth_core::id::{LogIndex, MemberId};
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    error::Error,
    member::{NotDone, Proposed, Running},
    membership::Change,
    status::RaftStatus,
};

/// How long a snapshot that was asked for may take before it is asked for again.
const SNAPSHOT_ROUND: Duration = Duration::from_millis(250);

/// A handle on the running member. Clones are cheap; every wait has a deadline.
#[derive(Clone)]
pub struct RaftHandle {
    pub(super) member: Arc<Running>,
}

// === impl RaftHandle ===

impl RaftHandle {
    /// Returns this member's id.
    pub fn member_id(&self) -> MemberId {
        self.member.id
    }

    /// Returns the cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.member.cluster
    }

    /// Replicates `command` and returns what the state machine answered. Any member takes it; another one leads it on.
    ///
    /// [`Error::may_have_been_applied`] tells whether a failed command may be applied all the same.
    pub async fn propose(&self, command: Bytes, deadline: Instant) -> Result<Proposed, Error> {
        self.member.propose(command, deadline).await
    }

    /// Returns once the local state contains everything that was committed, anywhere, before this call.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<LogIndex, Error> {
        self.member.read_barrier(deadline).await
    }

    /// Returns once the local state contains entry `index`.
    pub async fn wait_applied(&self, index: LogIndex, deadline: Instant) -> Result<LogIndex, Error> {
        self.member.wait_applied(index, deadline).await
    }

    /// Returns this member's view of the cluster.
    pub fn status(&self) -> Arc<RaftStatus> {
        self.member.now()
    }

    /// Watches this member's view of the cluster.
    pub fn watch(&self) -> watch::Receiver<Arc<RaftStatus>> {
        self.member.status.subscribe()
    }

    /// Waits until `test` holds; `what` names it when it does not in time.
    pub async fn wait_for(
        &self,
        deadline: Instant,
        what: &'static str,
        mut test: impl FnMut(&RaftStatus) -> bool,
    ) -> Result<Arc<RaftStatus>, Error> {
        let mut status = self.watch();
        match timeout_at(deadline, status.wait_for(|status| test(status))).await {
            Ok(Ok(status)) => Ok(status.clone()),
            Ok(Err(_)) => Err(self.member.stopped()),
            Err(_) => Err(Error::Deadline { doing: what.to_owned() }),
        }
    }

    /// Asks every member which level of commands its build understands; nothing from those that do not answer in time.
    pub async fn known_levels(&self) -> BTreeMap<MemberId, Option<u32>> {
        let asked = self.status().members.clone().into_iter().map(|other| async move {
            if other.id == self.member.id {
                return (other.id, Some(self.member.machine.knows_level()));
            }
            // Whoever answers at its address must be that member: a stranger's answer says nothing of it.
            let found = self.member.identify(&other.address).await.ok();
            (other.id, found.filter(|found| found.member == other.id.0).map(|found| found.feature_level))
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    /// Writes the first membership of a new cluster. [`Formation`](super::Formation) does this by itself.
    pub async fn bootstrap(&self, members: BTreeMap<MemberId, String>) -> Result<(), Error> {
        self.member.initialize(members).await
    }

    /// Asks the member at `address` to be taken in. [`Formation`](super::Formation) does this by itself.
    pub async fn join(&self, address: &str, deadline: Instant) -> Result<(), Error> {
        let change = Change::Join(self.member.id, self.member.advertise.clone());
        let mut at = address.to_owned();
        loop {
            let (next, why) = match self.member.change_at(&at, &change, deadline).await {
                Ok(()) => return Ok(()),
                Err(NotDone::Error(error)) => return Err(error),
                Err(NotDone::NotLeader(Some(leader), why)) => (leader.address, why),
                Err(NotDone::NotLeader(None, why) | NotDone::Unknown(why)) => (address.to_owned(), why),
            };
            at = next;
            let pause = Instant::now() + self.member.timings.form_retry();
            if pause >= deadline {
                return Err(Error::Deadline { doing: format!("being taken in: {why}") });
            }
            tokio::time::sleep_until(pause).await;
        }
    }

    /// Adds a member that follows without a vote.
    pub async fn add_learner(&self, id: MemberId, address: &str, deadline: Instant) -> Result<(), Error> {
        self.member.change(&Change::AddLearner(id, address.to_owned()), deadline).await
    }

    /// Makes a learner a voter, once it has caught up.
    pub async fn promote(&self, id: MemberId, deadline: Instant) -> Result<(), Error> {
        self.member.change(&Change::Promote(id), deadline).await
    }

    /// Removes a member for good: its id never comes back.
    pub async fn remove_member(&self, id: MemberId, deadline: Instant) -> Result<(), Error> {
        self.member.change(&Change::Remove(id), deadline).await
    }

    /// Hands leadership to another voter.
    pub async fn transfer_leadership(&self, to: MemberId, deadline: Instant) -> Result<(), Error> {
        self.member.change(&Change::Lead(to), deadline).await
    }

    /// Takes a snapshot of what is applied now and returns the last entry it covers.
    pub async fn snapshot_now(&self, deadline: Instant) -> Result<LogIndex, Error> {
        let engine = &self.member.engine;
        let stopped = |fatal: openraft::errors::Fatal<_>| Error::Stopped { why: fatal.to_string() };
        let wanted = engine.metrics().borrow_watched().last_applied;
        let Some(wanted) = wanted else {
            return Ok(LogIndex(0));
        };
        loop {
            // Not taken while an earlier one is still being stored, so it is asked for until it is there.
            engine.trigger().snapshot().await.map_err(stopped)?;
            let round = (Instant::now() + SNAPSHOT_ROUND).min(deadline);
            let covered = |status: &RaftStatus| status.snapshot.0 >= wanted.index || status.fatal.is_some();
            match self.wait_for(round, "the snapshot", covered).await {
                Ok(status) => {
                    self.member.alive()?;
                    return Ok(status.snapshot);
                }
                Err(Error::Deadline { .. }) if Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Stops this member and returns once its store is released. A leader hands over first, if another voter is ready.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.member.shut_down().await
    }
}

impl fmt::Debug for RaftHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftHandle").field("member", &self.member.id).finish_non_exhaustive()
    }
}
