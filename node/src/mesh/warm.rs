//! Warming: a version of the table counts as warm once the gates of all nodes that own a replica of it answer.
//!
//! The gates are warmed, not the replicas. One core does it for the node; the others connect with their first request.

use std::{collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use berth_core::id::LogIndex;
use futures::future;

use super::{
    link::{self, Lane},
    worker::Core,
};

/// Pause between two rounds while a gate does not answer; a node that just joined answers within a few.
const RETRY: Duration = Duration::from_millis(100);

/// How long one gate may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Warms every version, the newest first; older ones are covered by it.
pub(super) async fn run(core: Rc<Core>) {
    let mut applied = core.shared.applied.subscribe();
    let mut known = BTreeSet::new();
    loop {
        applied.borrow_and_update();
        let (version, gates) = {
            let routes = core.shared.routes.load();
            (routes.table.version, routes.remote_gates())
        };
        known.retain(|gate| gates.contains(gate));
        let cold: Vec<Arc<str>> = gates.difference(&known).cloned().collect();
        known.extend(probe_all(&core, cold).await);
        if known.len() == gates.len() {
            note(&core, version);
            if applied.changed().await.is_err() {
                return;
            }
        } else {
            // A newer version may not name the gate that does not answer.
            let _ = tokio::time::timeout(RETRY, applied.changed()).await;
        }
    }
}

/// Probes gates side by side and returns those that answered.
async fn probe_all(core: &Rc<Core>, gates: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let probes = gates.into_iter().map(|gate| async move {
        let link = core.links.to(&gate, Lane::Primary);
        let token = core.shared.token();
        let probe = link::probe(&link, token.as_deref(), &gate);
        let answered = tokio::time::timeout(PROBE_TIMEOUT, probe).await.unwrap_or(false);
        answered.then_some(gate)
    });
    future::join_all(probes).await.into_iter().flatten().collect()
}

fn note(core: &Core, version: LogIndex) {
    core.shared.acks.send_if_modified(|acks| {
        let before = *acks;
        acks.warm(version);
        *acks != before
    });
}
