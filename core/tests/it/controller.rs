//! The controller: the exact effects of each input, and a failover that counts nobody unheard.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    controller::{Controller, Effect, GateProbe, Heartbeat, Input, Outcome, TableAcks},
    error::{Code, Error},
    id::{LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId, Term},
    model::{NodeState, ReplicaState},
    rng::SeedTree,
    state::{Command, Step},
};

use crate::kit::{Cluster, key, ms, spec};

/// A leader over a cluster, with a clock.
struct Lead {
    controller: Controller,
    cluster: Cluster,
    now: u64,
}

impl Lead {
    fn over(cluster: Cluster, term: u64) -> Self {
        let controller = Controller::new(Term(term), MemberId(term), SeedTree::new(term));
        Self { controller, cluster, now: 0 }
    }

    /// A leader that is established, with a session to each of three nodes.
    fn established() -> Self {
        let mut lead = Self::over(Cluster::of(3), 1);
        for node in 1..=3 {
            lead.step(Input::SessionOpened { node: NodeId(node), epoch: NodeEpoch(1) });
        }
        lead
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.controller.step(input, &self.cluster.state, ms(self.now));
        effects.into_iter().filter(|effect| !matches!(effect, Effect::WakeAt(_))).collect()
    }

    /// Applies what the controller proposes until it proposes nothing.
    fn run(&mut self, input: Input) -> Vec<Command> {
        let mut done = Vec::new();
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.step(input) {
                if let Effect::Propose { ticket, command } = effect {
                    let reply = self.cluster.apply((*command).clone());
                    done.push(*command);
                    let outcome = Outcome::Applied { index: self.cluster.state.applied, reply };
                    inputs.push_back(Input::Proposed { ticket, outcome });
                }
            }
        }
        done
    }

    fn heartbeat(&self, node: u64, in_flight: &[(ReplicaId, u32)]) -> Heartbeat {
        let version = self.cluster.state.routes.version();
        Heartbeat {
            node: NodeId(node),
            epoch: self.cluster.state.nodes[&NodeId(node)].epoch,
            acks: TableAcks { received: version, applied: version, warm: version },
            in_flight: in_flight.iter().copied().collect::<BTreeMap<_, _>>(),
            carried: BTreeSet::new(),
            devices: Vec::new(),
        }
    }

    fn hear(&mut self, node: u64) -> Vec<Command> {
        let heartbeat = self.heartbeat(node, &[]);
        self.run(Input::Heartbeat(heartbeat))
    }

    /// Deploys and brings every replica to `Warm`, with no router having said anything about it.
    fn warm(&mut self, count: u32) -> Vec<ReplicaId> {
        self.cluster.deploy("fraud/blue", spec(count));
        self.run(Input::StateApplied);
        self.cluster.nodes_act();
        self.cluster.nodes_act();
        self.run(Input::StateApplied);
        self.cluster.in_state("fraud/blue", ReplicaState::Warm)
    }
}

fn serves(commands: &[Command]) -> Vec<ReplicaId> {
    let steps = commands.iter().filter_map(|command| match command {
        Command::PlanCommit(plan) => Some(&plan.steps),
        _ => None,
    });
    let serve = |step: &Step| match step {
        Step::Serve { replica } => Some(*replica),
        _ => None,
    };
    steps.flatten().filter_map(serve).collect()
}

#[test]
fn a_new_leader_makes_itself_known_before_anything_else() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    let mut lead = Lead::over(cluster, 2);
    let command = Box::new(Command::LeaderEstablished { term: Term(2), member: MemberId(2) });
    assert_eq!(lead.step(Input::StateApplied), [Effect::Propose { ticket: 1, command }]);
    assert_eq!(lead.step(Input::Tick), [], "once");
    assert!(!lead.controller.is_established());
    let failed = Outcome::Failed(Error::new(Code::Timeout, "no majority"));
    assert_eq!(lead.step(Input::Proposed { ticket: 1, outcome: failed }), [], "it rests before it asks again");
    lead.now = 200;
    let commands = lead.run(Input::Tick);
    assert!(matches!(&commands[..], [Command::LeaderEstablished { .. }, Command::PlanCommit(_)]), "{commands:?}");
    assert!(lead.controller.is_established());
}

#[test]
fn a_deposed_leader_falls_silent() {
    let mut lead = Lead::established();
    lead.cluster.must(Command::LeaderEstablished { term: Term(2), member: MemberId(2) });
    lead.cluster.deploy("fraud/blue", spec(1));
    assert_eq!(lead.step(Input::StateApplied), []);
    lead.now = 10_000;
    assert_eq!(lead.step(Input::Tick), []);
}

#[test]
fn one_plan_is_under_way_at_a_time() {
    let mut lead = Lead::established();
    lead.cluster.deploy("fraud/blue", spec(2));
    let effects = lead.step(Input::StateApplied);
    assert!(matches!(&effects[..], [Effect::Propose { .. }]), "{effects:?}");
    lead.cluster.deploy("other/red", spec(1));
    assert_eq!(lead.step(Input::StateApplied), [], "the first is not answered yet");
}

#[test]
fn a_plan_is_not_made_again_on_a_state_older_than_itself() {
    let mut lead = Lead::established();
    lead.cluster.deploy("fraud/blue", spec(1));
    let effects = lead.step(Input::StateApplied);
    let Some(Effect::Propose { ticket, .. }) = effects.first() else { panic!("{effects:?}") };
    let index = lead.cluster.state.applied.next();
    let reply = berth_core::state::Reply::Planned { outcomes: vec![Ok(())] };
    let answer = Input::Proposed { ticket: *ticket, outcome: Outcome::Applied { index, reply } };
    assert_eq!(lead.step(answer), [], "this member has not applied it yet");
}

#[test]
fn a_warm_replica_serves_when_every_router_knows_it() {
    let mut lead = Lead::established();
    let warm = lead.warm(1);
    assert_eq!(serves(&lead.hear(1)), []);
    assert_eq!(serves(&lead.hear(2)), []);
    assert_eq!(lead.controller.waiting(&lead.cluster.state, &key("fraud/blue")).len(), 1);
    assert_eq!(serves(&lead.hear(3)), warm);
    assert_eq!(lead.cluster.ready("fraud/blue"), 1);
}

#[test]
fn a_router_that_carries_the_endpoint_must_be_warm() {
    let mut lead = Lead::established();
    let warm = lead.warm(1);
    lead.hear(1);
    lead.hear(2);
    let mut carrying = lead.heartbeat(3, &[]);
    carrying.acks.warm = LogIndex(0);
    carrying.carried.insert("fraud".parse().unwrap());
    assert_eq!(serves(&lead.run(Input::Heartbeat(carrying.clone()))), []);
    carrying.acks.warm = lead.cluster.state.routes.version();
    assert_eq!(serves(&lead.run(Input::Heartbeat(carrying))), warm);
}

#[test]
fn a_new_leader_counts_nobody_it_has_not_heard() {
    let mut lead = Lead::established();
    let warm = lead.warm(1);
    lead.hear(1);
    lead.hear(2);
    let mut next = Lead::over(lead.cluster, 2);
    next.run(Input::StateApplied);
    next.run(Input::SessionOpened { node: NodeId(3), epoch: NodeEpoch(1) });
    assert_eq!(serves(&next.hear(3)), [], "what the others told its predecessor does not count");
    for node in [1, 2] {
        next.run(Input::SessionOpened { node: NodeId(node), epoch: NodeEpoch(1) });
    }
    assert_eq!(serves(&next.hear(1)), []);
    assert_eq!(serves(&next.hear(2)), warm);
}

#[test]
fn a_drained_replica_stops_when_no_router_sends_and_nothing_is_in_flight() {
    let mut lead = Lead::established();
    let replica = lead.warm(1)[0];
    (1..=3).for_each(|node| drop(lead.hear(node)));
    lead.cluster.scale("fraud/blue", 0);
    lead.run(Input::StateApplied);
    assert_eq!(lead.cluster.in_state("fraud/blue", ReplicaState::Draining), [replica]);
    lead.hear(1);
    lead.hear(2);
    let busy = lead.heartbeat(3, &[(replica, 1)]);
    lead.run(Input::Heartbeat(busy));
    assert_eq!(lead.cluster.in_state("fraud/blue", ReplicaState::Draining), [replica], "one request is on its way");
    lead.hear(3);
    assert_eq!(lead.cluster.in_state("fraud/blue", ReplicaState::Stopped), [replica]);
}

#[test]
fn the_drain_of_a_deleted_endpoint_needs_no_newer_table() {
    let mut lead = Lead::established();
    lead.warm(1);
    (1..=3).for_each(|node| drop(lead.hear(node)));
    lead.cluster.must(Command::EndpointDelete { name: "fraud".parse().unwrap(), if_revision: None });
    lead.run(Input::StateApplied);
    (1..=3).for_each(|node| drop(lead.hear(node)));
    lead.cluster.nodes_act();
    assert!(lead.cluster.state.deployments.is_empty());
}

#[test]
fn a_crash_takes_the_node_off_traffic_at_once_and_replaces_after_the_grace() {
    let mut lead = Lead::established();
    lead.warm(3);
    (1..=3).for_each(|node| drop(lead.hear(node)));
    assert_eq!(lead.cluster.ready("fraud/blue"), 3);
    let effects = lead.step(Input::SessionClosed { node: NodeId(2), epoch: NodeEpoch(1) });
    let probe = Effect::ProbeGate { node: NodeId(2), epoch: NodeEpoch(1), address: "n2:7481".to_owned() };
    assert_eq!(effects, [probe]);
    let refused = Input::GateProbed { node: NodeId(2), epoch: NodeEpoch(1), result: GateProbe::Refused };
    let commands = lead.run(refused);
    assert!(matches!(&commands[..], [Command::NodeTransition(transition)] if transition.to == NodeState::Lost));
    assert_eq!(lead.cluster.replicas("fraud/blue").len(), 3, "its agent may be back in a moment");
    for now in [500, 900, 1_000] {
        lead.now = now;
        lead.hear(1);
        lead.hear(3);
    }
    let commands = lead.run(Input::Tick);
    assert_eq!(lead.cluster.replicas("fraud/blue").len(), 4, "{commands:?}");
}

#[test]
fn a_silent_node_is_suspected_then_lost_then_asked_to_register_again() {
    let mut lead = Lead::established();
    for now in (0..=3_000).step_by(100) {
        lead.now = now;
        lead.hear(1);
        lead.hear(2);
        lead.run(Input::Tick);
    }
    assert_eq!(lead.cluster.state.nodes[&NodeId(3)].state, NodeState::Lost);
    let effects = {
        let heartbeat = lead.heartbeat(3, &[]);
        lead.step(Input::Heartbeat(heartbeat))
    };
    assert!(matches!(&effects[..], [Effect::CloseSession { node: NodeId(3), .. }]), "{effects:?}");
}

#[test]
fn steps_that_are_all_refused_do_not_fill_the_log() {
    let mut lead = Lead::established();
    lead.cluster.deploy("fraud/blue", spec(1));
    let effects = lead.step(Input::StateApplied);
    let Some(Effect::Propose { ticket, .. }) = effects.first() else { panic!("{effects:?}") };
    let outcomes = vec![Err(Error::new(Code::NoCapacity, "too little left"))];
    let outcome = Outcome::Applied { index: LogIndex(9), reply: berth_core::state::Reply::Planned { outcomes } };
    assert_eq!(lead.step(Input::Proposed { ticket: *ticket, outcome }), []);
    assert_eq!(lead.step(Input::StateApplied), [], "it rests first");
    lead.now = 200;
    assert_eq!(lead.step(Input::Tick).len(), 1);
}

#[test]
fn a_session_of_an_older_epoch_is_ended() {
    let mut lead = Lead::established();
    lead.cluster.node(2, crate::kit::profile("n2"));
    let mut heartbeat = lead.heartbeat(2, &[]);
    heartbeat.epoch = NodeEpoch(1);
    let effects = lead.step(Input::Heartbeat(heartbeat));
    assert!(matches!(&effects[..], [Effect::CloseSession { node: NodeId(2), epoch: NodeEpoch(1), .. }]), "{effects:?}");
}
