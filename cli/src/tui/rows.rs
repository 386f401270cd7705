//! The rows of every list: what stands in them, and what each is about.

use berth_client::api::{Node, Replica};
use berth_core::units::Mib;

use super::{
    board::Board,
    view::{ALIASES, Subject, View},
};
use crate::{
    output::{Cell, Ink, Listed, state_ink},
    view::short_id,
};

/// A list as it can be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) cells: Vec<Cell>,
}

/// Builds the rows of a screen; none for a screen that is no list.
pub(crate) fn rows(view: &View, board: &Board, wide: bool, now_ms: u64) -> Rows {
    match view {
        View::Endpoints => of(board.endpoints.iter(), wide, now_ms, |it| Subject::Endpoint(it.name.clone())),
        View::Deployments { endpoint } => {
            let some = board.deployments.iter().filter(|it| endpoint.is_empty() || it.endpoint == *endpoint);
            of(some, wide, now_ms, |it| Subject::Deployment { endpoint: it.endpoint.clone(), name: it.name.clone() })
        }
        View::Replicas { endpoint, deployment, node } => {
            let is = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
            let some = board
                .replicas
                .iter()
                .filter(|it| is(endpoint, &it.endpoint) && is(deployment, &it.deployment) && is(node, &it.node));
            of(some, wide, now_ms, replica_subject)
        }
        View::Nodes => of(board.nodes.iter(), wide, now_ms, |it| Subject::Node(it.node.clone())),
        View::Coordinators => of(board.members.iter(), wide, now_ms, |it| Subject::Coordinator(it.id.clone())),
        View::Events => of(board.events.iter().rev(), wide, now_ms, |it| Subject::Event(it.seq)),
        View::Gpus => gpus(board),
        View::Tree => tree(board),
        View::Aliases => aliases(),
        View::Dashboard | View::Pulses | View::Help | View::Page(_) => Rows::default(),
    }
}

fn of<'a, T: Listed + 'a>(
    items: impl Iterator<Item = &'a T>,
    wide: bool,
    now_ms: u64,
    subject: impl Fn(&T) -> Subject,
) -> Rows {
    let width = if wide { T::COLUMNS.len() } else { T::NARROW };
    let row = |item: &T| {
        let mut cells = item.cells(now_ms);
        cells.truncate(width);
        Row { subject: subject(item), cells }
    };
    Rows { columns: T::COLUMNS[..width].to_vec(), rows: items.map(row).collect() }
}

pub(crate) fn replica_subject(replica: &Replica) -> Subject {
    Subject::Replica {
        id: replica.replica.clone(),
        endpoint: replica.endpoint.clone(),
        deployment: replica.deployment.clone(),
    }
}

fn gpus(board: &Board) -> Rows {
    let columns = vec!["NODE", "DEVICE", "MODEL", "STATE", "MEMORY", "HELD", "REPLICAS"];
    let rows = board.nodes.iter().flat_map(|node| node.devices.iter().map(move |device| (node, device)));
    let row = |(node, device): (&Node, &berth_client::store::Device)| {
        let grants: Vec<_> = board
            .replicas
            .iter()
            .filter(|replica| replica.node == node.node)
            .filter_map(|replica| Some((replica, replica.devices.iter().find(|grant| grant.uuid == device.uuid)?)))
            .collect();
        let held: u64 = grants.iter().map(|(_, grant)| grant.memory_mib.unwrap_or(device.memory_mib)).sum();
        let names: Vec<_> = grants.iter().map(|(replica, _)| short_id(&replica.replica)).collect();
        let model = if device.simulated { format!("{} simulated", device.model) } else { device.model.clone() };
        let state =
            if device.healthy { Cell::inked("healthy", Ink::Green) } else { Cell::inked("unhealthy", Ink::Red) };
        Row {
            subject: Subject::Device { node: node.node.clone(), uuid: device.uuid.clone() },
            cells: vec![
                node.node.as_str().into(),
                device.uuid.as_str().into(),
                model.into(),
                state,
                Mib(device.memory_mib).to_string().into(),
                Mib(held).to_string().into(),
                names.join(" ").into(),
            ],
        }
    };
    Rows { columns, rows: rows.map(row).collect() }
}

/// Endpoint, deployment, replica and device, each one step further in.
fn tree(board: &Board) -> Rows {
    let mut rows = Vec::new();
    let mut push = |depth: usize, subject: Subject, name: &str, state: &str, more: String| {
        let name = format!("{}{name}", "   ".repeat(depth));
        rows.push(Row { subject, cells: vec![name.into(), Cell::inked(state, state_ink(state)), more.into()] });
    };
    for endpoint in &board.endpoints {
        let traffic = crate::view::shares(&endpoint.traffic);
        push(0, Subject::Endpoint(endpoint.name.clone()), &endpoint.name, &endpoint.provisioning_state, traffic);
        for deployment in board.deployments_of(&endpoint.name) {
            let subject = Subject::Deployment { endpoint: endpoint.name.clone(), name: deployment.name.clone() };
            let more = format!("{}/{} ready, {} %", deployment.ready, deployment.desired, deployment.traffic_percent);
            push(1, subject, &deployment.name, &deployment.provisioning_state, more);
            for replica in board.replicas_of(deployment) {
                let subject = replica_subject(replica);
                let more = format!("on {}, {} in flight", replica.node, replica.in_flight);
                push(2, subject, short_id(&replica.replica), &replica.state, more);
                for grant in &replica.devices {
                    let subject = Subject::Device { node: replica.node.clone(), uuid: grant.uuid.clone() };
                    let share = grant.memory_mib.map_or("whole".to_owned(), |mib| Mib(mib).to_string());
                    push(3, subject, &grant.uuid, "", share);
                }
            }
        }
    }
    Rows { columns: vec!["WHAT", "STATE", "MORE"], rows }
}

fn aliases() -> Rows {
    let row = |(at, alias): (usize, &super::view::Alias)| Row {
        subject: Subject::Line(at),
        cells: vec![alias.names[0].into(), alias.names[1..].join(" ").into(), alias.what.into()],
    };
    Rows { columns: vec!["NAME", "ALSO", "WHAT"], rows: ALIASES.iter().enumerate().map(row).collect() }
}
