//! The reserve: held, used up by what may, and back afterwards.

use std::collections::BTreeSet;

use berth_core::{
    error::Code,
    id::{Generation, NodeId, SlotId},
    model::{Device, DrainBy, GpuAsk, NodeState, ReleaseCause, ReplicaState, ReserveSpend, SpendCause},
    reserve::{remedy, status, uncovered},
    state::{Command, DrainWish, Event, Observed, Plan, Reply, Step},
    time::Millis,
    units::Resources,
};

use crate::kit::{Cluster, INSTANCE, NODE, key, profile, reserved, spec};

/// A card: its model, its memory in MiB, and the profile where it is a slice.
type Card = (&'static str, u64, Option<&'static str>);

fn slots(cluster: &Cluster, name: &str) -> Vec<NodeId> {
    cluster.state.slots_of(&key(name)).map(|slot| slot.node).collect()
}

fn short(cluster: &Cluster, name: &str) -> bool {
    cluster.state.deployments[&key(name)].reserve_short_since.is_some()
}

fn events<'a>(cluster: &'a Cluster, kind: &str) -> Vec<&'a Event> {
    cluster.state.events.iter().filter(|event| event.kind == kind).collect()
}

fn spends(steps: &[Step]) -> Vec<String> {
    let spend = |step: &Step| match step {
        Step::Place { reserve_spent, .. } => reserve_spent.as_ref().map(|spend| spend.cause.to_string()),
        _ => None,
    };
    steps.iter().filter_map(spend).collect()
}

fn next_version(count: u32, version: &str) -> berth_core::model::DeploymentSpec {
    let mut next = reserved(count);
    next.environment_variables.insert("VERSION".to_owned(), version.to_owned());
    next
}

#[test]
fn a_fifth_is_held_away_from_what_it_covers() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.settle();
    let used: BTreeSet<_> = cluster.replicas("fraud/blue").iter().map(|replica| replica.node).collect();
    assert_eq!(slots(&cluster, "fraud/blue").len(), 1, "ceil(1.2 x 2) is three places");
    assert!(!used.contains(&slots(&cluster, "fraud/blue")[0]), "on the node without a replica");
    let slot = cluster.state.slots_of(&key("fraud/blue")).next().expect("one slot");
    assert_eq!(slot.reason, "away from all that it covers (2 of fraud/blue)");
    cluster.scale("fraud/blue", 6);
    cluster.settle();
    assert_eq!(slots(&cluster, "fraud/blue").len(), 2);
    cluster.scale("fraud/blue", 0);
    cluster.settle();
    assert!(cluster.state.slots.is_empty(), "nothing serves, nothing is held for it");
}

#[test]
fn exempt_sizes_hold_nothing() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(5));
    cluster.settle();
    assert!(cluster.state.slots.is_empty());
    cluster.deploy("fraud/blue", reserved(5));
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].generation, Generation(1), "no replica starts anew");
    cluster.settle();
    assert_eq!(slots(&cluster, "fraud/blue").len(), 1);
}

#[test]
fn racks_and_zones_are_kept_apart_too() {
    let mut cluster = Cluster::empty();
    for (id, zone, rack) in [(1, "a", "a1"), (2, "a", "a1"), (3, "a", "a2"), (4, "b", "b1")] {
        let mut profile = profile(&format!("n{id}"));
        profile.labels =
            [("zone", zone), ("rack", rack)].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        cluster.node(id, profile);
    }
    let mut one = reserved(1);
    one.constraints.insert("zone".to_owned(), "a".into());
    cluster.deploy("fraud/blue", one);
    cluster.settle();
    let rack = |node: NodeId| cluster.state.nodes[&node].profile.labels["rack"].clone();
    let replica = cluster.replicas("fraud/blue")[0].node;
    let slot = slots(&cluster, "fraud/blue")[0];
    assert_ne!(rack(replica), rack(slot), "the zone is asked for, the rack is not");
    let reason = &cluster.state.slots_of(&key("fraud/blue")).next().expect("one slot").reason;
    assert_eq!(reason, "same zone as 1 of 1 of fraud/blue: no node elsewhere fits");
}

#[test]
fn one_node_holds_both_says_so_and_parts_them_when_another_comes() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", reserved(1));
    cluster.settle();
    let slot = cluster.state.slots_of(&key("fraud/blue")).next().expect("one slot");
    assert_eq!(slot.reason, "same node as 1 of 1 of fraud/blue: no other node fits");
    cluster.node(2, profile("n2"));
    cluster.settle();
    assert_eq!(slots(&cluster, "fraud/blue"), [NodeId(2)], "it moved off the node it covers");
}

#[test]
fn a_short_reserve_serves_says_its_arithmetic_and_mends() {
    let mut cluster = Cluster::empty();
    cluster.node(1, berth_core::model::NodeProfile { capacity: NODE, ..profile("n1") });
    let four = Resources { cpu_milli: 2_000, ..INSTANCE };
    cluster.deploy("fraud/blue", berth_core::model::DeploymentSpec { resources: four, ..reserved(2) });
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2, "a missing reserve never blocks serving");
    assert!(short(&cluster, "fraud/blue"));
    let deployment = &cluster.state.deployments[&key("fraud/blue")];
    let told = "2 replicas + 1 reserve × 2 cores = 6, free 4; lower to 1 or add a node";
    let arithmetic = status(&cluster.state, deployment).arithmetic.expect("it is short");
    assert_eq!(arithmetic.to_string(), told);
    let entered = events(&cluster, "reserve.short");
    assert_eq!(entered.len(), 1, "said once");
    assert_eq!(entered[0].text, format!("fraud/blue is short of reserve: {told}"));
    cluster.node(2, profile("n2"));
    cluster.settle();
    assert!(!short(&cluster, "fraud/blue"));
    assert_eq!((slots(&cluster, "fraud/blue"), events(&cluster, "reserve.complete").len()), (vec![NodeId(2)], 1));
}

/// Each row: the cards of one node, what an instance asks of them, how many there should be, and what is told.
#[test]
fn the_arithmetic_of_devices_counts_pieces_and_kinds() {
    let share = |mib| GpuAsk::Memory { mib, model: None };
    let whole = |count, model: &str| GpuAsk::Whole { count, model: Some(model.to_owned()), memory_mib_min: 0 };
    let slice = GpuAsk::Mig { profile: "1g.10gb".to_owned(), count: 1 };
    let (h100, a100): (Card, Card) = (("H100", 16_384, None), ("A100", 16_384, None));
    let cut: Card = ("H100", 10_240, Some("1g.10gb"));
    for (cards, gpu, count, told) in [
        (
            vec![h100, h100],
            share(6_144),
            4,
            "4 replicas + 1 reserve × 6 GiB of GPU memory = 30 GiB, free 32 GiB in pieces of at most 16 GiB; lower to 3 or add a node",
        ),
        (vec![h100, a100], whole(1, "H100"), 1, "1 replica + 1 reserve × 1 GPU = 2, free 1; add a node"),
        (vec![h100, cut], whole(1, "H100"), 1, "1 replica + 1 reserve × 1 GPU = 2, free 1; add a node"),
        (vec![cut, cut, h100], slice, 2, "2 replicas + 1 reserve × 1 MIG slice = 3, free 2; lower to 1 or add a node"),
    ] {
        let mut cluster = Cluster::empty();
        let device = |(at, (model, memory_mib, profile)): (usize, &Card)| Device {
            uuid: format!("u{at}"),
            model: (*model).to_owned(),
            memory_mib: *memory_mib,
            mig_profile: profile.map(str::to_owned),
            healthy: true,
            ..Device::default()
        };
        let devices: Vec<_> = cards.iter().enumerate().map(device).collect();
        let gpus = devices.iter().filter(|device| device.mig_profile.is_none()).count() as u64;
        let capacity = Resources { gpus, cpu_milli: 64_000, memory_mib: 65_536, ..NODE };
        cluster.node(1, berth_core::model::NodeProfile { capacity, devices, ..profile("n1") });
        let mut spec = reserved(count);
        if let GpuAsk::Whole { count, .. } = &gpu {
            spec.resources.gpus = u64::from(*count);
        }
        spec.gpu = gpu;
        cluster.deploy("fraud/blue", spec);
        cluster.settle();
        assert_eq!(cluster.ready("fraud/blue"), count as usize, "{told}");
        let deployment = &cluster.state.deployments[&key("fraud/blue")];
        let arithmetic = status(&cluster.state, deployment).arithmetic.expect("it is short");
        assert_eq!(arithmetic.to_string(), told);
    }
}

#[test]
fn a_scale_up_does_not_touch_the_reserve() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", reserved(3));
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), slots(&cluster, "fraud/blue").len()), (3, 1), "the node is full");
    cluster.scale("fraud/blue", 4);
    let (steps, report) = cluster.plan();
    assert!(steps.iter().all(|step| !matches!(step, Step::Place { .. })), "{steps:?}");
    assert!(report.short.contains_key(&key("fraud/blue")));
    cluster.deploy("fraud/green", spec(1));
    let (steps, _) = cluster.plan();
    assert!(steps.iter().all(|step| !matches!(step, Step::Place { .. })), "nor does anybody else: {steps:?}");
}

#[test]
fn instances_come_before_slots_of_anybody() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", reserved(3));
    cluster.deploy("fraud/green", spec(1));
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), cluster.ready("fraud/green")), (3, 1));
    assert!(short(&cluster, "fraud/blue") && cluster.state.slots.is_empty());
}

#[test]
fn a_lost_replica_comes_back_from_the_reserve_which_is_then_restored() {
    let mut cluster = Cluster::of(4);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.settle();
    let (lost, slot) = (cluster.replicas("fraud/blue")[0].clone(), slots(&cluster, "fraud/blue")[0]);
    cluster.transition(lost.node.0, NodeState::Lost);
    let name = cluster.state.nodes[&lost.node].profile.name.clone();
    let (steps, _) = cluster.plan();
    assert_eq!(spends(&steps), [format!("recovery of {name}")]);
    cluster.settle();
    let spent = cluster.replicas("fraud/blue").into_iter().find(|replica| replica.reserve_spent.is_some());
    let spent = spent.expect("the record stays with the replica");
    assert_eq!((spent.node, spent.replaces), (slot, Some(lost.id)));
    assert_eq!((cluster.ready("fraud/blue"), slots(&cluster, "fraud/blue").len()), (2, 1), "restored elsewhere");
    assert!(!slots(&cluster, "fraud/blue").contains(&lost.node));
}

#[test]
fn losing_the_node_that_holds_the_reserve_moves_it() {
    let mut cluster = Cluster::of(4);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.settle();
    let holder = slots(&cluster, "fraud/blue")[0];
    cluster.transition(holder.0, NodeState::Lost);
    let (steps, _) = cluster.plan();
    let released = |step: &Step| matches!(step, Step::ReleaseSlot { cause: ReleaseCause::NodeUnfit, .. });
    assert!(steps.iter().any(released), "{steps:?}");
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), slots(&cluster, "fraud/blue").len()), (2, 1));
    assert_ne!(slots(&cluster, "fraud/blue")[0], holder);
}

#[test]
fn two_losses_with_a_reserve_for_one_leave_one_short_and_say_so() {
    let mut cluster = Cluster::empty();
    let small = Resources { cpu_milli: 1_000, ..NODE };
    for node in 1..=4 {
        let capacity = if node <= 3 { small } else { Resources { cpu_milli: 1_000, ..NODE } };
        cluster.node(node, berth_core::model::NodeProfile { capacity, ..profile(&format!("n{node}")) });
    }
    cluster.deploy("fraud/blue", reserved(3));
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), slots(&cluster, "fraud/blue").len()), (3, 1));
    let nodes: Vec<_> = cluster.replicas("fraud/blue").iter().map(|replica| replica.node.0).collect();
    cluster.transition(nodes[0], NodeState::Lost);
    cluster.transition(nodes[1], NodeState::Lost);
    let (steps, report) = cluster.plan();
    assert_eq!(spends(&steps).len(), 1, "one slot, one spend");
    assert!(report.short.contains_key(&key("fraud/blue")));
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 2);
    assert!(short(&cluster, "fraud/blue"));
}

#[test]
fn a_rolling_update_spends_the_reserve_and_gives_it_back_in_the_same_breath() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(10));
    cluster.deploy("fraud/green", spec(0));
    cluster.settle();
    assert_eq!(
        (cluster.replicas("fraud/blue").len(), slots(&cluster, "fraud/blue").len()),
        (10, 2),
        "the fleet is full"
    );
    cluster.deploy("fraud/blue", next_version(10, "2"));
    // Somebody waits for any place that comes free.
    cluster.scale("fraud/green", 3);
    let mut causes = BTreeSet::new();
    for _ in 0..200 {
        let (steps, _) = cluster.plan();
        causes.extend(spends(&steps));
        if !steps.is_empty() {
            cluster.commit(steps);
        }
        assert!(cluster.ready("fraud/blue") >= 10, "the promise");
        let places = cluster.replicas("fraud/blue").len() + slots(&cluster, "fraud/blue").len();
        assert_eq!(places, 12, "never more and never fewer than ceil(1.2 x 10)");
        cluster.nodes_act();
    }
    assert_eq!(causes, BTreeSet::from(["rolling update to generation 2".to_owned()]));
    assert!(cluster.replicas("fraud/blue").iter().all(|replica| replica.generation == Generation(2)));
    assert_eq!((cluster.ready("fraud/blue"), slots(&cluster, "fraud/blue").len()), (10, 2));
    assert!(cluster.replicas("fraud/green").is_empty(), "nobody else got in between");
}

#[test]
fn a_broken_generation_gives_its_place_back_to_the_reserve() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", reserved(3));
    cluster.settle();
    cluster.deploy("fraud/blue", next_version(3, "broken"));
    let (steps, _) = cluster.plan();
    assert_eq!(spends(&steps), ["rolling update to generation 2"]);
    cluster.commit(steps);
    assert!(cluster.state.slots.is_empty());
    let placed = cluster.in_state("fraud/blue", ReplicaState::Placed)[0];
    cluster.report(placed, Observed::Failed);
    cluster.report(placed, Observed::Gone);
    assert_eq!((cluster.ready("fraud/blue"), slots(&cluster, "fraud/blue").len()), (3, 1), "back before the next try");
    assert!(cluster.plan().0.is_empty(), "the back-off holds");
}

#[test]
fn a_larger_generation_gives_up_slots_that_no_longer_fit() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.settle();
    let large = Resources { cpu_milli: 2_000, ..INSTANCE };
    cluster.deploy("fraud/blue", berth_core::model::DeploymentSpec { resources: large, ..reserved(2) });
    let (steps, _) = cluster.plan();
    let released = |step: &Step| matches!(step, Step::ReleaseSlot { cause: ReleaseCause::OtherSize, .. });
    assert!(steps.iter().any(released), "{steps:?}");
    cluster.settle();
    assert_eq!((cluster.ready("fraud/blue"), slots(&cluster, "fraud/blue").len()), (2, 1));
    assert!(cluster.state.slots.values().all(|slot| slot.resources == large));
}

/// Each row: what is asked for, what the next generation asks for, and whether the slot is of use to it.
#[test]
fn a_slot_on_devices_is_held_as_long_as_an_instance_asks_for_them() {
    let whole = |memory_mib_min| GpuAsk::Whole { count: 1, model: Some("H100".to_owned()), memory_mib_min };
    let any = || GpuAsk::Whole { count: 1, model: None, memory_mib_min: 0 };
    let share = |mib| GpuAsk::Memory { mib, model: None };
    let slice = |profile: &str| GpuAsk::Mig { profile: profile.to_owned(), count: 1 };
    for (asked, next, is_of_use, why) in [
        (whole(0), any(), true, "any device is one"),
        (any(), GpuAsk::Whole { count: 1, model: Some("A100".to_owned()), memory_mib_min: 0 }, false, "another model"),
        (whole(0), whole(16_384), true, "it has that much memory"),
        (whole(0), whole(20_000), false, "it has less memory"),
        (share(4_096), share(4_096), true, "the same share"),
        (share(4_096), share(2_048), false, "another share"),
        (slice("1g.10gb"), slice("1g.10gb"), true, "the same slice"),
        (slice("1g.10gb"), slice("2g.20gb"), false, "another slice"),
        (slice("1g.10gb"), GpuAsk::None, false, "no device any more"),
    ] {
        let mut cluster = Cluster::empty();
        let device = |(at, profile): (usize, Option<&str>)| Device {
            uuid: format!("u{at}"),
            model: "H100".to_owned(),
            memory_mib: 16_384,
            mig_profile: profile.map(str::to_owned),
            healthy: true,
            ..Device::default()
        };
        let cards = [None, None, Some("1g.10gb"), Some("1g.10gb"), Some("2g.20gb"), Some("2g.20gb")];
        let devices: Vec<_> = cards.into_iter().enumerate().map(device).collect();
        let capacity = Resources { gpus: 2, cpu_milli: 64_000, memory_mib: 65_536, ..NODE };
        cluster.node(1, berth_core::model::NodeProfile { capacity, devices, ..profile("n1") });
        let with = |gpu: &GpuAsk| {
            let mut spec = reserved(1);
            spec.resources.gpus = u64::from(matches!(gpu, GpuAsk::Whole { .. }));
            spec.gpu = gpu.clone();
            spec
        };
        cluster.deploy("fraud/blue", with(&asked));
        cluster.settle();
        let held: BTreeSet<_> = cluster.state.slots.keys().copied().collect();
        assert_eq!(held.len(), 1, "{why}");
        cluster.deploy("fraud/blue", with(&next));
        let (steps, _) = cluster.plan();
        let releases = |step: &Step| matches!(step, Step::ReleaseSlot { cause: ReleaseCause::OtherSize, .. });
        assert_eq!(steps.iter().any(releases), !is_of_use, "{why}: {steps:?}");
        cluster.commit(steps);
    }
}

#[test]
fn a_drain_spends_the_reserve() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.settle();
    let node = cluster.replicas("fraud/blue")[0].node;
    let name = cluster.state.nodes[&node].profile.name.clone();
    let upgrade = format!("agent upgrade of {name}");
    for (by, told) in [
        (DrainBy::Operator, format!("drain of {name}")),
        (DrainBy::Agent, upgrade.clone()),
        (DrainBy::Upgrade, upgrade),
    ] {
        let mut cluster = Cluster::of(3);
        cluster.deploy("fraud/blue", reserved(2));
        cluster.settle();
        let within = Millis::from_secs(60);
        let wish = DrainWish { within, reason: "kernel".to_owned(), force: false, by };
        cluster.must(Command::NodeDrain { name: name.clone(), wish: Some(wish) });
        let (steps, _) = cluster.plan();
        assert_eq!(spends(&steps), [told]);
        cluster.settle();
        assert_eq!(cluster.ready("fraud/blue"), 2);
        assert!(cluster.replicas("fraud/blue").iter().all(|replica| replica.node != node), "the node is empty");
        assert_eq!(slots(&cluster, "fraud/blue").len(), 1, "held beside another now");
    }
}

/// Each row: what a step claims, and whether the state believes it.
#[test]
fn a_slot_goes_only_to_what_it_is_for() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.deploy("fraud/green", spec(1));
    cluster.settle();
    let slot = cluster.state.slots.values().next().expect("one slot").clone();
    let replica = cluster.replicas("fraud/blue")[0].clone();
    let name = cluster.state.nodes[&replica.node].profile.name.clone();
    let generation = Generation(1);
    let place = |key: &str, node: NodeId, slot: SlotId, cause: SpendCause, replaces| Step::Place {
        replica: berth_core::id::ReplicaId(77),
        key: crate::kit::key(key),
        generation,
        node,
        devices: Vec::new(),
        replaces,
        reserve_spent: Some(ReserveSpend { slot, cause }),
        reason: "test".to_owned(),
    };
    let recovery = || SpendCause::Recovery { node: name.clone() };
    let drain = || SpendCause::Drain { node: name.clone() };
    let rolling = SpendCause::RollingUpdate { generation };
    let other = cluster.state.nodes.keys().copied().find(|node| *node != slot.node).expect("another node");
    for (step, why) in [
        (place("fraud/blue", slot.node, slot.id, rolling, None), "no older generation runs"),
        (place("fraud/blue", slot.node, slot.id, recovery(), Some(replica.id)), "its node is not lost"),
        (place("fraud/blue", slot.node, slot.id, recovery(), None), "nothing is named"),
        (place("fraud/blue", slot.node, slot.id, drain(), Some(replica.id)), "nobody empties its node"),
        (place("fraud/green", slot.node, slot.id, recovery(), None), "it is another's"),
        (place("fraud/blue", other, slot.id, recovery(), None), "it is on another node"),
        (place("fraud/blue", slot.node, SlotId(5), recovery(), None), "there is no such slot"),
    ] {
        assert!(!is_taken(&mut cluster, step), "{why}");
        assert!(cluster.state.slots.contains_key(&slot.id), "{why}");
    }
}

/// Applies a plan of one step and returns whether it was taken.
fn is_taken(cluster: &mut Cluster, step: Step) -> bool {
    let plan = Plan { term: cluster.state.term, based_on: cluster.state.applied, part: 0, parts: 1, steps: vec![step] };
    let Reply::Planned { outcomes } = cluster.apply(Command::PlanCommit(plan)) else { panic!("a plan") };
    outcomes[0].is_ok()
}

/// Each row: what befell a node, and the one cause for which a slot then goes.
#[test]
fn a_slot_goes_for_the_one_cause_there_is() {
    type Befalls = fn(&mut Cluster, NodeId);
    fn wish(cluster: &mut Cluster, node: NodeId, by: DrainBy) {
        let wish = DrainWish { within: Millis::from_secs(60), reason: String::new(), force: false, by };
        cluster.wish(node.0, Some(wish));
    }
    let rows: [(Befalls, usize, &str); 6] = [
        (|cluster, node| cluster.transition(node.0, NodeState::Lost), 0, "it is lost"),
        (|cluster, node| wish(cluster, node, DrainBy::Operator), 1, "an operator empties it"),
        (|cluster, node| wish(cluster, node, DrainBy::Upgrade), 2, "its agent is upgraded"),
        (|cluster, node| wish(cluster, node, DrainBy::Agent), 2, "its agent ends"),
        (
            |cluster, node| {
                wish(cluster, node, DrainBy::Upgrade);
                cluster.transition(node.0, NodeState::Lost);
            },
            0,
            "it was to be emptied, and is lost",
        ),
        (
            |cluster, _| {
                cluster.deploy("fraud/blue", next_version(2, "next"));
            },
            3,
            "a new generation takes over",
        ),
    ];
    for (befalls, rightly, why) in rows {
        for said in 0..4 {
            let mut cluster = Cluster::of(3);
            cluster.deploy("fraud/blue", reserved(2));
            cluster.settle();
            let slot = cluster.state.slots.values().next().expect("one slot").clone();
            let replaced = cluster.replicas("fraud/blue")[0].clone();
            befalls(&mut cluster, replaced.node);
            let node = cluster.state.nodes[&replaced.node].profile.name.clone();
            let generation = cluster.state.deployments[&key("fraud/blue")].generation;
            let cause = match said {
                0 => SpendCause::Recovery { node },
                1 => SpendCause::Drain { node },
                2 => SpendCause::AgentUpgrade { node },
                _ => SpendCause::RollingUpdate { generation },
            };
            let replaces = (said < 3).then_some(replaced.id);
            let step = Step::Place {
                replica: berth_core::id::ReplicaId(77),
                key: key("fraud/blue"),
                generation,
                node: slot.node,
                devices: Vec::new(),
                replaces,
                reserve_spent: Some(ReserveSpend { slot: slot.id, cause: cause.clone() }),
                reason: "test".to_owned(),
            };
            assert_eq!(is_taken(&mut cluster, step), said == rightly, "{why}: {cause}");
        }
    }
}

/// A stand-in that is lost like the one it stands in for keeps nobody from the reserve, whichever of them comes first.
#[test]
fn whoever_is_lost_twice_comes_from_the_reserve_twice() {
    for entries in 0..8 {
        let mut cluster = Cluster::of(4);
        cluster.deploy("fraud/blue", reserved(1));
        // The ids of replicas follow from the entry they are planned at.
        (0..entries).for_each(|nth| cluster.scale("fraud/blue", 1 + nth % 2));
        cluster.scale("fraud/blue", 1);
        cluster.settle();
        for _ in 0..2 {
            let home = cluster.replicas("fraud/blue").iter().find(|it| it.is_ready()).expect("one serves").node;
            cluster.transition(home.0, NodeState::Lost);
            let (steps, _) = cluster.plan();
            assert_eq!(spends(&steps).len(), 1, "{entries}: {steps:?}");
            cluster.commit(steps);
            let placed = cluster.replicas("fraud/blue").iter().filter(|it| !it.lost).count();
            assert_eq!(placed, 1, "{entries}: the slot goes");
            cluster.settle();
            assert_eq!(cluster.ready("fraud/blue"), 1, "{entries}");
        }
    }
}

#[test]
fn what_a_host_no_longer_has_comes_from_the_reserve() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(9));
    cluster.settle();
    assert_eq!(slots(&cluster, "fraud/blue").len(), 2);
    let mut less = profile("n2");
    less.capacity.cpu_milli = INSTANCE.cpu_milli;
    cluster.node(2, less);
    let mut spent = Vec::new();
    for _ in 0..60 {
        let (steps, _) = cluster.plan();
        spent.extend(spends(&steps));
        cluster.commit(steps);
        cluster.nodes_act();
    }
    cluster.settle();
    assert!(!spent.is_empty() && spent.iter().all(|cause| cause == "recovery of n2"), "{spent:?}");
    assert_eq!((cluster.ready("fraud/blue"), cluster.state.nodes[&NodeId(2)].overfull), (9, false));
    assert!(short(&cluster, "fraud/blue"), "nine places are left for eleven, and it says so");
}

/// Each row: the cause a plan gives, and why the state no longer believes it. The last plan meets what it was made for.
#[test]
fn a_slot_is_given_back_only_for_a_cause_that_still_holds() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.settle();
    let slot = cluster.state.slots.values().next().expect("one slot").clone();
    let release = |cluster: &mut Cluster, cause: &ReleaseCause| {
        let steps = vec![Step::ReleaseSlot { slot: slot.id, cause: cause.clone() }];
        let (term, based_on) = (cluster.state.term, cluster.state.applied);
        let plan = Plan { term, based_on, part: 0, parts: 1, steps };
        let Reply::Planned { outcomes } = cluster.apply(Command::PlanCommit(plan)) else { panic!("a plan") };
        outcomes[0].as_ref().err().map(|error| error.code)
    };
    for (cause, why) in [
        (ReleaseCause::NodeUnfit, "its node was lost when the plan was made, and is back"),
        (ReleaseCause::NotNeeded, "the deployment was smaller, and is not any more"),
        (ReleaseCause::OtherSize, "the size changed, and changed back"),
        (ReleaseCause::Moved, "the replica beside it is gone"),
        (ReleaseCause::Yielded { to: key("fraud/none") }, "whoever needed it is deleted"),
    ] {
        assert_eq!(release(&mut cluster, &cause), Some(Code::Stale), "{why}");
        assert!(cluster.state.slots.contains_key(&slot.id), "{why}");
    }
    cluster.transition(slot.node.0, NodeState::Lost);
    assert_eq!(release(&mut cluster, &ReleaseCause::NodeUnfit), None);
    assert!(cluster.state.slots.is_empty());
}

#[test]
fn a_deleted_deployment_and_a_forgotten_node_leave_no_slot() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", reserved(2));
    cluster.deploy("fraud/green", reserved(2));
    cluster.settle();
    cluster.must(Command::DeploymentDelete { key: key("fraud/blue"), if_revision: None });
    assert!(slots(&cluster, "fraud/blue").is_empty(), "at once");
    cluster.settle();
    let holder = slots(&cluster, "fraud/green")[0];
    cluster.transition(holder.0, NodeState::Lost);
    let name = cluster.state.nodes[&holder].profile.name.clone();
    cluster.must(Command::NodeForget { name });
    assert!(slots(&cluster, "fraud/green").is_empty());
}

/// Each row: nodes, instances, how many nodes' loss does not fit, and a word of what would help.
#[test]
fn a_single_loss_fits_or_the_node_is_named() {
    for (nodes, instances, reserve, uncovered_nodes, way, why) in [
        (3, 2, true, 0, None, "one replica each, the slot on the third"),
        (2, 2, true, 1, Some("join-command"), "the slot beside a replica covers the other one only"),
        (1, 1, true, 1, Some("join-command"), "nothing is elsewhere"),
        (3, 3, false, 3, None, "an exempt size holds nothing"),
        (4, 0, true, 0, None, "nothing to lose"),
        (2, 4, true, 2, Some("max_per_domain: 1}"), "two on each and a slot for one"),
        (2, 12, true, 2, Some("max_per_domain: 3}"), "six on each and slots for three"),
    ] {
        let mut cluster = Cluster::of(nodes);
        cluster.deploy("fraud/blue", if reserve { reserved(instances) } else { spec(instances) });
        cluster.settle();
        let found = uncovered(&cluster.state);
        assert_eq!(found.len(), uncovered_nodes, "{why}: {found:?}");
        assert!(found.iter().all(|loss| loss.lost > loss.slots), "{why}");
        let wanted = cluster.state.deployments.values().map(berth_core::model::Deployment::reserve).sum();
        let said = remedy(&found, wanted);
        assert_eq!(said.is_some(), way.is_some(), "{why}: {said:?}");
        assert!(said.as_deref().unwrap_or_default().contains(way.unwrap_or_default()), "{why}: {said:?}");
    }
}
