//! Places: what is missing gets a node, or a reason why not.

use super::{draft::Draft, group::Group};
use crate::{
    schedule::{Ask, Fleet, Verdict},
    state::Step,
};

/// Places what is missing: first instances, replacements, and the new generation of a rollout.
pub(super) fn place_missing(draft: &mut Draft<'_>) {
    for at in 0..draft.groups.len() {
        let group = &draft.groups[at];
        let missing = missing(group);
        if missing == 0 {
            continue;
        }
        if draft.now < group.deployment.retry_at {
            draft.report.due_at(group.deployment.retry_at);
            continue;
        }
        draft.groups[at].found_no_room = place(draft, at, missing) == 0;
    }
}

/// Counts the replicas to place now. While earlier generations still run, no more than the surge allows.
fn missing(group: &Group<'_>) -> u64 {
    let current = group.kept_current().count() as u64 + group.in_grace;
    let outdated = group.kept_outdated().count() as u64;
    let wanted = group.desired().saturating_sub(current);
    if outdated == 0 {
        return wanted;
    }
    wanted.min((group.desired() + group.surge_max()).saturating_sub(current + outdated))
}

/// Places up to `missing` replicas and returns how many found a place.
fn place(draft: &mut Draft<'_>, at: usize, missing: u64) -> u64 {
    let (view, deployment) = (draft.view, draft.groups[at].deployment);
    let kept = draft.groups[at].kept_current().count() as u64;
    let replaces = draft.groups[at].lost.iter().any(|replica| replica.generation == deployment.generation);
    let ask = Ask::of(deployment);
    let seed = view.seed.child("ties").child(deployment.key.to_string()).rng().next_u64();
    let fleet = draft.fleet.get_or_insert_with(|| Fleet::of(view.state));
    let placements = fleet.place(&ask, missing, seed);
    let placed = placements.len() as u64;
    if placed < missing
        && let Ok(verdict) = Verdict::against(fleet, &deployment.key)
    {
        draft.report.short.insert(deployment.key.clone(), verdict);
    }
    for (nth, placement) in placements.into_iter().enumerate() {
        let instance = format!("instance {} of {}", kept + nth as u64 + 1, deployment.desired());
        let replica = draft.mint();
        draft.steps.push(Step::Place {
            replica,
            key: deployment.key.clone(),
            generation: deployment.generation,
            node: placement.node,
            devices: placement.devices,
            reserve_spent: None,
            reason: if replaces { format!("{instance}, in place of a lost one") } else { instance },
        });
    }
    placed
}
