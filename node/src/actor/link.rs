//! The way to the agent's actor, which may be replaced by another one at any time.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_core::{
    agent::{Assignments, Fence, Input},
    error::{Code, Error},
    id::{NodeEpoch, Term},
    state::ReplicaReport,
};
use ractor::ActorRef;
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::agent::AgentMsg;

/// How long the agent may take for an answer. It only computes, so a second would do; this allows for a busy host.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A handle to whichever actor is the agent now.
#[derive(Clone)]
pub(crate) struct AgentLink {
    actor: Arc<watch::Sender<Option<ActorRef<AgentMsg>>>>,
    cluster_id: Arc<Mutex<String>>,
}

/// Where a node stands, for its hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) fence: Fence,
    pub(crate) reports: Vec<ReplicaReport>,
    pub(crate) cluster_id: String,
}

// === impl AgentLink ===

impl AgentLink {
    pub(crate) fn new(cluster_id: String) -> Self {
        Self { actor: Arc::new(watch::Sender::new(None)), cluster_id: Arc::new(Mutex::new(cluster_id)) }
    }

    /// Takes a new actor.
    pub(super) fn replace(&self, actor: ActorRef<AgentMsg>) {
        self.actor.send_replace(Some(actor));
    }

    /// Watches for the agent being replaced.
    pub(crate) fn replaced(&self) -> watch::Receiver<Option<ActorRef<AgentMsg>>> {
        self.actor.subscribe()
    }

    /// Tells the agent what happened. An agent that is just being replaced learns it anew from what it finds.
    pub(crate) fn tell(&self, input: Input) {
        let actor = self.actor.borrow().clone();
        if let Some(actor) = actor
            && actor.cast(AgentMsg::Input(input)).is_err()
        {
            tracing::debug!("an input came while the agent was replaced");
        }
    }

    /// Makes the agent fail, for tests of its supervision.
    pub(crate) fn fail(&self) {
        let actor = self.actor.borrow().clone();
        if let Some(actor) = actor
            && actor.cast(AgentMsg::Fail).is_err()
        {
            tracing::debug!("the agent failed already");
        }
    }

    pub(crate) async fn registered(&self, epoch: NodeEpoch, term: Term) -> Result<(), Error> {
        self.ask(|done| AgentMsg::Awaited(Input::Registered { epoch, term }, done)).await
    }

    pub(crate) async fn ordered(&self, orders: Assignments) -> Result<(), Error> {
        self.ask(|done| AgentMsg::Awaited(Input::Assignments(orders), done)).await
    }

    pub(crate) async fn standing(&self) -> Result<Standing, Error> {
        let (fence, reports) = self.ask(AgentMsg::Standing).await?;
        Ok(Standing { fence, reports, cluster_id: self.cluster_id() })
    }

    /// The cluster this node belongs to; empty before it joined one.
    pub(crate) fn cluster_id(&self) -> String {
        self.cluster_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn joined(&self, cluster_id: &str) {
        cluster_id.clone_into(&mut self.cluster_id.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> AgentMsg) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let actor = self.actor.borrow().clone();
        let away = || Error::new(Code::Unavailable, "the agent is being started again");
        actor.ok_or_else(away)?.cast(message(answer)).map_err(|_| away())?;
        match timeout(ANSWER_DEADLINE, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(away()),
            Err(_) => Err(Error::new(Code::Timeout, "the agent does not answer")),
        }
    }
}

impl fmt::Debug for AgentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentLink").field("cluster_id", &self.cluster_id()).finish_non_exhaustive()
    }
}
