//! Drains and warm-ups: what waits for the routers goes on once they have answered.

use super::draft::Draft;
use crate::{model::ReplicaState, state::Step};

/// Stops draining replicas that no router sends to and that work on nothing, or whose time is up.
pub(super) fn finish_drains(draft: &mut Draft<'_>) {
    for replica in draft.groups.iter().flat_map(|group| &group.leaving) {
        if replica.state != ReplicaState::Draining {
            continue;
        }
        let mut cut = 0;
        // That of a lost node drains on: its own node's callers may still use it, and it may be back in time.
        let reason = if draft.view.drained.contains(&replica.id) {
            "drained"
        } else if replica.drain_deadline <= draft.now {
            cut = draft.view.in_flight.get(&replica.id).copied().unwrap_or(0);
            "its drain deadline passed"
        } else {
            draft.report.due_at(replica.drain_deadline);
            continue;
        };
        draft.steps.push(Step::Stop { replica: replica.id, cut, reason: reason.to_owned() });
    }
}

/// Offers warm replicas to the split once every router knows them, those of earlier generations too: they came back and
/// are still needed.
pub(super) fn serve_acknowledged(draft: &mut Draft<'_>) {
    let view = draft.view;
    for group in &draft.groups {
        let due = group.kept_current().chain(group.kept_outdated()).filter(|replica| view.may_serve(replica));
        draft.steps.extend(due.map(|replica| Step::Serve { replica: replica.id }));
    }
}
