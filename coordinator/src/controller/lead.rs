//! One leadership: what exists from the moment this member leads until it is deposed, and not a moment longer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    agent::PrefetchReport,
    id::{NodeEpoch, NodeId, ReplicaId, Term},
    model::{DeploymentKey, Replica, ReplicaState},
    units::Resources,
};
use berth_proto::node::v1::{DeviceReport, PrepareProgress, ReplicaUse};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Cards, Inbox, Loads};
use crate::alert::Book;
use crate::session::{Opened, Sessions};

/// The leadership of this member, if it leads.
pub(crate) type LeadWatch = watch::Receiver<Option<Arc<Lead>>>;

/// One leadership.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(crate) term: Term,
    /// Cancelled when this member is deposed: sessions send their nodes on, the controller ends.
    pub(crate) over: CancellationToken,
    pub(crate) inbox: Inbox,
    pub(crate) sessions: Sessions,
    established: watch::Sender<bool>,
    brake: Mutex<Option<String>>,
    uses: Mutex<BTreeMap<NodeId, Arc<NodeUse>>>,
    loads: Mutex<Loads>,
    cards: Mutex<Cards>,
    pub(crate) alerts: Book,
}

/// What a node said last about what it uses. Soft: gone with the leadership.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeUse {
    pub(crate) used: Resources,
    /// Requests in its gate per replica.
    pub(crate) in_flight: BTreeMap<ReplicaId, u64>,
    /// What each of its replicas used at the last measurement.
    pub(crate) uses: BTreeMap<ReplicaId, ReplicaUse>,
    /// How far those are that it prepares.
    pub(crate) progress: BTreeMap<ReplicaId, PrepareProgress>,
    /// What it says of its cards.
    pub(crate) gpus: Vec<DeviceReport>,
    /// How far it is with what its reserve slots are to have ready.
    pub(crate) prefetches: BTreeMap<DeploymentKey, PrefetchReport>,
    /// How far those are for which something is fetched or built.
    pub(crate) prefetching: BTreeMap<DeploymentKey, PrepareProgress>,
}

// === impl NodeUse ===

impl NodeUse {
    /// Returns how far a replica is with what it fetches or builds; nothing of one that does neither any more.
    pub(crate) fn progress_of(&self, replica: &Replica) -> Option<PrepareProgress> {
        let is_preparing = replica.state == ReplicaState::Preparing;
        self.progress.get(&replica.id).filter(|_| is_preparing).cloned()
    }
}

// === impl Lead ===

impl Lead {
    pub(super) fn new(term: Term, over: CancellationToken) -> Self {
        Self {
            term,
            over,
            inbox: Inbox::new(),
            sessions: Sessions::default(),
            established: watch::Sender::new(false),
            brake: Mutex::new(None),
            uses: Mutex::new(BTreeMap::new()),
            loads: Mutex::new(Loads::default()),
            cards: Mutex::new(Cards::default()),
            alerts: Book::default(),
        }
    }

    /// Watches whether the log knows of this leadership; orders go out only from then on.
    pub(crate) fn established(&self) -> watch::Receiver<bool> {
        self.established.subscribe()
    }

    pub(super) fn set_established(&self, established: bool) {
        self.established.send_if_modified(|known| std::mem::replace(known, established) != established);
    }

    /// Says why nothing is replaced right now.
    pub(crate) fn brake(&self) -> Option<String> {
        self.brake.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_brake(&self, brake: Option<String>) {
        *self.brake.lock().unwrap_or_else(PoisonError::into_inner) = brake;
    }

    /// Takes what a node says it uses.
    pub(crate) fn set_use(&self, node: NodeId, used: NodeUse) {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).insert(node, Arc::new(used));
    }

    /// Returns what a node said last.
    pub(crate) fn use_of(&self, node: NodeId) -> Option<Arc<NodeUse>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// Returns how many requests are in the gate of a replica, as its node said last.
    pub(crate) fn in_flight_of(&self, node: NodeId, replica: ReplicaId) -> Option<u64> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).get(&node)?.in_flight.get(&replica).copied()
    }

    /// Looks at, or adds to, what the ingresses answered lately.
    pub(crate) fn with_loads<R>(&self, work: impl FnOnce(&mut Loads) -> R) -> R {
        work(&mut self.loads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at, or adds to, how cards did lately.
    pub(crate) fn with_cards<R>(&self, work: impl FnOnce(&mut Cards) -> R) -> R {
        work(&mut self.cards.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets a session that ended go. Only the newest of a node counts as its end.
    pub(crate) async fn closed(&self, node: NodeId, epoch: NodeEpoch, session: &Opened) {
        if self.sessions.remove(node, session) {
            self.uses.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
            self.inbox.session(berth_core::controller::Input::SessionClosed { node, epoch }).await;
        }
    }
}
