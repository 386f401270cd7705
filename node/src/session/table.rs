//! Keeps the route table fresh, from any member that speaks.

use std::{sync::Arc, time::Duration};

use berth_core::{
    error::{Code, Error},
    rng::SeedTree,
    traffic::{change::Resync, table::RouteTable},
};
use berth_proto::node::{TableMessage, change_from_wire, v1::WatchTableRequest};
use tokio::time::{sleep, timeout};

use super::{Backoff, MESSAGE_DEADLINE, Members, members::transport_error};
use crate::mesh::MeshHandle;

/// Silence after which another member is asked: three of its heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Watches the table for ever; ends by being dropped.
pub(crate) async fn keep_table(members: Arc<Members>, mesh: MeshHandle, node: u64, seed: SeedTree) {
    let mut backoff = Backoff::new(&seed);
    let mut turn: usize = 0;
    // What lies on the disk may be of an older program, which knew fewer fields of what its digest says it knows.
    let mut wants_full = true;
    loop {
        let addresses = members.addresses();
        if let Some(address) = addresses.get(turn % addresses.len().max(1)) {
            match watch(&members, address, &mesh, node, &mut wants_full, &mut backoff).await {
                Ok(resync) => {
                    tracing::info!(%address, %resync, "watching the route table from the start");
                    wants_full = true;
                    // One that is behind would send the same again until it has caught up.
                    if matches!(resync, Resync::Older { .. }) {
                        turn = turn.wrapping_add(1);
                    }
                }
                Err(error) => {
                    tracing::info!(%address, %error, "this member sends no route table");
                    turn = turn.wrapping_add(1);
                }
            }
        }
        sleep(backoff.take()).await;
    }
}

/// Follows one member until it falls silent, breaks off, or sends what does not fit, and tells what did not.
async fn watch(
    members: &Members,
    address: &str,
    mesh: &MeshHandle,
    node: u64,
    wants_full: &mut bool,
    backoff: &mut Backoff,
) -> Result<Resync, Error> {
    let request = request(&mesh.table(), node, *wants_full);
    let mut client = members.client(address)?;
    let opened = timeout(MESSAGE_DEADLINE, client.watch_table(request)).await.map_err(|_| silent(address))?;
    let mut updates = opened.map_err(|status| transport_error(&status))?.into_inner();
    loop {
        let update = timeout(SILENCE_MAX, updates.message()).await.map_err(|_| silent(address))?;
        let Some(update) = update.map_err(|status| transport_error(&status))? else {
            return Err(Error::new(Code::Unavailable, format!("{address} ended the feed")));
        };
        backoff.reset();
        match change_from_wire(update)? {
            TableMessage::Change(change) => {
                if let Err(resync) = mesh.apply_table(change) {
                    return Ok(resync);
                }
                *wants_full = false;
            }
            TableMessage::Heartbeat { version, digest, expected } => {
                mesh.expect(expected);
                if let Err(resync) = mesh.table().hears(version, digest) {
                    return Ok(resync);
                }
            }
        }
    }
}

fn request(table: &RouteTable, node: u64, wants_full: bool) -> WatchTableRequest {
    let has_table = table.version.0 > 0 && !wants_full;
    WatchTableRequest {
        cluster_id: table.cluster_id.clone(),
        node_id: node,
        version: if has_table { table.version.0 } else { 0 },
        digest: if has_table { table.digest().0.to_vec() } else { Vec::new() },
    }
}

fn silent(address: &str) -> Error {
    Error::new(Code::Timeout, format!("{address} fell silent"))
}
