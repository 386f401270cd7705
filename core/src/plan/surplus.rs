//! Surplus: more replicas than asked for end, those that matter least first.

use super::draft::{Draft, ending};
use crate::schedule::worth;

/// Ends what is beyond the desired count: after a scale-down, a delete, or the return of a node whose replicas were
/// replaced.
pub(super) fn stop_surplus(draft: &mut Draft<'_>) {
    for group in &mut draft.groups {
        let desired = group.desired() as usize;
        let reason = if group.deployment.deleting { "its deployment is deleted" } else { "more than asked for" };
        let mut candidates = group.current.clone();
        if desired == 0 {
            candidates.extend(&group.outdated);
            candidates.extend(&group.lost);
        } else {
            candidates.retain(|replica| !group.spared.contains(&replica.id));
        }
        if candidates.len() <= desired {
            continue;
        }
        candidates.sort_by_cached_key(|replica| worth(draft.view.state, replica));
        for replica in &candidates[..candidates.len() - desired] {
            if !group.can_spare(draft.view, replica) {
                break;
            }
            group.retired.insert(replica.id);
            draft.steps.push(ending(group, replica, draft.now, reason));
        }
    }
}
