//! Pre-emption and spread, judged: nobody loses what was promised, only the clearly more important gain, and no domain
//! gets more than it may hold.

use std::collections::BTreeMap;

use super::{Violation, Witness};
use crate::{
    model::{Deployment, DeploymentKey, ReleaseCause, Replica, ReplicaState, SpreadBy},
    state::{ClusterState, Command, Entry, Step},
};

/// How much more important a deployment must be. Written down apart from the rule that the state uses.
const GAP: u32 = 10;

// === impl Witness ===

impl Witness {
    /// Looks at every replica that newly ends for another deployment, and at every slot given up for one.
    pub(super) fn preemption(&self, after: &ClusterState, entry: &Entry, found: &mut Vec<Violation>) {
        let mut ended: BTreeMap<&DeploymentKey, Vec<&Replica>> = BTreeMap::new();
        for replica in after.replicas.values() {
            let Some(to) = &replica.made_room_for else { continue };
            if self.replicas.get(&replica.id).is_none_or(|before| before.made_room_for.is_some()) {
                continue;
            }
            if !matches!(entry.command, Command::PlanCommit(_)) {
                found.push(Violation::new("PL12", format!("replica {} made room outside of a plan", replica.id)));
            }
            self.is_owed(after, &replica.key, to, found);
            ended.entry(&replica.key).or_default().push(replica);
        }
        for (key, replicas) in ended {
            self.keeps_minimum(after, key, &replicas, found);
        }
        let Command::PlanCommit(plan) = &entry.command else { return };
        for step in &plan.steps {
            let Step::ReleaseSlot { slot, cause: ReleaseCause::Yielded { to } } = step else { continue };
            let Some(slot) = self.slots.get(slot).filter(|slot| !after.slots.contains_key(&slot.id)) else { continue };
            self.is_owed(after, &slot.key, to, found);
            let promises_all = |deployment: &Deployment| promised(deployment) >= deployment.spec.instance_count.into();
            if after.deployments.get(&slot.key).is_some_and(promises_all) {
                let text = format!("{} gave up slot {} and promises all its instances", slot.key, slot.id);
                found.push(Violation::new("PL11", text));
            }
        }
    }

    /// Counts what shares a domain with every replica that is new.
    pub(super) fn spread(&self, after: &ClusterState, found: &mut Vec<Violation>) {
        for replica in after.replicas.values().filter(|replica| !self.replicas.contains_key(&replica.id)) {
            let Some(deployment) = after.deployments.get(&replica.key) else { continue };
            let is_current = replica.generation == deployment.generation;
            let old = deployment.old_specs.get(&replica.generation).filter(|_| !is_current);
            let spread = old.unwrap_or(&deployment.spec).spread;
            let Some(max) = spread.max_per_domain else { continue };
            let labels = match spread.by {
                SpreadBy::Zone => &["zone"][..],
                SpreadBy::Rack => &["zone", "rack"],
                SpreadBy::Node | SpreadBy::None => &[],
            };
            let shares = |other: &&Replica| {
                let nodes = (after.nodes.get(&other.node), after.nodes.get(&replica.node));
                let (Some(one), Some(two)) = nodes else { return false };
                let same = labels.iter().all(|label| one.profile.labels.get(*label) == two.profile.labels.get(*label));
                let same = if labels.is_empty() { one.id == two.id } else { same };
                same && other.key == replica.key && other.generation == replica.generation && is_standing(other)
            };
            let held = after.replicas.values().filter(shares).count();
            if held > max as usize {
                let text = format!("{} of {} share a domain that may hold {max}", held, replica.key);
                found.push(Violation::new("PL13", text));
            }
        }
    }

    /// Insists that whoever got a place is more important and had not all its instances.
    fn is_owed(&self, after: &ClusterState, key: &DeploymentKey, to: &DeploymentKey, found: &mut Vec<Violation>) {
        let priority = |key| after.deployments.get(key).map(|deployment| deployment.spec.priority);
        let (Some(lower), Some(higher)) = (priority(key), priority(to)) else {
            found.push(Violation::new("PL12", format!("{key} made room for {to}, which does not exist")));
            return;
        };
        if lower + GAP > higher {
            found.push(Violation::new("PL12", format!("{key} ({lower}) made room for {to} ({higher})")));
        }
        let wanted = after.deployments.get(to).filter(|deployment| !deployment.deleting);
        let wanted = wanted.map_or(0, |deployment| u64::from(deployment.spec.instance_count));
        // Those it had and still has: what the same plan gave it came after, and what it gave up itself is missing.
        let keeps = |replica: &&Replica| {
            let stands = |replica: &Replica| replica.key == *to && self.stands(replica);
            stands(replica) && after.replicas.get(&replica.id).is_some_and(stands)
        };
        let has = self.replicas.values().filter(keeps).count() as u64;
        if has >= wanted {
            let text = format!("{key} made room for {to}, which had {has} of {wanted}");
            found.push(Violation::new("PL12", text));
        }
    }

    /// Insists that enough of a deployment stays that made room.
    fn keeps_minimum(&self, after: &ClusterState, key: &DeploymentKey, ended: &[&Replica], found: &mut Vec<Violation>) {
        let minimum = after.deployments.get(key).map_or(0, promised);
        let of = |replica: &&Replica| replica.key == *key && !replica.lost;
        let standing = after.replicas.values().filter(of).filter(|replica| self.stands(replica)).count() as u64;
        let ready = |replica: &&Replica| replica.state == ReplicaState::Serving;
        let serving = after.replicas.values().filter(of).filter(ready).count() as u64;
        let served = |replica: &&&Replica| {
            self.replicas.get(&replica.id).is_some_and(|before| before.state == ReplicaState::Serving)
        };
        let took_any = ended.iter().filter(served).count() > 0;
        if standing < minimum || (took_any && serving < minimum) {
            let text = format!(
                "{key} made room with {} and has {standing} left, {serving} serving, of {minimum} promised",
                ended.len()
            );
            found.push(Violation::new("PL11", text));
        }
    }

    /// Returns whether a replica is on its way to serving or there, and nothing it needs is out.
    pub(super) fn stands(&self, replica: &Replica) -> bool {
        let is_broken = self.nodes.get(&replica.node).is_some_and(|node| super::step::holds_condemned(node, replica));
        is_standing(replica) && !is_broken
    }
}

/// Returns whether a replica is on its way to serving or there, on a node that is not lost.
fn is_standing(replica: &Replica) -> bool {
    let is_wanted = matches!(
        replica.state,
        ReplicaState::Placed
            | ReplicaState::Preparing
            | ReplicaState::Starting
            | ReplicaState::Warm
            | ReplicaState::Serving
    );
    is_wanted && !replica.lost
}

fn promised(deployment: &Deployment) -> u64 {
    let count = deployment.spec.instance_count;
    u64::from(deployment.spec.min_instances.map_or(count, |minimum| minimum.min(count)))
}
