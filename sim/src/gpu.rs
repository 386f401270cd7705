//! GPUs of simulated hosts: what their driver tells, what breaks about them, and the judge of what becomes of it.
//!
//! What a node makes of what it sees is the product's own `CardWatch`, and what a leader makes of that is its
//! `Controller`; only the driver is pretended. A card that is lost takes the processes on it along, and whatever is
//! started there dies; a card with memory errors goes on working and is emptied all the same; an application's own fault
//! ends that application's process and must condemn nothing.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::{
    health::{CardWatch, DeviceSign, DriverAnswer, XidClass, xid_class},
    id::NodeId,
    model::{Device, DeviceGrant, GpuAsk},
    rng::Rng,
    state::{Command, DeviceTransition, Entry},
    time::Instant,
};

use crate::{
    Bug,
    action::Action,
    event::Event,
    workload::{deployment_put, endpoint_put},
    world::World,
};

/// The XID of a card that fell off the bus.
pub(crate) const OFF_THE_BUS: u32 = 79;
/// The XID of memory errors that could not be corrected: the card answers on.
const MEMORY_ERRORS: u32 = 48;
/// XIDs that programs cause.
const BY_PROGRAMS: [u32; 3] = [13, 31, 43];
/// Milliseconds in which a process notices that its card is gone, or that the driver ended what it did there.
const PROCESS_DIES_MS: u64 = 20;
/// Memory of a card, in MiB.
const CARD_MIB: u64 = 80 << 10;
/// Memory of half a card, in MiB, and its profile.
const SLICE: (u64, &str) = (40 << 10, "3g.40gb");
/// The endpoint whose deployments ask for GPUs.
const ENDPOINT: &str = "vision";

/// The GPUs of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gpus {
    /// Everything that can be given to replicas, broken or not.
    devices: Vec<Device>,
    watches: BTreeMap<String, CardWatch>,
    /// Cards whose driver has lost them.
    lost: BTreeSet<String>,
    /// Whether the driver answers nothing.
    pub(crate) hangs: bool,
    /// Cards that ever had a fault of their own.
    had_fault: BTreeSet<String>,
}

/// How many cards a host has, and whether its last one is cut in two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) cards: usize,
    pub(crate) sliced: bool,
}

// === impl Gpus ===

impl Gpus {
    pub(crate) fn of(host: &str, layout: Layout) -> Self {
        let device = |uuid: String, memory_mib| Device {
            uuid,
            model: "NVIDIA H100 80GB HBM3".to_owned(),
            memory_mib,
            healthy: true,
            simulated: true,
            driver: "550.54".to_owned(),
            ..Device::default()
        };
        let mut devices = Vec::new();
        for at in 0..layout.cards {
            let card = format!("GPU-{host}-{at}");
            if !layout.sliced || at + 1 < layout.cards {
                devices.push(device(card, CARD_MIB));
                continue;
            }
            devices.extend((0..2).map(|slice| Device {
                mig_profile: Some(SLICE.1.to_owned()),
                card: Some(card.clone()),
                ..device(format!("MIG-{host}-{at}-{slice}"), SLICE.0)
            }));
        }
        Self { devices, ..Self::default() }
    }

    /// Begins to watch anew, as an agent does that starts: what the host had is expected.
    pub(crate) fn begin(&mut self, had: &[Device], now: Instant) {
        let expected = had.iter().map(|device| (device.card().to_owned(), CardWatch::expected(now)));
        self.watches = expected.collect();
    }

    /// Returns what the driver answers.
    pub(crate) fn answer(&self) -> DriverAnswer {
        if self.hangs {
            return DriverAnswer::Silent;
        }
        let answers = self.devices.iter().filter(|device| !self.lost.contains(device.card()));
        DriverAnswer::Listed { devices: answers.cloned().collect(), sick: self.lost.clone() }
    }

    /// Lists the cards.
    fn cards(&self) -> Vec<String> {
        let cards: BTreeSet<&str> = self.devices.iter().map(Device::card).collect();
        cards.into_iter().map(str::to_owned).collect()
    }

    /// Looks at every card.
    pub(crate) fn look(&mut self, now: Instant) {
        if !self.hangs {
            for card in self.cards() {
                let answer = match self.lost.contains(&card) {
                    true => Err("the GPU is lost".to_owned()),
                    false => Ok(Some(0)),
                };
                self.watches.entry(card).or_default().looked(answer, now);
            }
        }
    }

    /// Says what was seen of every card.
    pub(crate) fn signs(&self, now: Instant) -> Vec<DeviceSign> {
        self.watches.iter().map(|(card, watch)| watch.sign(card, now)).collect()
    }

    /// Returns whether what is started with these devices finds them.
    pub(crate) fn has(&self, grants: &[DeviceGrant]) -> bool {
        grants.iter().all(|grant| {
            let device = self.devices.iter().find(|device| device.uuid == grant.uuid);
            device.is_some_and(|device| !self.lost.contains(device.card()))
        })
    }

    fn is_on(&self, grants: &[DeviceGrant], card: &str) -> bool {
        grants.iter().any(|grant| self.devices.iter().any(|device| device.uuid == grant.uuid && device.card() == card))
    }

    /// Returns whether these are its devices, each of the size it has.
    pub(crate) fn are(&self, known: &[Device]) -> bool {
        let size = |device: &Device| (device.uuid.clone(), device.memory_mib);
        self.devices.iter().map(size).collect::<BTreeSet<_>>() == known.iter().map(size).collect()
    }

    /// Names what the grants of everything on this host exceed, if they do.
    pub(crate) fn exceeded_by<'a>(&self, grants: impl Iterator<Item = &'a DeviceGrant>) -> Option<String> {
        let mut held: BTreeMap<&str, u64> = BTreeMap::new();
        for grant in grants {
            let Some(device) = self.devices.iter().find(|device| device.uuid == grant.uuid) else {
                return Some(format!("runs on {}, which it has not", grant.uuid));
            };
            let sum = held.entry(&grant.uuid).or_default();
            *sum += grant.memory_mib.unwrap_or(device.memory_mib);
            if *sum > device.memory_mib {
                return Some(format!("runs {sum} MiB on {} of {} MiB", grant.uuid, device.memory_mib));
            }
        }
        None
    }
}

/// Returns what a deployment of a seed asks for.
fn ask_of(version: u32) -> GpuAsk {
    match version % 5 {
        0 => GpuAsk::Whole { count: 1, model: Some("H100".to_owned()), memory_mib_min: 0 },
        1 => GpuAsk::Mig { profile: SLICE.1.to_owned(), count: 1 },
        2 => GpuAsk::Memory { mib: 50 << 10, model: None },
        _ => GpuAsk::Memory { mib: 24 << 10, model: Some("H100".to_owned()) },
    }
}

/// Returns the command that makes or changes a deployment that asks for GPUs.
pub(crate) fn deployment_with(command: Command, ask: &GpuAsk) -> Command {
    let Command::DeploymentPut { key, mut spec, mode, if_revision } = command else { return command };
    spec.resources.gpus = match ask {
        GpuAsk::Whole { count, .. } => u64::from(*count),
        GpuAsk::None | GpuAsk::Memory { .. } | GpuAsk::Mig { .. } => 0,
    };
    spec.gpu = ask.clone();
    Command::DeploymentPut { key, spec, mode, if_revision }
}

/// Gives the hosts of half of all seeds GPUs, and lets somebody use them and something break.
pub(crate) fn schedule(world: &mut World, ends: u64, faulty: bool) {
    let mut rng = world.seed.child("gpus").rng();
    if rng.chance(500) {
        return;
    }
    for at in 0..world.nodes.len() {
        let layout = Layout { cards: 1 + rng.below(2) as usize, sliced: rng.chance(300) };
        // The driver of some is loaded after the agent.
        let late = rng.chance(200);
        world.nodes[at].fit_gpus(layout, late);
        if late {
            world.at(500 + rng.below(6_000), Event::Do(Action::HangDriver(at, false)));
        }
    }
    let endpoint = ENDPOINT.parse().expect("a valid name");
    world.at(1_200, Event::Do(Action::Change(Box::new(endpoint_put(&endpoint)))));
    let mut at = 1_500;
    while at < ends {
        world.at(at, Event::Do(Action::RandomGpuChange));
        at += 1_000 + rng.below(5_000);
    }
    let mut at = 6_000;
    while faulty && at < ends {
        world.at(at, Event::Do(Action::RandomGpuFault));
        at += 1_500 + rng.below(8_000);
    }
    world.gpu_rng = rng;
}

// === impl World ===

impl World {
    pub(crate) fn random_gpu_change(&mut self) {
        let name = ["blue", "green"][self.gpu_rng.below(2) as usize];
        let key = format!("{ENDPOINT}/{name}").parse().expect("a valid key");
        let (count, version) = (1 + self.gpu_rng.below(3) as u32, self.gpu_rng.below(1_000) as u32);
        let command = match self.gpu_rng.below(10) {
            0 => Command::DeploymentDelete { key, if_revision: None },
            1..4 => Command::DeploymentScale { key, instance_count: count, if_revision: None },
            _ => deployment_with(deployment_put(&key, count, version, Default::default()), &ask_of(version)),
        };
        self.change(command);
    }

    pub(crate) fn random_gpu_fault(&mut self) {
        let node = self.gpu_rng.below(self.nodes.len() as u64) as usize;
        let cards = self.nodes[node].gpus.cards().len() as u64;
        let card = self.gpu_rng.below(cards.max(1)) as usize;
        let later = 1_000 + self.gpu_rng.below(8_000);
        let (fault, mended) = match self.gpu_rng.below(10) {
            0..3 => (Action::Xid(node, card, OFF_THE_BUS), Some(Action::MendCard(node, card))),
            3..5 => (Action::Xid(node, card, MEMORY_ERRORS), None),
            5..8 => (Action::Xid(node, card, BY_PROGRAMS[self.gpu_rng.below(3) as usize]), None),
            8 => (Action::HangDriver(node, true), Some(Action::HangDriver(node, false))),
            _ => {
                let gib = 10 + self.gpu_rng.below(70);
                (Action::ResizeCard(node, card, gib), Some(Action::ResizeCard(node, card, CARD_MIB >> 10)))
            }
        };
        self.act(fault.clone());
        if matches!(fault, Action::HangDriver(..)) && self.gpu_rng.chance(400) {
            // Whoever sees that nothing answers starts the agent anew.
            self.after(300, Event::Do(Action::KillAgent(node)));
            self.after(700, Event::Do(Action::StartNode(node)));
        }
        if let Some(mended) = mended {
            // Longer than a driver may be silent, every other time.
            let delay = if self.gpu_rng.chance(500) { later } else { later + 12_000 };
            self.after(delay, Event::Do(mended));
        }
    }

    /// Lets a driver tell of an XID.
    pub(crate) fn xid(&mut self, at: usize, card: usize, xid: u32) {
        let Some(card) = self.nodes[at].gpus.cards().get(card).cloned() else { return };
        self.note(&format!("fault: GPU {card} reports XID {xid}"));
        let class = xid_class(xid);
        let shown = match class {
            XidClass::Application if self.has(Bug::BlameTheCard) => OFF_THE_BUS,
            _ => xid,
        };
        let mut rng = self.gpu_rng.clone();
        let gpus = &mut self.nodes[at].gpus;
        if xid == OFF_THE_BUS {
            gpus.lost.insert(card.clone());
        }
        if class == XidClass::Device {
            gpus.had_fault.insert(card.clone());
        }
        // An agent that is down hears of it at its first look, if the card still shows it.
        if self.nodes[at].up {
            self.nodes[at].gpus.watches.entry(card.clone()).or_default().xid(shown);
        }
        if class == XidClass::Application || xid == OFF_THE_BUS {
            self.end_processes(at, &card, class == XidClass::Application, &mut rng);
        }
        self.gpu_rng = rng;
        let boot = self.nodes[at].boot;
        // Nobody waits for the next heartbeat to tell of a fault.
        if class == XidClass::Device {
            self.after(1, Event::Tell { node: at, boot });
        }
    }

    /// Ends what runs on a card: all of it, or the one program that did something wrong.
    fn end_processes(&mut self, at: usize, card: &str, one: bool, rng: &mut Rng) {
        let node = &self.nodes[at];
        let on_card = node.processes.iter().filter(|(_, process)| node.gpus.is_on(&process.devices, card));
        let mut pids: Vec<u32> = on_card.map(|(pid, _)| *pid).collect();
        if one {
            pids = rng.pick(&pids).copied().into_iter().collect();
        }
        if !pids.is_empty() {
            self.disturb(at);
        }
        for pid in pids {
            self.after(PROCESS_DIES_MS, Event::ProcessEnds { node: at, pid, how: "killed by the GPU's driver" });
        }
    }

    pub(crate) fn mend_card(&mut self, at: usize, card: usize) {
        let Some(card) = self.nodes[at].gpus.cards().get(card).cloned() else { return };
        if self.nodes[at].gpus.lost.remove(&card) {
            self.note(&format!("fault: GPU {card} is back on the bus"));
        }
    }

    /// Gives a whole card another size. The programs on it are left alone: who shares a card is told its share, not its
    /// size.
    pub(crate) fn resize_card(&mut self, at: usize, card: usize, gib: u64) {
        let gpus = &mut self.nodes[at].gpus;
        let Some(card) = gpus.cards().get(card).cloned() else { return };
        let Some(device) = gpus.devices.iter_mut().find(|device| device.uuid == card) else { return };
        device.memory_mib = gib << 10;
        self.note(&format!("fault: GPU {card} has {gib} GiB"));
    }

    pub(crate) fn hang_driver(&mut self, at: usize, hangs: bool) {
        if self.nodes[at].gpus.hangs != hangs && !self.nodes[at].gpus.devices.is_empty() {
            self.note(&format!(
                "fault: the GPU driver of n{} {}",
                at + 1,
                if hangs { "hangs" } else { "answers again" }
            ));
        }
        self.nodes[at].gpus.hangs = hangs;
    }

    pub(crate) fn mend_gpus(&mut self) {
        for node in &mut self.nodes {
            let whole = node.gpus.devices.iter_mut().filter(|device| device.mig_profile.is_none());
            whole.for_each(|device| device.memory_mib = CARD_MIB);
            node.gpus.lost.clear();
            node.gpus.hangs = false;
        }
    }

    /// Insists that nothing but a fault of its own, or its absence, condemns a card.
    pub(crate) fn judge_device(&mut self, member: usize, entry: &Entry) {
        if let Command::NodeRegister(register) = &entry.command {
            self.judge_inventory(member, register.node);
        }
        let Command::DeviceTransition(DeviceTransition { node, card, to: Some(to), reason, .. }) = &entry.command
        else {
            return;
        };
        let Some(host) = self.nodes.iter().find(|host| host.id == *node) else { return };
        if to.is_condemned() && !host.gpus.had_fault.contains(card) {
            let what = format!("GPU {card} of {} is condemned for {reason} and never had a fault", host.profile.name);
            self.judge.broken("PL14", what, self.now);
        }
    }

    /// Insists that no host says it has lost a card that is in it.
    fn judge_inventory(&mut self, member: usize, node: NodeId) {
        let (Some(host), Some(known)) =
            (self.nodes.iter().find(|host| host.id == node), self.members[member].state.nodes.get(&node))
        else {
            return;
        };
        let is_false = |card: &&String| host.gpus.cards().contains(card) && !host.gpus.had_fault.contains(*card);
        let condemned = known.devices.iter().filter(|(_, condition)| condition.state.is_condemned());
        if let Some(card) = condemned.map(|(card, _)| card).find(is_false) {
            let what = format!("GPU {card} of {} is condemned because its agent says it has none", host.profile.name);
            self.judge.broken("PL14", what, self.now);
        }
    }
}
