//! Rollouts: the current generation takes over from earlier ones, and from nodes that are being emptied.
//!
//! New replicas come first, as many at a time as a fifth of the deployment, and each one that serves retires an old
//! one: ready(old) + ready(new) never falls below what was promised. Where there is no room for one more, old ones of a
//! deployment that holds no reserve go first, one at a time, and the step's reason records it; one that does waits.

use super::{
    draft::{Draft, ending},
    evacuate,
    group::Group,
};
use crate::{
    model::{Replica, reserve_of},
    schedule::{Ask, Fleet, worth},
    state::ONE_AT_A_TIME,
};

// === impl Group ===

impl Group<'_> {
    /// Returns how many replicas beyond the desired ones a rollout or a drain may place now, beside `missing` instances.
    ///
    /// With a reserve that is what is left of it: places of old replicas count until they are gone. Without one it is a
    /// fifth of the deployment as long as there is room.
    pub(super) fn surge_left(&self, missing: u64) -> u64 {
        if self.deployment.reserve() > 0 {
            let leaving = self.leaving.iter().filter(|replica| !replica.lost).count() + self.condemned.len();
            let places = (self.current.len() + self.outdated.len() + leaving) as u64 + missing;
            return self.deployment.reserve().saturating_sub(places.saturating_sub(self.desired()));
        }
        let kept = (self.kept_current().count() + self.kept_outdated().count()) as u64 + self.in_grace;
        (self.desired() + reserve_of(self.desired()).max(1)).saturating_sub(kept + missing)
    }
}

/// Ends outdated replicas for which enough current ones serve, those that do not serve first.
pub(super) fn retire_outdated(draft: &mut Draft<'_>) {
    for group in &mut draft.groups {
        let floor = group.deployment.floor();
        let keep = floor - group.ready_current(draft.view).min(floor);
        let mut candidates: Vec<_> =
            group.kept_outdated().filter(|replica| !group.spared.contains(&replica.id)).collect();
        let Some(beyond) = candidates.len().checked_sub(keep as usize).filter(|beyond| *beyond > 0) else { continue };
        let beyond = match group.deployment.paused {
            // What is more than asked for goes, and what has to leave its node once another serves for it; the rest stays.
            true => {
                beyond.min(candidates.len().saturating_add(group.kept_current().count()).saturating_sub(floor as usize))
            }
            false => beyond,
        };
        candidates.sort_by_cached_key(|replica| {
            let waits = group.deployment.paused || group.deployment.stand_in().is_some();
            let stays = waits
                && replica.generation < group.deployment.generation
                && evacuate::wish_of(draft.view, replica).is_none();
            (stays, worth(draft.view.state, replica))
        });
        for replica in &candidates[..beyond] {
            if !group.can_spare(draft.view, replica) {
                break;
            }
            group.retired.insert(replica.id);
            let reason = match replica.generation == group.deployment.generation {
                true => evacuate::reason(draft.view, replica),
                false if group.deployment.paused => "more than asked for".to_owned(),
                false => format!("generation {} took over", group.deployment.generation),
            };
            draft.steps.push(ending(group, replica, draft.now, &reason));
        }
    }
}

/// Ends one outdated replica of a deployment whose rollout found no room at all, where that makes room.
pub(super) fn make_room(draft: &mut Draft<'_>) {
    let Some(fleet) = &draft.fleet else { return };
    for group in &mut draft.groups {
        let starting = group.kept_current().any(|replica| !draft.view.is_ready(replica));
        if !group.found_no_room || starting || group.is_leaving() || group.deployment.paused {
            continue;
        }
        let Some(victim) = whom_to_replace(draft.view, group, fleet) else { continue };
        group.retired.insert(victim.id);
        draft.steps.push(ending(group, victim, draft.now, ONE_AT_A_TIME));
    }
}

fn whom_to_replace<'a>(view: &super::View<'_>, group: &Group<'a>, fleet: &Fleet<'_>) -> Option<&'a Replica> {
    let ask = Ask::of(group.deployment);
    // Who holds a reserve was promised that nothing falls below what was asked for: its update waits for room.
    let may_fall = !group.deployment.spec.reserve;
    let spare = may_fall && group.ready(view) >= group.deployment.floor();
    // One that stands in and is about to serve is needed as much as one that does.
    let stands_in = |replica: &Replica| group.deployment.stand_in() == Some(replica.generation);
    let is_useless = |replica: &Replica| !replica.is_ready() && !stands_in(replica);
    let may_go = |replica: &Replica| (spare || is_useless(replica)) && !view.may_serve(replica);
    let fits = |replica: &&Replica| {
        may_go(replica) && !group.spared.contains(&replica.id) && fleet.fits_instead_of(&ask, replica)
    };
    group.kept_outdated().filter(fits).min_by_key(|replica| worth(view.state, replica))
}
