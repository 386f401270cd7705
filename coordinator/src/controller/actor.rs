//! The actor around the controller: inputs in, effects out, no policy between.

use std::{io, sync::Arc, time::Duration};

use berth_core::{
    controller::{Controller, Effect, GateProbe, Input, Outcome},
    id::{NodeEpoch, NodeId},
    state::ClusterState,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    Lead,
    inbox::{Item, Wake},
};
use crate::{
    clock::Clock,
    propose::{Asker, Proposer},
};

/// A proposal of the controller is given up after this; the controller then looks at the state and decides anew.
const PROPOSE: Duration = Duration::from_secs(5);

/// A gate that does not answer a connection within this counts as unreachable. Well under the time to lose a node.
const PROBE: Duration = Duration::from_millis(300);

/// Who the log names for what the controller does.
const PRINCIPAL: &str = "controller";

/// The actor.
pub(super) struct ControllerActor;

/// What the actor works with.
pub(super) struct Desk {
    pub(super) controller: Controller,
    pub(super) lead: Arc<Lead>,
    pub(super) proposer: Proposer,
    pub(super) clock: Clock,
}

// === impl ControllerActor ===

impl Actor for ControllerActor {
    type Msg = Wake;
    type State = Desk;
    type Arguments = Desk;

    async fn pre_start(&self, _this: ActorRef<Wake>, desk: Desk) -> Result<Desk, ActorProcessingErr> {
        Ok(desk)
    }

    async fn handle(&self, _this: ActorRef<Wake>, _wake: Wake, desk: &mut Desk) -> Result<(), ActorProcessingErr> {
        if !desk.lead.over.is_cancelled() {
            desk.work();
        }
        Ok(())
    }
}

// === impl Desk ===

impl Desk {
    fn work(&mut self) {
        let drained = self.lead.inbox.drain();
        let machine = self.proposer.machine().clone();
        let mut effects = Vec::new();
        for item in drained.items {
            match item {
                Item::Input(input) => effects.extend(machine.read(|state| self.step(input, state))),
                // Whoever asked may have gone; nobody else wants the answer.
                Item::Waiting(key, answer) => {
                    let _ = answer.send(machine.read(|state| self.controller.waiting(state, &key)));
                }
                Item::DrainWaits(node, answer) => {
                    let _ = answer.send(machine.read(|state| self.controller.drain_waits(state, node)));
                }
                Item::RoutersBehind(version, answer) => {
                    let _ = answer.send(machine.read(|state| self.controller.routers_behind(state, version)));
                }
            }
        }
        let applied = drained.applied.then_some(Input::StateApplied);
        let beats = drained.heartbeats.into_iter().map(Input::Heartbeat);
        for input in beats.chain(applied).chain(drained.tick.then_some(Input::Tick)) {
            effects.extend(machine.read(|state| self.step(input, state)));
        }
        self.lead.set_established(self.controller.is_established());
        self.lead.set_brake(self.controller.brake());
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn step(&mut self, input: Input, state: &ClusterState) -> Vec<Effect> {
        self.controller.step(input, state, self.clock.monotonic())
    }

    fn carry_out(&self, effect: Effect) {
        let lead = self.lead.clone();
        match effect {
            Effect::Propose { ticket, command } => {
                let proposer = self.proposer.clone();
                tokio::spawn(async move {
                    let asked = proposer.propose(Asker::cluster(PRINCIPAL), *command, Instant::now() + PROPOSE);
                    let outcome = tokio::select! {
                        done = asked => match done {
                            Ok(done) => Outcome::Applied { index: done.index, reply: done.reply },
                            Err(error) => Outcome::Failed(error),
                        },
                        () = lead.over.cancelled() => return,
                    };
                    lead.inbox.answer(Input::Proposed { ticket, outcome });
                });
            }
            Effect::ProbeGate { node, epoch, address } => {
                tokio::spawn(async move { probe(&lead, node, epoch, &address).await });
            }
            Effect::CloseSession { node, epoch, reason } => lead.sessions.close(node, epoch, &reason),
            Effect::WakeAt(due) => lead.inbox.wake_at(self.clock.at(due)),
        }
    }
}

async fn probe(lead: &Lead, node: NodeId, epoch: NodeEpoch, address: &str) {
    let result = match timeout(PROBE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => GateProbe::Answered,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => GateProbe::Refused,
        Ok(Err(_)) | Err(_) => GateProbe::Unreachable,
    };
    lead.inbox.answer(Input::GateProbed { node, epoch, result });
}
