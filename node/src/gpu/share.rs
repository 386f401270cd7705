//! Whose memory it is: processes on a device, summed up per replica.
//!
//! NVML names processes by their ids in the host's own view. An agent in a container that has ids of its own sees none of
//! them, and a driver may not tell how much a process holds: then no share is enforced, and the card's notes say so.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use berth_core::{
    agent::{Input, Ledger},
    id::ReplicaId,
};

use super::{CardLook, Look};
use crate::{
    actor::World,
    process::{is_listed, owner},
    runtime::Layout,
};

/// Tells the agent after every look what its replicas use; ends by being dropped.
pub(crate) async fn keep_shares(world: Arc<World>) {
    let mut looks = world.gpus.looks();
    while looks.changed().await.is_ok() {
        let (view, ledger, home) = (world.gpus.view(), world.ledger.borrow().clone(), world.home.clone());
        let counted =
            tokio::task::spawn_blocking(move || (used_by(&view.look, &ledger, &home), unfound(&view.look))).await;
        let Ok((used, unfound)) = counted else { continue };
        world.gpus.unfound(unfound);
        if !used.is_empty() {
            world.agent.tell(Input::DeviceUse(used));
        }
    }
    // Without a monitor there is nothing to tell, and the node goes on.
    std::future::pending().await
}

/// Sums up the device memory that each replica's processes hold, by card, for every replica that was given a device. A
/// replica's processes are those of its group and those that carry its mark, so a child that left the group still
/// counts.
fn used_by(look: &Look, ledger: &Ledger, home: &Path) -> BTreeMap<ReplicaId, BTreeMap<String, u64>> {
    let holders = ledger.replicas.iter().filter(|entry| !entry.order.devices.is_empty());
    let holders: Vec<_> = holders
        .filter_map(|entry| Some((entry.order.replica, entry.process?.pid, Layout::new(home, entry.order.replica))))
        .collect();
    let mut used: BTreeMap<_, BTreeMap<String, u64>> =
        holders.iter().map(|(replica, ..)| (*replica, BTreeMap::new())).collect();
    for card in &look.cards {
        for (pid, mib) in &card.processes {
            let (Some((group, mark)), Some(mib)) = (owner(*pid), mib) else { continue };
            let is_of = |(_, leader, layout): &&(ReplicaId, u32, Layout)| {
                group == *leader || mark.as_deref().is_some_and(|mark| mark == layout.root())
            };
            if let Some((replica, ..)) = holders.iter().find(is_of) {
                *used.entry(*replica).or_default().entry(card.uuid.clone()).or_default() += mib;
            }
        }
    }
    used
}

/// Lists the processes with memory of each card that this host's own view of process ids does not have.
fn unfound(look: &Look) -> BTreeMap<String, BTreeSet<u32>> {
    let of = |card: &CardLook| {
        let holding = card.processes.iter().filter(|(_, mib)| mib.is_some_and(|mib| mib > 0)).map(|(pid, _)| *pid);
        (card.uuid.clone(), holding.filter(|pid| !is_listed(*pid)).collect())
    };
    look.cards.iter().filter(|card| card.fault.is_none()).map(of).collect()
}
