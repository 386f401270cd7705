//! The actor that holds the pure agent.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use berth_core::{
    agent::{Agent, Effect, Fence, GateState, Input, Ledger, ReplicaOrder},
    id::ReplicaId,
    model::Runtime,
    state::ReplicaReport,
    time::Instant,
    traffic::table::RouteRuntime,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{sync::oneshot, task::AbortHandle};

use super::{
    World,
    prefetch::Prefetching,
    replica::{ReplicaActor, ReplicaMsg},
};
use crate::{
    mesh::{LocalReplica, LocalState},
    process::{end_replica, is_alive, marked_processes},
    runtime::Layout,
};

/// What the agent's actor is told.
pub(crate) enum AgentMsg {
    /// Something happened.
    Input(Input),
    /// The same, from somebody who waits until it is taken.
    Awaited(Input, oneshot::Sender<()>),
    /// Fail, for tests of the supervision.
    Fail,
    /// Where the node stands.
    Standing(oneshot::Sender<(Fence, Vec<ReplicaReport>)>),
}

pub(super) struct AgentActor;

pub(super) struct State {
    world: Arc<World>,
    agent: Agent,
    replicas: BTreeMap<ReplicaId, ActorRef<ReplicaMsg>>,
    prefetching: Prefetching,
    wake: Option<(Instant, AbortHandle)>,
}

// === impl AgentActor ===

impl Actor for AgentActor {
    type Msg = AgentMsg;
    type State = State;
    type Arguments = Arc<World>;

    async fn pre_start(&self, me: ActorRef<AgentMsg>, world: Arc<World>) -> Result<State, ActorProcessingErr> {
        let ledger = recover(&world).await?;
        let agent = Agent::new(world.timing);
        let mut state =
            State { world, agent, replicas: BTreeMap::new(), prefetching: Prefetching::default(), wake: None };
        state.step(&me, Input::Recovered(ledger)).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<AgentMsg>,
        message: AgentMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AgentMsg::Input(input) => state.step(&me, input).await,
            AgentMsg::Awaited(input, done) => {
                state.step(&me, input).await?;
                if done.send(()).is_err() {
                    tracing::debug!("whoever waited for an input has given up");
                }
                Ok(())
            }
            AgentMsg::Fail => Err("it was told to fail".into()),
            AgentMsg::Standing(answer) => {
                drop(answer.send((state.agent.fence(), state.agent.reports())));
                Ok(())
            }
        }
    }

    async fn post_stop(&self, _: ActorRef<AgentMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some((_, wake)) = state.wake.take() {
            wake.abort();
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<AgentMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            // What the pure agent waits for would never be answered. Started anew, it finds every process again.
            SupervisionEvent::ActorFailed(who, error) => {
                Err(format!("the actor {} of a replica failed: {error}", who.get_id()).into())
            }
            SupervisionEvent::ActorTerminated(who, ..) => {
                state.replicas.retain(|_, actor| actor.get_id() != who.get_id());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

// === impl State ===

impl State {
    async fn step(&mut self, me: &ActorRef<AgentMsg>, input: Input) -> Result<(), ActorProcessingErr> {
        let effects = self.agent.step(input, self.world.now());
        for effect in effects {
            self.execute(me, effect).await?;
        }
        self.schedule(me);
        Ok(())
    }

    async fn execute(&mut self, me: &ActorRef<AgentMsg>, effect: Effect) -> Result<(), ActorProcessingErr> {
        let replica = match &effect {
            Effect::Publish { order, port, state } => {
                self.world.mesh.publish_local(order.replica, local(order, *port, *state));
                return Ok(());
            }
            Effect::Withdraw { replica } => {
                self.world.mesh.withdraw_local(*replica);
                return Ok(());
            }
            Effect::AskGate { replica } => {
                let in_flight = self.world.mesh.gate_in_flight(*replica);
                let answer = AgentMsg::Input(Input::GateCounted { replica: *replica, in_flight });
                return me.cast(answer).map_err(|error| format!("the agent takes no answer: {error}").into());
            }
            Effect::Report(report) => {
                let reason = report.reason.lines().next().unwrap_or_default();
                tracing::info!(replica = %report.replica, observed = ?report.observed, reason, "replica");
                self.world.outbox.put(report.clone());
                return Ok(());
            }
            Effect::Prefetch { order } => {
                self.prefetching.begin(&self.world, Arc::clone(order));
                return Ok(());
            }
            Effect::CancelPrefetch { key } => {
                self.prefetching.cancel(key);
                return Ok(());
            }
            Effect::ReportPrefetches(reports) => {
                self.world.prefetches.send_replace(reports.clone());
                return Ok(());
            }
            Effect::SaveLedger(ledger) => {
                self.world.ledger.send_replace(ledger.clone());
                return Ok(());
            }
            Effect::Refuse { why } => {
                tracing::warn!(why, "refused");
                return Ok(());
            }
            Effect::FetchAssets { order } | Effect::BuildEnvironment { order } => order.replica,
            Effect::Launch { order, .. } | Effect::Adopt { order, .. } => order.replica,
            Effect::Probe { replica, .. } | Effect::WarmUp { replica, .. } => *replica,
            Effect::Kill { replica, .. } | Effect::RemoveFiles { replica } => *replica,
        };
        let actor = match self.replicas.get(&replica) {
            Some(actor) => actor.clone(),
            None => {
                let args = (Arc::clone(&self.world), replica);
                let (actor, _) = Actor::spawn_linked(None, ReplicaActor, args, me.get_cell()).await?;
                self.replicas.insert(replica, actor.clone());
                actor
            }
        };
        actor.cast(ReplicaMsg(effect)).map_err(|error| format!("replica {replica} takes no order: {error}").into())
    }

    /// Sets the alarm for the next time something is due.
    fn schedule(&mut self, me: &ActorRef<AgentMsg>) {
        let due = self.agent.wake_at();
        if self.wake.as_ref().is_some_and(|(at, alarm)| Some(*at) == due && !alarm.is_finished()) {
            return;
        }
        if let Some((_, alarm)) = self.wake.take() {
            alarm.abort();
        }
        let Some(at) = due else {
            return;
        };
        let wait = Duration::from_millis(at.since(self.world.now()).0);
        let me = me.clone();
        let alarm = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // An actor that has ended needs no alarm.
            drop(me.cast(AgentMsg::Input(Input::Tick)));
        });
        self.wake = Some((at, alarm.abort_handle()));
    }
}

fn local(order: &ReplicaOrder, port: u16, state: GateState) -> LocalReplica {
    let settings = order.spec.request_settings;
    LocalReplica {
        key: order.key.clone(),
        address: (std::net::Ipv4Addr::LOCALHOST, port).into(),
        runtime: match order.spec.runtime {
            Runtime::Python => RouteRuntime::Python,
            Runtime::Onnx => RouteRuntime::Onnx,
            Runtime::Command(_) => RouteRuntime::Command,
        },
        slots: settings.max_concurrent_requests_per_instance,
        max_queue_wait_ms: settings.queue_wait_ms(),
        state: match state {
            GateState::Open => LocalState::Open,
            GateState::Draining => LocalState::Draining,
        },
    }
}

/// Compares the ledger with what runs: names a process only where that very process is alive, and ends whatever else
/// was started for a replica of this node, such as a process whose launch was not written down before a crash.
async fn recover(world: &World) -> Result<Ledger, ActorProcessingErr> {
    let mut ledger = world.ledger.borrow().clone();
    for entry in &mut ledger.replicas {
        entry.process = entry.process.filter(|process| is_alive(process.pid, process.start_ticks));
        if let Some(process) = entry.process {
            world.ports.adopt(process.port);
        }
    }
    let root = |id: ReplicaId| Layout::new(&world.home, id).root().to_owned();
    let adopted: Vec<PathBuf> =
        ledger.replicas.iter().filter(|entry| entry.process.is_some()).map(|entry| root(entry.order.replica)).collect();
    let roots = Layout::all_roots(&world.home);
    let marked = tokio::task::spawn_blocking(move || marked_processes(&roots)).await?;
    for (pid, root) in marked.into_iter().filter(|(_, root)| !adopted.contains(root)) {
        tracing::warn!(pid, root = %root.display(), "a process nobody knows of is ended");
        // By its mark alone: its group may be anybody's.
        end_replica(None, &root).await;
    }
    Ok(ledger)
}
