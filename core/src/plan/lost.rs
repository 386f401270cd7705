//! Lost and returned: what runs where nobody heard of it for a while.
//!
//! The replicas of a lost node stay on the books as they were. Others are placed in their stead, and when the node
//! returns the surplus ends, those that serve now last. What returns may still work on requests of its own node's
//! callers, so it first shows what it is and then drains like any other.

use super::{View, draft::Draft};
use crate::{
    model::{Replica, ReplicaState},
    time::{LogTime, Millis},
};

/// How long a returned node may take to tell what became of its replicas. Its agent does so with the first message of
/// its session.
const REPORT_WAIT: Millis = Millis::from_secs(10);

/// Returns until when a replica of a node that just returned is left alone, if it still has to say what it is.
fn silent_until(view: &View<'_>, replica: &Replica) -> Option<LogTime> {
    let node = view.state.nodes.get(&replica.node)?;
    // Only the entry that brings a node back puts both into their states at once.
    let is_unheard = replica.state == ReplicaState::Starting && replica.since == node.since && !replica.lost;
    is_unheard.then(|| replica.since + REPORT_WAIT)
}

/// Counts those of lost nodes that their deployment does not have replaced, or not yet.
pub(super) fn wait_for_lost(draft: &mut Draft<'_>) {
    let (state, now) = (draft.view.state, draft.now);
    for group in &mut draft.groups {
        let disconnect = group.deployment.spec.disconnect;
        let patience =
            disconnect.lost_after.map_or(Millis(0), |own| Millis(own.0.saturating_sub(state.settings.lost_after.0)));
        for replica in &group.lost {
            let is_counted = draft.view.in_grace.contains(&replica.node);
            let Some(node) = state.nodes.get(&replica.node) else { continue };
            if is_counted || !group.is_replaced_in_kind(replica) {
                continue;
            }
            let until = node.since + patience;
            if disconnect.replace && now >= until {
                continue;
            }
            group.waited_for.insert(replica.id);
            group.in_grace += 1;
            if disconnect.replace {
                draft.report.due_at(until);
            }
        }
    }
}

/// Spares the replicas that have yet to show themselves: none of them ends before it did, or its time is up.
pub(super) fn spare_returned(draft: &mut Draft<'_>) {
    for group in &mut draft.groups {
        for replica in group.current.iter().chain(&group.outdated) {
            if let Some(until) = silent_until(draft.view, replica).filter(|until| *until > draft.now) {
                group.spared.insert(replica.id);
                draft.report.due_at(until);
            }
        }
    }
}
