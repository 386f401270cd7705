//! Lost: what runs where nobody hears of it, once others serve in its place.

use super::draft::{Draft, ending};

/// Ends the replicas of lost nodes that enough others stand in for. Until then they stay as they are: should their node
/// return first, they are the ones that serve.
pub(super) fn stop_replaced(draft: &mut Draft<'_>) {
    for group in &mut draft.groups {
        if group.ready_current() < group.desired() {
            continue;
        }
        for replica in &group.lost {
            if group.retired.insert(replica.id) {
                draft.steps.push(ending(group, replica, draft.now, "it was replaced while its node was lost"));
            }
        }
    }
}
