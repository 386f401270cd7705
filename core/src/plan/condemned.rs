//! Condemned: what runs on a device that had a fault leaves at once.
//!
//! Whether enough others serve is no question: a broken device answers wrongly or not at all, so keeping its replica
//! keeps no promise. It is taken off the split like any other that drains, and its place is filled by this same plan.

use super::draft::{Draft, ending};

/// Ends every replica whose device is condemned.
pub(super) fn leave(draft: &mut Draft<'_>) {
    let (state, now) = (draft.view.state, draft.now);
    for group in &mut draft.groups {
        for replica in group.condemned.clone() {
            let Some(node) = state.nodes.get(&replica.node) else { continue };
            let Some(condition) = node.condemned(&replica.devices) else { continue };
            group.retired.insert(replica.id);
            let reason = format!("its GPU on {} had a fault: {}", node.profile.name, condition.reason);
            draft.steps.push(ending(group, replica, now, &reason));
        }
    }
}
