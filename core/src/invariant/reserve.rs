//! The reserve, judged: who took a slot, why it was given back, and that no deployment holds more than its share.

use super::{Violation, Witness};
use crate::{
    model::{
        DeploymentKey, DeploymentSpec, Device, DeviceGrant, DrainBy, GpuAsk, Node, NodeState, ReleaseCause, Replica,
        ReserveSlot, ReserveSpend, SpendCause,
    },
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
        for replica in after.replicas.values() {
            found.extend(self.is_recorded(after, replica).err().map(|what| Violation::new("RS01", what)));
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

    /// Insists that a replica took a slot that was held and is not any more, and says so as long as it is there.
    fn is_recorded(&self, after: &ClusterState, replica: &Replica) -> Result<(), String> {
        let says = replica.reserve_spent.as_ref();
        match self.replicas.get(&replica.id).map(|before| before.reserve_spent.as_ref()) {
            Some(said) if said != says => Err(format!("replica {} took {said:?} and says {says:?} now", replica.id)),
            Some(_) => Ok(()),
            None => match says
                .filter(|spend| !self.slots.contains_key(&spend.slot) || after.slots.contains_key(&spend.slot))
            {
                Some(spend) => Err(format!("replica {} says it took {spend}, which nobody gave up", replica.id)),
                None => Ok(()),
            },
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
            return self.is_spent_well(after, slot, replica, spend);
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

    fn is_spent_well(
        &self,
        after: &ClusterState,
        slot: &ReserveSlot,
        replica: &Replica,
        spend: &ReserveSpend,
    ) -> Result<(), String> {
        let taker = format!("replica {} took slot {} of {}", replica.id, slot.id, slot.key);
        if replica.key != slot.key || replica.node != slot.node {
            return Err(format!("{taker} for {} on another node or for another deployment", replica.key));
        }
        match self.cause_of(after, replica) {
            Some(cause) if cause == spend.cause => Ok(()),
            Some(cause) => Err(format!("{taker} for a {}, and it was a {cause}", spend.cause)),
            None => Err(format!("{taker} for a {}, which there is not", spend.cause)),
        }
    }

    /// Says for what a new replica may have taken a slot, from the records before it: the one cause there is.
    fn cause_of(&self, after: &ClusterState, replica: &Replica) -> Option<SpendCause> {
        let generation = self.deployments.get(&replica.key)?.generation;
        let Some(replaces) = replica.replaces else {
            let is_old = |other: &Replica| other.generation < generation && self.stands(other);
            // A step of the same plan may have placed the old one, as a stand-in.
            let fresh = after.replicas.values().filter(|other| !self.replicas.contains_key(&other.id));
            let rolls = self.replicas.values().chain(fresh).any(|other| other.key == replica.key && is_old(other));
            let is_new = replica.generation == generation;
            return (rolls && is_new).then_some(SpendCause::RollingUpdate { generation });
        };
        let replaced = self.replicas.get(&replaces).filter(|other| other.key == replica.key)?;
        let before = self.nodes.get(&replaced.node)?;
        // Nobody is stood in for twice.
        let stands_in = |other: &&Replica| other.replaces == Some(replaces) && self.stands(other);
        if after.replicas.values().filter(stands_in).any(|other| other.id != replica.id) {
            return None;
        }
        let node = before.profile.name.clone();
        let is_gone = before.state == NodeState::Lost || super::step::holds_condemned(before, replaced);
        match before.drain.as_ref().map(|drain| drain.by) {
            _ if is_gone => Some(SpendCause::Recovery { node }),
            Some(DrainBy::Operator) => Some(SpendCause::Drain { node }),
            Some(DrainBy::Agent | DrainBy::Upgrade) => Some(SpendCause::AgentUpgrade { node }),
            // A host that came back with less lost what the difference carried.
            None => self.holds_too_much(before).then_some(SpendCause::Recovery { node }),
        }
    }

    fn is_released_well(&self, after: &ClusterState, slot: &ReserveSlot, cause: &ReleaseCause) -> bool {
        let Some(deployment) = after.deployments.get(&slot.key) else { return true };
        let held = |key: &DeploymentKey| self.slots.values().filter(|other| other.key == *key).count() as u64;
        let count = u64::from(deployment.spec.instance_count);
        match cause {
            ReleaseCause::NotNeeded => !deployment.spec.reserve || held(&slot.key) + count > (count * 6).div_ceil(5),
            ReleaseCause::OtherSize => !self.is_asked_for(&deployment.spec, slot),
            ReleaseCause::NodeUnfit => self.nodes.get(&slot.node).is_none_or(|node| {
                let is_open = node.state != NodeState::Lost && !node.cordoned && node.drain.is_none();
                !is_open || self.holds_too_much(node) || !self.devices_are_well(node, slot)
            }),
            ReleaseCause::Moved => self.replicas.values().any(|other| other.key == slot.key && other.node == slot.node),
            ReleaseCause::Yielded { to } => *to != slot.key && after.deployments.contains_key(to),
        }
    }

    /// Returns whether an instance still asks for what a slot holds, where it holds it.
    fn is_asked_for(&self, spec: &DeploymentSpec, slot: &ReserveSlot) -> bool {
        let Some(node) = self.nodes.get(&slot.node) else { return false };
        let known = |grant: &DeviceGrant| node.profile.devices.iter().find(|device| device.uuid == grant.uuid);
        let held: Vec<(&DeviceGrant, &Device)> =
            slot.devices.iter().filter_map(|grant| Some((grant, known(grant)?))).collect();
        let of_model = |device: &Device, model: &Option<String>| match model {
            Some(model) => device.mig_profile.is_none() && device.is_model(model),
            None => device.mig_profile.is_none(),
        };
        let devices_are = match &spec.gpu {
            GpuAsk::None => slot.devices.is_empty(),
            GpuAsk::Whole { .. } if node.profile.devices.is_empty() => slot.devices.is_empty(),
            GpuAsk::Whole { count, model, memory_mib_min } => {
                let is_one = |(grant, device): &(&DeviceGrant, &Device)| {
                    let is_whole = grant.memory_mib.is_none() && device.memory_mib >= *memory_mib_min;
                    is_whole && of_model(device, model)
                };
                slot.devices.len() == *count as usize && held.iter().filter(|one| is_one(one)).count() == held.len()
            }
            GpuAsk::Memory { mib, model } => {
                slot.devices.len() == 1
                    && held.iter().all(|(grant, device)| grant.memory_mib == Some(*mib) && of_model(device, model))
            }
            GpuAsk::Mig { profile, count } => {
                let slices = held.iter().filter(|(_, device)| device.mig_profile.as_ref() == Some(profile));
                slices.count() == *count as usize && slot.devices.len() == *count as usize
            }
        };
        let labels_allow =
            spec.constraints.iter().all(|(name, rule)| rule.allows(node.profile.labels.get(name).map(String::as_str)));
        slot.resources == spec.resources && labels_allow && devices_are && held.len() == slot.devices.len()
    }

    /// Returns whether more is held on a node than it has, as a whole or of one card. A slice is given whole, whatever a
    /// driver counts of it.
    pub(super) fn holds_too_much(&self, node: &Node) -> bool {
        let replicas = self.replicas.values().filter(|other| other.node == node.id);
        let slots = self.slots.values().filter(|other| other.node == node.id);
        let held: Vec<(Resources, &[DeviceGrant])> = replicas
            .map(|other| (other.resources, other.devices.as_slice()))
            .chain(slots.map(|other| (other.resources, other.devices.as_slice())))
            .collect();
        let sum = held.iter().fold(Resources::ZERO, |sum, (each, _)| sum + *each);
        let is_beyond = |device: &Device| {
            let grants = held.iter().flat_map(|(_, grants)| *grants).filter(|grant| grant.uuid == device.uuid);
            let held_mib: u64 = grants.map(|grant| grant.memory_mib.unwrap_or(device.memory_mib)).sum();
            device.mig_profile.is_none() && held_mib > device.memory_mib
        };
        !sum.fits(&node.profile.capacity) || node.profile.devices.iter().any(is_beyond)
    }

    fn devices_are_well(&self, node: &Node, slot: &ReserveSlot) -> bool {
        slot.devices
            .iter()
            .all(|grant| node.profile.devices.iter().any(|device| device.uuid == grant.uuid && device.healthy))
    }
}
