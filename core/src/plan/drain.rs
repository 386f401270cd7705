//! Drains and warm-ups: what waits for the routers goes on once they have answered.

use super::{View, draft::Draft};
use crate::{
    model::{Replica, ReplicaState},
    state::Step,
};

/// Stops draining replicas that no router sends to and that work on nothing, or whose time is up.
pub(super) fn finish_drains(draft: &mut Draft<'_>) {
    for replica in draft.groups.iter().flat_map(|group| &group.leaving) {
        if replica.state != ReplicaState::Draining {
            continue;
        }
        let reason = if replica.lost {
            "its node is lost"
        } else if draft.view.drained.contains(&replica.id) {
            "drained"
        } else if replica.drain_deadline <= draft.now {
            "its drain deadline passed"
        } else {
            draft.report.due_at(replica.drain_deadline);
            continue;
        };
        draft.steps.push(Step::Stop { replica: replica.id, reason: reason.to_owned() });
    }
}

/// Offers warm replicas of the current generation to the split once every router knows them. From here on the plan
/// counts them as serving, so that what they take over from ends in the same step.
pub(super) fn serve_current(draft: &mut Draft<'_>) {
    let view = draft.view;
    for group in &mut draft.groups {
        let due: Vec<_> = group.kept_current().filter(|replica| may_serve(view, replica)).collect();
        group.served.extend(due.iter().map(|replica| replica.id));
        draft.steps.extend(due.iter().map(|replica| Step::Serve { replica: replica.id }));
    }
}

/// Counts those of earlier generations that came back and are still needed as serving. Whether they do is told by
/// [`serve_outdated`], once it is known that none of them makes room instead.
pub(super) fn count_outdated(draft: &mut Draft<'_>) {
    let view = draft.view;
    for group in &mut draft.groups {
        let due: Vec<_> = group.kept_outdated().filter(|replica| may_serve(view, replica)).collect();
        group.served.extend(due.iter().map(|replica| replica.id));
    }
}

/// Offers those that were counted and stay.
pub(super) fn serve_outdated(draft: &mut Draft<'_>) {
    for group in &draft.groups {
        let due = group.kept_outdated().filter(|replica| group.served.contains(&replica.id));
        draft.steps.extend(due.map(|replica| Step::Serve { replica: replica.id }));
    }
}

fn may_serve(view: &View<'_>, replica: &Replica) -> bool {
    replica.state == ReplicaState::Warm && view.acknowledged.contains(&replica.id)
}
