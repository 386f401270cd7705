//! The scheduler's rule in its plainest form: score every node, take the best, score every node again. What the rooms
//! and the walk find must be the same, node by node and device by device.

use std::collections::BTreeMap;

use super::{
    Ask, Fleet, NodeScore, Placement,
    preempt::{Budget, Reach, Yielders},
    reserve::beside,
    score::leftover_permille,
};
use crate::{
    id::{Digest, Generation, LogIndex, NodeEpoch, NodeId, ReplicaId, SlotId},
    model::{
        AssetKind, AssetRef, Deployment, DeploymentKey, DeploymentSpec, Device, DeviceGrant, GpuAsk, LabelRule, Model,
        ModelType, Node, NodeProfile, NodeState, Replica, ReplicaState, ReserveSlot, Runtime, Spread, SpreadBy,
    },
    rng::{Rng, SeedTree},
    state::{ClusterState, rooms::Stand},
    time::LogTime,
    units::Resources,
};

/// Fleets compared.
const FLEETS: u64 = 400;

/// A profile of MIG slices.
const SLICE: &str = "1g.10gb";

/// Places instances the plain way.
fn place(fleet: &mut Fleet<'_>, ask: &Ask<'_>, count: u64, seed: u64) -> Vec<Placement> {
    let on_node = fleet.instances(ask);
    place_beside(fleet, ask, count, seed, on_node)
}

/// The same, away from what is on the nodes already.
fn place_beside(
    fleet: &mut Fleet<'_>,
    ask: &Ask<'_>,
    count: u64,
    seed: u64,
    mut on_node: BTreeMap<NodeId, u32>,
) -> Vec<Placement> {
    // What asks for another spread is listed anyway; it is here for what it leaves to the others.
    if ask.spread != Spread::default() {
        return fleet.place_beside(ask, count, seed, on_node);
    }
    let with_model = fleet.nodes_with_model(ask, count);
    let mut placed = Vec::new();
    while (placed.len() as u64) < count {
        let stand = |id: &NodeId| fleet.state.nodes.get(id).map(Stand::of);
        let (mut zones, mut racks) = (BTreeMap::<u64, u32>::new(), BTreeMap::<(u64, u64), u32>::new());
        for (node, count) in &on_node {
            let Some(Stand { zone, rack, .. }) = stand(node) else { continue };
            *zones.entry(zone).or_default() += count;
            *racks.entry((zone, rack)).or_default() += count;
        }
        let mut best: Option<(NodeScore, Vec<DeviceGrant>)> = None;
        for id in fleet.state.nodes.keys() {
            let Some(slot) = fleet.slots.get(id) else { continue };
            let Some((stranded, devices)) = fleet.expected.best(&slot, ask) else { continue };
            let leftover_permille = leftover_permille(&slot.node.profile.capacity, &slot.free, &ask.resources);
            let Stand { zone, rack, ring, node } = Stand::of(slot.node);
            let score = NodeScore {
                on_node: on_node.get(id).copied().unwrap_or(0),
                in_zone: zones.get(&zone).copied().unwrap_or(0),
                in_rack: racks.get(&(zone, rack)).copied().unwrap_or(0),
                stranded,
                fetches_model: !with_model.contains(id),
                leftover_permille,
                rack_tie: rack.wrapping_sub(seed),
                tie: ring.wrapping_sub(seed),
                node,
            };
            if best.as_ref().is_none_or(|(least, _)| score < *least) {
                best = Some((score, devices));
            }
        }
        let Some((score, devices)) = best else { break };
        fleet.take(score.node, ask, &devices);
        *on_node.entry(score.node).or_default() += 1;
        placed.push(Placement { node: score.node, devices });
    }
    placed
}

fn device(uuid: String, model: &str, rng: &mut Rng) -> Device {
    Device { uuid, model: model.to_owned(), memory_mib: 24_000, healthy: !rng.chance(50), ..Device::default() }
}

fn node(id: u64, zones: u64, racks: u64, rng: &mut Rng) -> Node {
    let mut labels = BTreeMap::new();
    for (name, kinds) in [("zone", zones), ("rack", racks), ("kind", 3)] {
        if kinds > 0 {
            labels.insert(name.to_owned(), format!("{name}{}", rng.below(kinds)));
        }
    }
    let gpus = rng.below(4);
    let model = if rng.chance(500) { "A10" } else { "H100" };
    let mut devices: Vec<_> = (0..gpus).map(|nth| device(format!("{id}-{nth}"), model, rng)).collect();
    for device in &mut devices {
        if rng.chance(200) {
            (device.mig_profile, device.memory_mib) = (Some(SLICE.to_owned()), 10_000);
        }
    }
    let size = 4 + 4 * rng.below(3);
    let profile = NodeProfile {
        name: format!("n{id}").parse().expect("a name"),
        labels,
        capacity: Resources { cpu_milli: size * 1_000, memory_mib: size * 1_024, disk_mib: 0, gpus },
        devices,
        gate_address: String::new(),
        ingress_address: String::new(),
        is_virtual: false,
        version: String::new(),
    };
    Node {
        id: NodeId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        epoch: NodeEpoch(1),
        profile,
        state: if rng.chance(50) { NodeState::Suspect } else { NodeState::Ready },
        cordoned: rng.chance(50),
        drain: None,
        overfull: false,
        returns: 0,
        returned_at: LogTime::default(),
        devices: BTreeMap::new(),
        reason: String::new(),
        since: LogTime::default(),
        revision: LogIndex(0),
    }
}

fn spec(rng: &mut Rng) -> DeploymentSpec {
    let mut spec = DeploymentSpec::new(Runtime::Command(vec!["serve".to_owned()]));
    spec.instance_count = rng.below(12) as u32;
    spec.resources = Resources { cpu_milli: 500 + 500 * rng.below(4), memory_mib: 512, disk_mib: 0, gpus: 0 };
    match rng.below(6) {
        0 | 1 => spec.gpu = GpuAsk::Memory { mib: 4_000 * (1 + rng.below(4)), model: None },
        2 => spec.gpu = GpuAsk::Mig { profile: SLICE.to_owned(), count: 1 + rng.below(2) as u32 },
        3 => {
            let count = 1 + rng.below(2);
            spec.resources.gpus = count;
            spec.gpu = GpuAsk::Whole { count: count as u32, model: Some("A10".to_owned()), memory_mib_min: 0 };
        }
        _ => {}
    }
    if rng.chance(300) {
        let kinds: Vec<_> = (0..1 + rng.below(3)).map(|_| format!("kind{}", rng.below(3))).collect();
        let rule = match rng.below(4) {
            0 => LabelRule::none_of(kinds),
            1 => LabelRule::exists(rng.chance(500)),
            _ => LabelRule::one_of(kinds),
        };
        spec.constraints.insert("kind".to_owned(), rule);
    }
    if rng.chance(500) {
        let digest = Digest([rng.below(3) as u8; 32]);
        let asset = AssetRef { digest, kind: AssetKind::File, name: "m.onnx".into(), size_bytes: 1 };
        spec.model = Some(Model { name: "m".into(), version: "1".into(), model_type: ModelType::CustomModel, asset });
    }
    if rng.chance(100) {
        let by = *rng.pick(&[SpreadBy::Node, SpreadBy::Rack, SpreadBy::Zone]).expect("some");
        spec.spread = Spread { by, max_per_domain: rng.chance(500).then_some(2) };
    }
    spec
}

fn deployment(key: &DeploymentKey, spec: DeploymentSpec) -> Deployment {
    Deployment {
        key: key.clone(),
        spec,
        generation: Generation(1),
        old_specs: BTreeMap::new(),
        old_began: BTreeMap::new(),
        paused: false,
        created_at: LogTime::default(),
        generation_at: LogTime::default(),
        deleting: false,
        failures: 0,
        last_failure: None,
        last_failed: None,
        retry_at: LogTime::default(),
        served_generation: None,
        started_in: None,
        room_made_for: None,
        stand_in_failures: 0,
        stand_in_retry_at: LogTime::default(),
        reserve_short_since: None,
        yielded: Default::default(),
        revision: LogIndex(0),
    }
}

fn replica(id: u64, key: &DeploymentKey, resources: Resources, place: Placement) -> Replica {
    Replica {
        id: ReplicaId(id),
        key: key.clone(),
        generation: Generation(1),
        node: place.node,
        resources,
        devices: place.devices,
        replaces: None,
        reserve_spent: None,
        made_room_for: None,
        state: ReplicaState::Serving,
        reason: String::new(),
        lost: false,
        restarts: 0,
        retry_at: LogTime::default(),
        pid: 0,
        address: String::new(),
        placed_at: LogTime::default(),
        since: LogTime::default(),
        drain_deadline: LogTime::default(),
        revision: LogIndex(0),
    }
}

/// A fleet of some shape, with some of it taken.
fn fleet(rng: &mut Rng) -> (ClusterState, Vec<DeploymentKey>) {
    let mut state = ClusterState::new();
    let (nodes, zones, racks) = (1 + rng.below(60), rng.below(4), rng.below(8));
    for id in 1..=nodes {
        let node = node(id, zones, racks, rng);
        state.nodes.insert(node.id, node);
    }
    let keys: Vec<DeploymentKey> = (0..8).map(|nth| format!("some-{nth}/blue").parse().expect("a key")).collect();
    for key in &keys {
        state.deployments.insert(key.clone(), deployment(key, spec(rng)));
    }
    state.reindex();
    let mut next = 1;
    for key in &keys[..4] {
        let ask = Ask::of(&state.deployments[key]);
        let placed = place(&mut Fleet::of(&state), &ask, rng.below(10), 5);
        let resources = ask.resources;
        for place in placed {
            state.replicas.insert(ReplicaId(next), replica(next, key, resources, place));
            next += 1;
        }
        state.reindex();
    }
    (state, keys)
}

/// The walked fleet and the plain one, with what happened to both.
struct Pair<'a> {
    state: &'a ClusterState,
    walked: Fleet<'a>,
    plain: Fleet<'a>,
    placed: Vec<(DeploymentKey, Placement)>,
    held: Vec<ReserveSlot>,
    /// Instances that found their model on their node.
    local: usize,
}

// === impl Pair ===

impl<'a> Pair<'a> {
    fn of(state: &'a ClusterState) -> Self {
        let (walked, plain) = (Fleet::of(state), Fleet::of(state));
        Self { state, walked, plain, placed: Vec::new(), held: Vec::new(), local: 0 }
    }

    fn ask(&self, key: &DeploymentKey) -> Ask<'a> {
        Ask::of(&self.state.deployments[key])
    }

    /// Places replicas, as a plan does.
    fn place(&mut self, key: &DeploymentKey, count: u64, seed: u64) {
        let ask = self.ask(key);
        let with_model = self.walked.nodes_with_model(&ask, count);
        let found = self.walked.place(&ask, count, seed);
        self.local += found.iter().filter(|place| with_model.contains(&place.node)).count();
        assert_eq!(found, place(&mut self.plain, &ask, count, seed), "{ask:?}");
        self.placed.extend(found.into_iter().map(|place| (key.clone(), place)));
    }

    /// Holds places for the reserve, away from replicas and slots.
    fn hold(&mut self, key: &DeploymentKey, count: u64, seed: u64) {
        let ask = self.ask(key);
        let (mut covered, mut slots) = (self.walked.instances(&ask), BTreeMap::new());
        for (_, place) in self.placed.iter().filter(|(of, _)| of == key) {
            *covered.entry(place.node).or_default() += 1;
        }
        for held in self.held.iter().filter(|held| held.key == *key) {
            *slots.entry(held.node).or_default() += 1;
        }
        let found = self.walked.hold(&ask, count, seed, &covered, &slots);
        let spread = Spread { max_per_domain: None, ..ask.spread };
        let open = Ask { spread, ..ask.clone() };
        assert_eq!(found, place_beside(&mut self.plain, &open, count, seed, beside(&covered, &slots)), "{ask:?}");
        for Placement { node, devices } in found {
            let (id, resources) = (SlotId(self.held.len() as u64), ask.resources);
            let (since, revision) = (LogTime::default(), LogIndex(0));
            let (key, reason) = (key.clone(), String::new());
            self.held.push(ReserveSlot { id, key, node, resources, devices, reason, since, revision });
        }
    }

    /// Uses a slot up for an instance.
    fn spend(&mut self, key: &DeploymentKey) {
        let ask = self.ask(key);
        let slots: Vec<_> = self.held.iter().filter(|held| held.key == *key).collect();
        let on_node = self.walked.instances(&ask);
        let found = self.walked.spend(&ask, &slots, &on_node);
        assert_eq!(found, self.plain.spend(&ask, &slots, &on_node), "{ask:?}");
        let Some((id, place)) = found else { return };
        self.held.retain(|held| held.id != id);
        self.placed.push((key.clone(), place));
    }

    /// Gives up a slot or a place.
    fn give_up(&mut self, rng: &mut Rng) {
        if rng.chance(500) && !self.held.is_empty() {
            let held = self.held.swap_remove(rng.below(self.held.len() as u64) as usize);
            self.walked.give_back(&held);
            self.plain.give_back(&held);
        } else if !self.placed.is_empty() {
            let (key, place) = self.placed.swap_remove(rng.below(self.placed.len() as u64) as usize);
            let ask = self.ask(&key);
            self.walked.untake(&ask, &place);
            self.plain.untake(&ask, &place);
        }
    }

    /// Takes the place of what is less important.
    fn preempt(&mut self, key: &DeploymentKey) {
        let ask = self.ask(key);
        let mut yielders = Yielders::default();
        for deployment in self.state.deployments.values().filter(|deployment| deployment.key != *key) {
            let budget = Budget { priority: 50, replicas: 3, ready: Some(3), slots: 0 };
            yielders.add(budget, self.state.replicas_of(&deployment.key), []);
        }
        let found = yielders.room(&self.walked, &ask, 150, Reach::Replicas);
        let other = yielders.room(&self.plain, &ask, 150, Reach::Replicas);
        assert_eq!(format!("{found:?}"), format!("{other:?}"), "{ask:?}");
    }
}

#[test]
fn the_walk_finds_what_the_plain_rule_finds() {
    let mut done = [0; 5];
    for nth in 0..FLEETS {
        let mut rng = SeedTree::new(nth).rng();
        let (state, keys) = fleet(&mut rng);
        let mut pair = Pair::of(&state);
        // One after the other on one fleet, so that later ones meet what earlier ones changed.
        for round in 0..24 {
            let key = rng.pick(&keys).expect("a key");
            let (count, seed) = (rng.below(if round == 0 { 200 } else { 20 }), rng.next_u64());
            let seed = if rng.chance(100) { 0 } else { seed };
            match rng.below(10) {
                0..5 => pair.place(key, count, seed),
                5..7 => pair.hold(key, count / 4, seed),
                7 => pair.spend(key),
                8 => pair.preempt(key),
                _ => (0..count).for_each(|_| pair.give_up(&mut rng)),
            }
        }
        let shared =
            |place: &&(DeploymentKey, Placement)| place.1.devices.iter().any(|grant| grant.memory_mib.is_some());
        let mig =
            |place: &&(DeploymentKey, Placement)| matches!(state.deployments[&place.0].spec.gpu, GpuAsk::Mig { .. });
        done[0] += pair.placed.len();
        done[1] += pair.held.len();
        done[2] += pair.placed.iter().filter(shared).count();
        done[3] += pair.placed.iter().filter(mig).count();
        done[4] += pair.local;
    }
    let [placed, held, shares, slices, local] = done;
    let is_used = placed > 10_000 && held > 1_000 && shares > 500 && slices > 100 && local > 500;
    assert!(is_used, "the fleets were hardly used: {done:?}");
}

#[test]
fn a_node_in_a_room_it_is_not_is_found() {
    let mut rng = SeedTree::new(1).rng();
    let (mut state, _) = fleet(&mut rng);
    let finds = |state: &ClusterState| crate::invariant::check(state).iter().any(|found| found.id == "IX01");
    assert!(!finds(&state));
    let node = state.nodes.values_mut().find(|node| !node.cordoned).expect("a node");
    node.cordoned = true;
    assert!(finds(&state), "it takes nothing new, and its room says that it does");
    state.reindex();
    assert!(!finds(&state));
}
