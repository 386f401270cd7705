//! Devices: a fault empties the card whatever was promised, the card is watched, and it comes back by itself.

use berth_core::{
    controller::{Controller, Effect, Heartbeat, Input, Outcome},
    error::Code,
    health::DeviceSign,
    id::{MemberId, NodeEpoch, NodeId, Term},
    model::{DeploymentSpec, Device, DeviceState, GpuAsk, NodeProfile, NodeState, ReplicaState},
    rng::SeedTree,
    schedule::Verdict,
    state::{Command, DeviceTransition, Observed, RegisterNode, Reply, Step},
    time::Millis,
    units::Resources,
};

use crate::kit::{Cluster, INSTANCE, NODE, key, ms, profile, spec};

/// A node with whole cards `GPU-<name>-0`, `-1`, ….
fn gpu_profile(name: &str, cards: usize) -> NodeProfile {
    let devices = (0..cards).map(|at| Device {
        uuid: format!("GPU-{name}-{at}"),
        model: "H100".to_owned(),
        memory_mib: 81_920,
        healthy: true,
        ..Device::default()
    });
    let capacity = Resources { gpus: cards as u64, ..NODE };
    NodeProfile { devices: devices.collect(), capacity, ..profile(name) }
}

fn whole(instances: u32) -> DeploymentSpec {
    let gpu = GpuAsk::Whole { count: 1, model: None, memory_mib_min: 0 };
    DeploymentSpec { gpu, resources: Resources { gpus: 1, ..INSTANCE }, ..spec(instances) }
}

/// Nodes of two cards each, and instances that each serve with one of them.
fn settled(nodes: u64, instances: u32) -> Cluster {
    let mut cluster = Cluster::empty();
    for node in 1..=nodes {
        cluster.node(node, gpu_profile(&format!("n{node}"), 2));
    }
    cluster.deploy("fraud/blue", whole(instances));
    cluster.settle();
    cluster
}

fn transition(cluster: &Cluster, card: &str, to: DeviceState, faults: u64) -> Command {
    let holds = |devices: &[Device]| devices.iter().any(|device| device.card() == card);
    let node = cluster.state.nodes.values().find(|node| holds(&node.profile.devices)).expect("somebody has it");
    Command::DeviceTransition(DeviceTransition {
        term: cluster.state.term,
        node: node.id,
        epoch: node.epoch,
        card: card.to_owned(),
        to: Some(to),
        reason: "XID 79: fell off the bus".to_owned(),
        faults,
    })
}

fn fault(cluster: &mut Cluster, card: &str, faults: u64) {
    let command = transition(cluster, card, DeviceState::Probation, faults);
    cluster.must(command);
}

/// The card of the only replica that serves.
fn card_of_the_one(cluster: &Cluster) -> String {
    cluster.replicas("fraud/blue")[0].devices[0].uuid.clone()
}

#[test]
fn a_fault_empties_the_card_at_once_and_its_place_is_filled_elsewhere() {
    let mut cluster = settled(2, 1);
    let card = card_of_the_one(&cluster);
    let replica = cluster.replicas("fraud/blue")[0].id;
    fault(&mut cluster, &card, 1);
    let (steps, _) = cluster.plan();
    assert!(
        steps.iter().any(|step| matches!(step, Step::Drain { replica: leaving, reason, .. }
            if *leaving == replica && reason.contains("XID 79"))),
        "the only one that serves leaves, promised or not: {steps:?}"
    );
    let placed = steps.iter().find_map(|step| match step {
        Step::Place { devices, .. } => Some(devices[0].uuid.clone()),
        _ => None,
    });
    assert!(placed.as_ref().is_some_and(|other| *other != card), "in the same plan: {steps:?}");
    cluster.commit(steps);
    assert_ne!(cluster.state.replicas[&replica].state, ReplicaState::Serving);
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), card_of_the_one(&cluster)), (1, placed.unwrap()));
    assert!(cluster.plan().0.is_empty(), "and rests");
}

#[test]
fn what_a_broken_card_carried_comes_back_from_the_reserve() {
    // Two nodes of one card each: the instance has one, its reserve the other, and nothing else is free.
    let mut cluster = Cluster::empty();
    for node in 1..=2 {
        cluster.node(node, gpu_profile(&format!("n{node}"), 1));
    }
    cluster.deploy("fraud/blue", DeploymentSpec { reserve: true, ..whole(1) });
    cluster.settle();
    let slot = cluster.state.slots.values().next().expect("one is held").clone();
    let card = card_of_the_one(&cluster);
    fault(&mut cluster, &card, 1);
    let (steps, _) = cluster.plan();
    let spent = steps.iter().find_map(|step| match step {
        Step::Place { reserve_spent, .. } => reserve_spent.as_ref(),
        _ => None,
    });
    let spent = spent.unwrap_or_else(|| panic!("a place, from the reserve: {steps:?}"));
    assert_eq!(spent.slot, slot.id);
    assert_eq!(spent.cause.to_string(), format!("recovery of {}", if slot.node.0 == 1 { "n2" } else { "n1" }));
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), cluster.state.slots.len()), (1, 0));
    assert!(cluster.state.deployments[&key("fraud/blue")].reserve_short_since.is_some(), "visibly short");
    let mended = transition(&cluster, &card, DeviceState::Healthy, 1);
    cluster.must(mended);
    cluster.settle();
    assert_eq!(cluster.state.slots.values().map(|slot| slot.devices[0].uuid.clone()).collect::<Vec<_>>(), [card]);
    assert!(cluster.state.deployments[&key("fraud/blue")].reserve_short_since.is_none(), "restored");
}

/// The planner must not count the place of what a broken card still carries as free for a slot.
#[test]
fn no_slot_is_held_for_a_place_that_a_broken_card_still_takes() {
    let mut cluster = Cluster::empty();
    for node in 1..=4 {
        cluster.node(node, gpu_profile(&format!("n{node}"), 1));
    }
    cluster.deploy("fraud/blue", DeploymentSpec { reserve: true, ..whole(2) });
    cluster.settle();
    let card = card_of_the_one(&cluster);
    fault(&mut cluster, &card, 1);
    // Every step of every plan is taken, however long the broken one takes to go.
    let (steps, _) = cluster.plan();
    cluster.commit(steps);
    for _ in 0..4 {
        let (steps, _) = cluster.plan_with(&Default::default(), &Default::default());
        cluster.commit(steps);
        cluster.nodes_act();
    }
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), cluster.state.slots.len()), (2, 1));
}

#[test]
fn a_neighbour_on_another_card_of_the_node_stays() {
    let mut cluster = settled(1, 2);
    let card = card_of_the_one(&cluster);
    let stays = cluster.replicas("fraud/blue").iter().find(|replica| replica.devices[0].uuid != card).unwrap().id;
    fault(&mut cluster, &card, 1);
    cluster.settle();
    assert_eq!(cluster.state.replicas[&stays].state, ReplicaState::Serving);
    assert_eq!(cluster.ready("fraud/blue"), 1, "nobody has room for the other");
    let verdict = Verdict::of(&cluster.state, &key("fraud/blue")).unwrap().to_string();
    assert!(verdict.contains("gpu") && verdict.contains("1/2 placed"), "{verdict}");
}

#[test]
fn nothing_is_placed_on_a_card_that_is_out_and_the_refusal_names_its_fault() {
    let mut cluster = Cluster::empty();
    cluster.node(1, gpu_profile("n1", 1));
    fault(&mut cluster, "GPU-n1-0", 1);
    cluster.deploy("fraud/blue", whole(1));
    cluster.settle();
    let verdict = Verdict::of(&cluster.state, &key("fraud/blue")).unwrap().to_string();
    assert!(verdict.contains("device") && verdict.contains("probation: XID 79: fell off the bus"), "{verdict}");
    // Silence stops placement too, and nothing else.
    let mut cluster = settled(1, 1);
    let card = card_of_the_one(&cluster);
    let command = transition(&cluster, &card, DeviceState::Unknown, 0);
    cluster.must(command);
    assert!(cluster.plan().0.is_empty(), "what runs goes on");
    cluster.scale("fraud/blue", 2);
    cluster.settle();
    assert!(cluster.replicas("fraud/blue").iter().any(|replica| replica.devices[0].uuid != card));
}

#[test]
fn a_transition_is_fenced_and_counted_once() {
    let mut cluster = settled(1, 1);
    let card = card_of_the_one(&cluster);
    let good = transition(&cluster, &card, DeviceState::Probation, 1);
    let with = |change: &dyn Fn(&mut DeviceTransition)| {
        let Command::DeviceTransition(mut changed) = good.clone() else { panic!("a transition") };
        change(&mut changed);
        Command::DeviceTransition(changed)
    };
    for (command, code, why) in [
        (with(&|t| t.term = Term(0)), Code::Stale, "a deposed leader"),
        (with(&|t| t.epoch = NodeEpoch(9)), Code::Stale, "another epoch"),
        (with(&|t| t.node = NodeId(99)), Code::NodeNotFound, "no such node"),
        (with(&|t| t.card = "GPU-other".into()), Code::DeviceNotFound, "no such card"),
    ] {
        match cluster.apply(command) {
            Reply::Refused(error) => assert_eq!(error.code, code, "{why}"),
            other => panic!("{why}: {other:?}"),
        }
    }
    cluster.must(good.clone());
    cluster.must(good);
    let node = &cluster.state.nodes[&NodeId(1)];
    assert_eq!(node.devices[&card].strikes, 1, "a leader that says it again says nothing new");
    let told = cluster.state.events.iter().filter(|event| event.kind == "device.probation").count();
    assert_eq!(told, 1);
}

#[test]
fn a_slice_falls_with_its_card() {
    let mut cluster = Cluster::empty();
    let slice = |at: usize| Device {
        uuid: format!("MIG-{at}"),
        model: "H100".to_owned(),
        memory_mib: 10_240,
        mig_profile: Some("1g.10gb".to_owned()),
        healthy: true,
        card: Some("GPU-n1-0".to_owned()),
        ..Device::default()
    };
    cluster.node(1, NodeProfile { devices: vec![slice(0), slice(1)], ..profile("n1") });
    let gpu = GpuAsk::Mig { profile: "1g.10gb".to_owned(), count: 1 };
    cluster.deploy("fraud/blue", DeploymentSpec { gpu, ..spec(2) });
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2);
    fault(&mut cluster, "GPU-n1-0", 1);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 0);
    let verdict = Verdict::of(&cluster.state, &key("fraud/blue")).unwrap().to_string();
    assert!(verdict.contains("XID 79"), "{verdict}");
}

#[test]
fn a_card_that_is_gone_after_a_restart_is_kept_on_the_books_until_it_is_left() {
    let mut cluster = settled(2, 1);
    let replica = cluster.replicas("fraud/blue")[0].clone();
    let name = cluster.state.nodes[&replica.node].profile.name.to_string();
    let fewer = || {
        let mut fewer = gpu_profile(&name, 2);
        fewer.devices.retain(|device| device.uuid != replica.devices[0].uuid);
        NodeProfile { capacity: Resources { gpus: 1, ..NODE }, ..fewer }
    };
    cluster.node(replica.node.0, fewer());
    let node = &cluster.state.nodes[&replica.node];
    assert_eq!((node.profile.devices.len(), node.profile.capacity.gpus), (2, 2));
    assert_eq!(node.devices[&replica.devices[0].uuid].state, DeviceState::Probation);
    assert!(node.profile.is_of(&fewer()), "the same node, back on another connection");
    assert!(!node.profile.is_of(&gpu_profile(&name, 3)), "another one");
    cluster.report(replica.id, Observed::Warm);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 1);
    assert_ne!(card_of_the_one(&cluster), replica.devices[0].uuid);
    cluster.node(replica.node.0, fewer());
    let node = &cluster.state.nodes[&replica.node];
    assert_eq!((node.profile.devices.len(), node.profile.capacity.gpus, node.devices.len()), (1, 1, 0));
}

#[test]
fn a_node_that_says_anew_what_it_has_did_not_come_back() {
    let mut cluster = settled(1, 1);
    let (node, epoch) = (NodeId(1), cluster.state.nodes[&NodeId(1)].epoch);
    let say = |cluster: &mut Cluster, held: NodeEpoch, cards: usize| {
        let register = RegisterNode { epoch_seen: held, held, ..RegisterNode::new(node, gpu_profile("n1", cards)) };
        cluster.apply(Command::NodeRegister(Box::new(register)))
    };
    // More often than a node may come back: its driver finds one card after the other.
    for cards in 3..=9 {
        assert!(matches!(say(&mut cluster, epoch, cards), Reply::Registered { epoch: same } if same == epoch));
        let node = &cluster.state.nodes[&node];
        assert_eq!(
            (node.profile.devices.len(), node.state, node.hold(&cluster.state.settings)),
            (cards, NodeState::Ready, Millis(0))
        );
    }
    assert_eq!(cluster.ready("fraud/blue"), 1, "what serves goes on");
    cluster.must(Command::DeploymentScale { key: key("fraud/blue"), instance_count: 4, if_revision: None });
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 4, "and what it says is used");
    // A process that was replaced, or whose node was lost, is another one.
    assert!(matches!(say(&mut cluster, NodeEpoch(0), 9), Reply::Registered { epoch: next } if next > epoch));
    let epoch = cluster.state.nodes[&node].epoch;
    cluster.transition(1, NodeState::Lost);
    assert!(matches!(say(&mut cluster, epoch, 9), Reply::Registered { epoch: next } if next > epoch));
}

/// A leader that hears what one node says of its cards.
struct Lead {
    controller: Controller,
    cluster: Cluster,
    now: u64,
}

impl Lead {
    fn over(cluster: Cluster) -> Self {
        let controller = Controller::new(Term(1), MemberId(1), SeedTree::new(1));
        let mut lead = Self { controller, cluster, now: 0 };
        let epoch = lead.cluster.state.nodes[&NodeId(1)].epoch;
        lead.run(Input::SessionOpened { node: NodeId(1), epoch });
        lead
    }

    /// Applies what it proposes until it proposes nothing, and returns the transitions of devices.
    fn run(&mut self, input: Input) -> Vec<DeviceTransition> {
        let mut done = Vec::new();
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.controller.step(input, &self.cluster.state, ms(self.now)) {
                let Effect::Propose { ticket, command } = effect else { continue };
                let reply = self.cluster.apply((*command).clone());
                if let Command::DeviceTransition(transition) = *command {
                    done.push(transition);
                }
                inputs.push_back(Input::Proposed {
                    ticket,
                    outcome: Outcome::Applied { index: self.cluster.state.applied, reply },
                });
            }
        }
        done
    }

    fn hears(&mut self, sign: DeviceSign) -> Vec<DeviceTransition> {
        self.now += 500;
        self.cluster.now = self.cluster.now + Millis(500);
        let epoch = self.cluster.state.nodes[&NodeId(1)].epoch;
        let version = self.cluster.state.routes.version();
        let acks = berth_core::controller::TableAcks { received: version, applied: version, warm: version };
        let beat = Heartbeat { node: NodeId(1), epoch, acks, devices: vec![sign], ..Heartbeat::default() };
        self.run(Input::Heartbeat(beat))
    }
}

fn says(faults: u64, passing_s: Option<u64>) -> DeviceSign {
    DeviceSign {
        card: "GPU-n1-0".into(),
        faults,
        last_fault: "XID 79: fell off the bus".into(),
        passing: passing_s.map(Millis::from_secs),
        ..DeviceSign::default()
    }
}

#[test]
fn one_heartbeat_condemns_a_card_and_quiet_ones_bring_it_back() {
    let mut cluster = Cluster::empty();
    cluster.node(1, gpu_profile("n1", 1));
    let mut lead = Lead::over(cluster);
    assert_eq!(lead.hears(says(0, Some(5))), []);
    let told = lead.hears(says(1, None));
    assert_eq!(told.iter().map(|t| t.to).collect::<Vec<_>>(), [Some(DeviceState::Probation)]);
    assert_eq!(lead.hears(says(1, None)), [], "the log knows");
    assert_eq!(lead.hears(says(1, Some(59))), []);
    let told = lead.hears(says(1, Some(60)));
    assert_eq!(told.iter().map(|t| t.to).collect::<Vec<_>>(), [Some(DeviceState::Healthy)]);
    assert!(lead.cluster.state.nodes[&NodeId(1)].profile.devices[0].healthy);
    assert_eq!(lead.hears(says(1, Some(61))), []);
}

#[test]
fn a_programs_own_fault_is_told_seldom_and_condemns_nothing() {
    let mut cluster = Cluster::empty();
    cluster.node(1, gpu_profile("n1", 1));
    let mut lead = Lead::over(cluster);
    let noted = |notes| DeviceSign { notes, last_note: "XID 31".into(), ..says(0, Some(9)) };
    assert_eq!(lead.hears(noted(3)), [], "what an earlier leader had to tell");
    let told = lead.hears(noted(4));
    assert_eq!(told.iter().map(|t| t.to).collect::<Vec<_>>(), [None]);
    for notes in 5..50 {
        assert_eq!(lead.hears(noted(notes)), [], "a storm is told once a minute");
    }
    lead.now += 60_000;
    assert_eq!(lead.hears(noted(50)).len(), 1);
    assert!(lead.cluster.state.nodes[&NodeId(1)].devices.is_empty());
    assert_eq!(lead.cluster.state.events.iter().filter(|event| event.kind == "device.note").count(), 2);
}
