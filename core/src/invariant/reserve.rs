//! The reserve, judged: who took a slot, why it was given back, and that no deployment holds more than its share.

use super::{Violation, Witness};
use crate::{
    model::{DeploymentKey, Node, NodeName, NodeState, ReleaseCause, Replica, ReserveSlot, ReserveSpend, SpendCause},
    state::{ClusterState, Command, Entry, Step},
    units::Resources,
};

// === impl Witness ===

impl Witness {
    /// Asks of every slot that is gone who took it, and of every new one whether it is beyond the reserve.
    pub(super) fn reserve(&self, after: &ClusterState, entry: &Entry, found: &mut Vec<Violation>) {
        for slot in self.slots.values() {
            match after.slots.get(&slot.id) {
                Some(now) if (&now.key, now.node, now.resources) == (&slot.key, slot.node, slot.resources) => {}
                Some(_) => found.push(Violation::new("RS01", format!("slot {} changed hands", slot.id))),
                None => found.extend(self.why_gone(after, entry, slot).err().map(|what| Violation::new("RS01", what))),
            }
        }
        for slot in after.slots.values().filter(|slot| !self.slots.contains_key(&slot.id)) {
            let held = after.slots.values().filter(|other| other.key == slot.key).count() as u64;
            let places = held
                + after.replicas.values().filter(|replica| replica.key == slot.key && !replica.lost).count() as u64;
            let Some(deployment) = after.deployments.get(&slot.key) else { continue };
            let count = u64::from(deployment.spec.instance_count);
            // Written as the promise is: 1.2 n, rounded up.
            let most = if deployment.spec.reserve && !deployment.deleting { (count * 6).div_ceil(5) } else { 0 };
            if places > most.max(held) || held > most.saturating_sub(count) {
                let text = format!("{} got slot {} and holds {places} places of {most}", slot.key, slot.id);
                found.push(Violation::new("RS03", text));
            }
        }
    }

    /// Says what took a slot, or what is wrong about it.
    fn why_gone(&self, after: &ClusterState, entry: &Entry, slot: &ReserveSlot) -> Result<(), String> {
        let deployment = after.deployments.get(&slot.key);
        if deployment.is_none_or(|deployment| deployment.deleting) || !after.nodes.contains_key(&slot.node) {
            return Ok(());
        }
        let Command::PlanCommit(plan) = &entry.command else {
            return Err(format!("slot {} of {} vanished with {:?}", slot.id, slot.key, entry.command));
        };
        let spent = after.replicas.values().find_map(|replica| {
            let spend = replica.reserve_spent.as_ref().filter(|spend| spend.slot == slot.id)?;
            (!self.replicas.contains_key(&replica.id)).then_some((replica, spend))
        });
        if let Some((replica, spend)) = spent {
            return self.is_spent_well(slot, replica, spend);
        }
        let cause = plan.steps.iter().find_map(|step| match step {
            Step::ReleaseSlot { slot: id, cause } if *id == slot.id => Some(cause),
            _ => None,
        });
        match cause {
            Some(cause) if self.is_released_well(after, slot, cause) => Ok(()),
            Some(cause) => Err(format!("slot {} of {} was given back: {cause}, which is not so", slot.id, slot.key)),
            None => Err(format!("slot {} of {} is gone and nobody took it", slot.id, slot.key)),
        }
    }

    fn is_spent_well(&self, slot: &ReserveSlot, replica: &Replica, spend: &ReserveSpend) -> Result<(), String> {
        let taker = format!("replica {} took slot {} of {}", replica.id, slot.id, slot.key);
        if replica.key != slot.key || replica.node != slot.node {
            return Err(format!("{taker} for {} on another node or for another deployment", replica.key));
        }
        let mut others = self.replicas.values().filter(|other| other.key == slot.key);
        let replaced = replica.replaces.and_then(|id| self.replicas.get(&id)).filter(|other| other.key == slot.key);
        let node_of = |other: &Replica| self.nodes.get(&other.node);
        let is_on = |other: &Replica, name: &NodeName| node_of(other).is_some_and(|node| node.profile.name == *name);
        let is_so = match &spend.cause {
            SpendCause::RollingUpdate { generation } => {
                *generation == replica.generation && others.any(|other| other.generation < *generation)
            }
            SpendCause::Recovery { node } => {
                // A host that came back with less lost what the difference carried, a broken device what it did.
                replaced.filter(|other| is_on(other, node)).is_some_and(|other| {
                    node_of(other).is_some_and(|node| {
                        node.state == NodeState::Lost
                            || self.holds_too_much(node)
                            || super::step::holds_condemned(node, other)
                    })
                })
            }
            SpendCause::Drain { node } | SpendCause::AgentUpgrade { node } => {
                let is_emptied = |other: &Node| other.drain.is_some();
                replaced.is_some_and(|other| is_on(other, node) && node_of(other).is_some_and(is_emptied))
            }
        };
        if is_so { Ok(()) } else { Err(format!("{taker} for a {}, which there is not", spend.cause)) }
    }

    fn is_released_well(&self, after: &ClusterState, slot: &ReserveSlot, cause: &ReleaseCause) -> bool {
        let Some(deployment) = after.deployments.get(&slot.key) else { return true };
        let held = |key: &DeploymentKey| self.slots.values().filter(|other| other.key == *key).count() as u64;
        let count = u64::from(deployment.spec.instance_count);
        match cause {
            ReleaseCause::NotNeeded => !deployment.spec.reserve || held(&slot.key) + count > (count * 6).div_ceil(5),
            ReleaseCause::OtherSize => {
                let is_other = self.deployments.get(&slot.key).is_none_or(|before| before.spec != deployment.spec);
                is_other || deployment.generation.0 > 1
            }
            ReleaseCause::NodeUnfit => self.nodes.get(&slot.node).is_none_or(|node| {
                let is_open = node.state != NodeState::Lost && !node.cordoned && node.drain.is_none();
                !is_open || self.holds_too_much(node) || !self.devices_are_well(node, slot)
            }),
            ReleaseCause::Moved => self.replicas.values().any(|other| other.key == slot.key && other.node == slot.node),
            ReleaseCause::Yielded { to } => *to != slot.key && after.deployments.contains_key(to),
        }
    }

    fn holds_too_much(&self, node: &Node) -> bool {
        let replicas = self.replicas.values().filter(|other| other.node == node.id).map(|other| other.resources);
        let slots = self.slots.values().filter(|other| other.node == node.id).map(|other| other.resources);
        let held = replicas.chain(slots).fold(Resources::ZERO, |sum, each| sum + each);
        !held.fits(&node.profile.capacity)
    }

    fn devices_are_well(&self, node: &Node, slot: &ReserveSlot) -> bool {
        slot.devices
            .iter()
            .all(|grant| node.profile.devices.iter().any(|device| device.uuid == grant.uuid && device.healthy))
    }
}
