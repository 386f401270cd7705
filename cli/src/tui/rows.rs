//! The rows of every list: what each is about, and what stands in it once it is shown.
//!
//! A list is a list of pointers; a row is formatted when it is drawn. Only a filter or an order reads the text of rows
//! that are not on the screen, and only when the board or they themselves changed.

use std::{cell::Cell as Counter, sync::Arc};

use berth_client::api::{Deployment, Endpoint, Event, Member, Node, Replica, Slot};
use berth_core::units::Mib;

use super::{
    board::Board,
    draw::paint::bar,
    view::{ALIASES, PAGE_WORDS, Subject, View},
};
use crate::{
    output::{Cell, Ink, Listed, state_ink},
    view::short_id,
};

/// A row that was not formatted yet.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Endpoint(Arc<Endpoint>),
    Deployment(Arc<Deployment>),
    Replica(Arc<Replica>),
    Slot(Arc<Slot>),
    Node(Arc<Node>),
    Member(Box<Member>),
    Event(Arc<Event>),
    /// The card of a node at a position.
    Gpu(Arc<Node>, usize),
    Rollout(Arc<Deployment>),
    /// A line of the tree: how far in, and what.
    Branch(usize, Box<Item>),
    /// The device of a replica at a position.
    Grant(Arc<Replica>, usize),
    Alias(usize),
}

/// What formatting a row needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    pub(crate) board: &'a Board,
    pub(crate) wide: bool,
    pub(crate) now_ms: u64,
    /// Counts the rows that were formatted.
    pub(crate) formatted: &'a Counter<u64>,
}

/// Lists the rows of a screen; none for a screen that is no list.
pub(crate) fn items(view: &View, board: &Board) -> Vec<Item> {
    match view {
        View::Endpoints => board.endpoints.iter().cloned().map(Item::Endpoint).collect(),
        View::Deployments { endpoint } if endpoint.is_empty() => {
            board.deployments.iter().cloned().map(Item::Deployment).collect()
        }
        View::Deployments { endpoint } => {
            board.deployments_of(endpoint).iter().cloned().map(Item::Deployment).collect()
        }
        View::Replicas { endpoint, deployment, node } => {
            let is = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
            let some = board
                .replicas
                .iter()
                .filter(|it| is(endpoint, &it.endpoint) && is(deployment, &it.deployment) && is(node, &it.node));
            some.cloned().map(Item::Replica).collect()
        }
        View::Slots => board.slots.iter().cloned().map(Item::Slot).collect(),
        View::Nodes => board.nodes.iter().cloned().map(Item::Node).collect(),
        View::Coordinators => board.members.iter().map(|it| Item::Member(Box::new(it.clone()))).collect(),
        View::Events => board.events.iter().rev().cloned().map(Item::Event).collect(),
        View::Gpus | View::GpuGraphs => {
            let cards =
                |node: &Arc<Node>| (0..node.gpus.len()).map(|at| Item::Gpu(node.clone(), at)).collect::<Vec<_>>();
            board.nodes.iter().flat_map(cards).collect()
        }
        View::Rollouts => {
            // What moves comes first: it is what one looks for.
            let (moving, still): (Vec<_>, Vec<_>) = board.deployments.iter().cloned().partition(|it| is_moving(it));
            moving.into_iter().chain(still).map(Item::Rollout).collect()
        }
        View::Tree => tree(board),
        View::Aliases => (0..ALIASES.len() + PAGE_WORDS.len()).map(Item::Alias).collect(),
        View::Dashboard | View::Pulses | View::Help | View::Page(_) => Vec::new(),
    }
}

/// Returns whether a deployment is on its way somewhere.
fn is_moving(it: &Deployment) -> bool {
    it.updated < it.desired || it.ready != it.desired
}

/// Endpoint, deployment, replica and device, each one step further in.
fn tree(board: &Board) -> Vec<Item> {
    let mut items = Vec::new();
    let mut push = |depth, item| items.push(Item::Branch(depth, Box::new(item)));
    for endpoint in &board.endpoints {
        push(0, Item::Endpoint(endpoint.clone()));
        for deployment in board.deployments_of(&endpoint.name) {
            push(1, Item::Deployment(deployment.clone()));
            for replica in board.replicas_of(&endpoint.name, &deployment.name) {
                push(2, Item::Replica(replica.clone()));
                (0..replica.devices.len()).for_each(|at| push(3, Item::Grant(replica.clone(), at)));
            }
        }
    }
    items
}

/// Returns the headings of a screen.
pub(crate) fn columns(view: &View, wide: bool) -> Vec<&'static str> {
    match view {
        View::Endpoints => headings::<Endpoint>(wide),
        View::Deployments { .. } => headings::<Deployment>(wide),
        View::Replicas { .. } => headings::<Replica>(wide),
        View::Slots => headings::<Slot>(wide),
        View::Nodes => headings::<Node>(wide),
        View::Coordinators => headings::<Member>(wide),
        View::Events => headings::<Event>(wide),
        View::Gpus => vec!["NODE", "GPU", "MODEL", "STATE", "BUSY", "MEMORY", "GIVEN", "TEMP", "POWER", "REPLICAS"],
        View::Rollouts => vec!["DEPLOYMENT", "STATE", "GENERATION", "UPDATED", "", "READY", "TRAFFIC", "WAITS FOR"],
        View::Tree => vec!["WHAT", "STATE", "MORE"],
        View::Aliases => vec!["NAME", "ALSO", "WHAT"],
        View::Dashboard | View::Pulses | View::GpuGraphs | View::Help | View::Page(_) => Vec::new(),
    }
}

fn headings<T: Listed>(wide: bool) -> Vec<&'static str> {
    T::COLUMNS[..if wide { T::COLUMNS.len() } else { T::NARROW }].to_vec()
}

// === impl Item ===

impl Item {
    /// Returns what the row is about.
    pub(crate) fn subject(&self) -> Subject {
        match self {
            Self::Endpoint(it) => Subject::Endpoint(it.name.clone()),
            Self::Deployment(it) | Self::Rollout(it) => {
                Subject::Deployment { endpoint: it.endpoint.clone(), name: it.name.clone() }
            }
            Self::Replica(it) => Subject::Replica {
                id: it.replica.clone(),
                endpoint: it.endpoint.clone(),
                deployment: it.deployment.clone(),
            },
            Self::Slot(it) => Subject::Slot(it.slot.clone()),
            Self::Node(it) => Subject::Node(it.node.clone()),
            Self::Member(it) => Subject::Coordinator(it.id.clone()),
            Self::Event(it) => Subject::Event(it.seq),
            Self::Gpu(node, at) => Subject::Device { node: node.node.clone(), uuid: node.gpus[*at].uuid.clone() },
            Self::Branch(_, item) => item.subject(),
            Self::Grant(it, at) => Subject::Device { node: it.node.clone(), uuid: it.devices[*at].uuid.clone() },
            Self::Alias(at) => Subject::Line(*at),
        }
    }

    /// Returns whether the row is about this. Asked of every row of a long list, so it copies nothing.
    pub(crate) fn is(&self, subject: &Subject) -> bool {
        match (self, subject) {
            (Self::Endpoint(it), Subject::Endpoint(name)) => it.name == *name,
            (Self::Deployment(it) | Self::Rollout(it), Subject::Deployment { endpoint, name }) => {
                it.name == *name && it.endpoint == *endpoint
            }
            (Self::Replica(it), Subject::Replica { id, .. }) => it.replica == *id,
            (Self::Slot(it), Subject::Slot(id)) => it.slot == *id,
            (Self::Node(it), Subject::Node(name)) => it.node == *name,
            (Self::Member(it), Subject::Coordinator(id)) => it.id == *id,
            (Self::Event(it), Subject::Event(seq)) => it.seq == *seq,
            (Self::Gpu(it, at), Subject::Device { node, uuid }) => it.node == *node && it.gpus[*at].uuid == *uuid,
            (Self::Branch(_, item), subject) => item.is(subject),
            (Self::Grant(it, at), Subject::Device { node, uuid }) => it.node == *node && it.devices[*at].uuid == *uuid,
            (Self::Alias(at), Subject::Line(line)) => at == line,
            _ => false,
        }
    }

    /// Returns how far in the row is: only those of a tree are.
    pub(crate) fn depth(&self) -> usize {
        if let Self::Branch(depth, _) = self { *depth } else { 0 }
    }

    /// Formats the row.
    pub(crate) fn cells(&self, look: Look<'_>) -> Vec<Cell> {
        look.formatted.set(look.formatted.get() + 1);
        match self {
            Self::Endpoint(it) => listed(&**it, look),
            Self::Deployment(it) => listed(&**it, look),
            Self::Replica(it) => listed(&**it, look),
            Self::Slot(it) => listed(&**it, look),
            Self::Node(it) => listed(&**it, look),
            Self::Member(it) => listed(&**it, look),
            Self::Event(it) => listed(&**it, look),
            Self::Gpu(node, at) => gpu(node, *at, look.board),
            Self::Rollout(it) => rollout(it),
            Self::Branch(depth, item) => branch(*depth, item),
            Self::Grant(..) => Vec::new(),
            Self::Alias(at) => {
                let screen = ALIASES.get(*at).map(|alias| (alias.names, alias.what.to_owned()));
                let (names, what) = screen.unwrap_or_else(|| {
                    let (names, _, of) = &PAGE_WORDS[*at - ALIASES.len()];
                    (names, format!("of {of}"))
                });
                vec![names[0].into(), names[1..].join(" ").into(), what.into()]
            }
        }
    }
}

fn listed<T: Listed>(item: &T, look: Look<'_>) -> Vec<Cell> {
    let mut cells = item.cells(look.now_ms);
    cells.truncate(if look.wide { T::COLUMNS.len() } else { T::NARROW });
    cells
}

fn gpu(node: &Node, at: usize, board: &Board) -> Vec<Cell> {
    let gpu = &node.gpus[at];
    let has = |replica: &&Arc<Replica>| {
        replica.node == node.node && replica.devices.iter().any(|grant| grant.uuid.starts_with(gpu.uuid.as_str()))
    };
    let names: Vec<_> = board.replicas.iter().filter(has).map(|replica| short_id(&replica.replica)).collect();
    let model = if gpu.simulated { format!("{} simulated", gpu.model) } else { gpu.model.clone() };
    let state = crate::view::gpu::word(node, gpu);
    let sample = gpu.sample.clone();
    let told = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
    let of_sample = |read: fn(&berth_proto::node::v1::DeviceSample) -> Option<u32>| sample.as_ref().and_then(read);
    vec![
        node.node.as_str().into(),
        gpu.uuid.as_str().into(),
        model.into(),
        Cell::inked(state, crate::view::gpu::ink(state)),
        told(of_sample(|it| it.utilization_percent).map(|percent| format!("{percent} %"))),
        told(sample.as_ref().map(|it| Mib(it.used_mib).to_string())),
        format!("{}/{}", Mib(gpu.held_mib), Mib(gpu.memory_mib)).into(),
        told(of_sample(|it| it.temperature_celsius).map(|celsius| format!("{celsius} °C"))),
        told(of_sample(|it| it.power_milliwatt).map(|milliwatt| format!("{} W", milliwatt / 1_000))),
        names.join(" ").into(),
    ]
}

fn rollout(it: &Deployment) -> Vec<Cell> {
    let ink = if is_moving(it) { Ink::Yellow } else { Ink::Plain };
    vec![
        format!("{}/{}", it.endpoint, it.name).into(),
        Cell::state(&it.provisioning_state),
        it.generation.to_string().into(),
        Cell::inked(format!("{}/{}", it.updated, it.desired), ink),
        Cell::inked(bar(it.updated, it.desired, 12), ink),
        Cell::inked(crate::view::ready(it), ink),
        format!("{} %", it.traffic_percent).into(),
        crate::view::why(it).into(),
    ]
}

fn branch(depth: usize, item: &Item) -> Vec<Cell> {
    let (name, state, more) = match item {
        Item::Endpoint(it) => (it.name.clone(), it.provisioning_state.clone(), crate::view::shares(&it.traffic)),
        Item::Deployment(it) => {
            let more = format!("{}/{} ready, {} %", it.ready, it.desired, it.traffic_percent);
            (it.name.clone(), it.provisioning_state.clone(), more)
        }
        Item::Replica(it) => {
            let more = format!("on {}, {} in flight", it.node, it.in_flight);
            (short_id(&it.replica).to_owned(), it.state.clone(), more)
        }
        Item::Grant(it, at) => {
            let grant = &it.devices[*at];
            let share = grant.memory_mib.map_or("whole".to_owned(), |mib| Mib(mib).to_string());
            (grant.uuid.clone(), String::new(), share)
        }
        _ => Default::default(),
    };
    let ink = state_ink(&state);
    vec![format!("{}{name}", "   ".repeat(depth)).into(), Cell::inked(state, ink), more.into()]
}
