//! Devices: what the leader makes of a card, and what becomes of a card its node no longer speaks of.
//!
//! A condition is a card's: a fault takes every slice of it along. It lies beside the profile, because a node that
//! registers again says what it has, not how far it is to be trusted.

use super::{ClusterState, Context, Reply, Severity, cluster::stale_term, node::stale_epoch};
use crate::{
    error::{Code, Error},
    id::NodeId,
    model::{Device, DeviceCondition, DeviceState, Node, NodeProfile},
    state::DeviceTransition,
};

/// Why a card is out that its node does not report any more.
const NOT_REPORTED: &str = "its node no longer reports it";

impl ClusterState {
    pub(super) fn device_transition(
        &mut self,
        cx: &mut Context,
        transition: &DeviceTransition,
    ) -> Result<Reply, Error> {
        let DeviceTransition { term, node: id, epoch, card, to, reason, faults } = transition;
        if *term < self.term {
            return Err(stale_term(*term, self.term));
        }
        let (subject, settings) = (self.about_node(*id), self.settings.clone());
        let Some(node) = self.node_mut(*id) else {
            return Err(Error::new(Code::NodeNotFound, format!("node {id} does not exist")));
        };
        if node.epoch != *epoch {
            return Err(stale_epoch(*epoch, node.epoch));
        }
        let Some(device) = node.profile.devices.iter().find(|device| device.card() == card) else {
            return Err(Error::new(Code::DeviceNotFound, format!("node {} has no GPU {card}", node.profile.name)));
        };
        let named = format!("GPU {card} ({}) of {}", device.model, node.profile.name);
        let Some(to) = *to else {
            cx.event(Severity::Warning, "device.note", subject, format!("{named}: {reason}"));
            return cx.done();
        };
        let mut condition = node.devices.get(card).cloned().unwrap_or_default();
        let is_known = (condition.epoch, condition.faults) >= (*epoch, *faults);
        let is_there = condition.state == to || (to.is_condemned() && condition.state.is_condemned());
        if is_there && is_known {
            return Ok(Reply::Done { revision: node.revision });
        }
        condition.enter(&settings, to, reason, (*epoch, *faults), cx.now);
        let state = condition.state;
        node.devices.insert(card.clone(), condition);
        node.mark_devices();
        node.revision = cx.index;
        let severity = match state {
            DeviceState::Healthy => Severity::Info,
            DeviceState::Unknown => Severity::Warning,
            DeviceState::Probation | DeviceState::Failed => Severity::Error,
        };
        let is = if state == DeviceState::Probation { "on probation" } else { state.word() };
        cx.event(severity, &format!("device.{state}"), subject, format!("{named} is {is}: {reason}"));
        cx.done()
    }

    /// Takes over what was known of a node's cards when it registers anew. A device that replicas still hold and that is
    /// no longer reported stays on the books, condemned, until they have left it.
    pub(super) fn devices_register(&self, cx: &Context, known: Option<&Node>, node: &mut Node) {
        if let Some(known) = known {
            node.devices.clone_from(&known.devices);
            let held = self.held_devices(node.id);
            for gone in known.profile.devices.iter().filter(|device| held.contains(&device.uuid.as_str())) {
                if node.profile.devices.iter().any(|device| device.uuid == gone.uuid) {
                    continue;
                }
                node.profile.devices.push(gone.clone());
                node.profile.capacity.gpus += u64::from(gone.mig_profile.is_none());
                let condition = node.devices.entry(gone.card().to_owned()).or_default();
                if !condition.state.is_condemned() {
                    condition.enter(&self.settings, DeviceState::Probation, NOT_REPORTED, (node.epoch, 0), cx.now);
                }
            }
        }
        let cards: Vec<&str> = node.profile.devices.iter().map(Device::card).collect();
        node.devices.retain(|card, _| cards.contains(&card.as_str()));
        node.mark_devices();
    }

    fn held_devices(&self, node: NodeId) -> Vec<&str> {
        let by_replicas = self.replicas_on(node).flat_map(|replica| &replica.devices);
        let by_slots = self.slots_on(node).flat_map(|slot| &slot.devices);
        by_replicas.chain(by_slots).map(|grant| grant.uuid.as_str()).collect()
    }
}

// === impl NodeProfile ===

impl NodeProfile {
    /// Returns whether `said`, of a node that is back on another connection, is what this profile was made of. Which
    /// devices take new work is the cluster's word, and so are those that stay because they are held.
    pub fn is_of(&self, said: &Self) -> bool {
        let plain = |profile: &Self| {
            let mut plain = profile.clone();
            plain.devices.clear();
            plain.capacity.gpus = 0;
            plain
        };
        let same =
            |a: &Device, b: &Device| Device { healthy: true, ..a.clone() } == Device { healthy: true, ..b.clone() };
        let known = |device: &Device| said.devices.iter().any(|other| same(device, other));
        plain(self) == plain(said)
            && said.devices.iter().all(|device| self.devices.iter().any(|other| same(device, other)))
            && self.devices.iter().all(|device| known(device) || !device.healthy)
    }
}

// === impl DeviceCondition ===

impl DeviceCondition {
    /// Returns the sentence people read: `on probation since …` without its time.
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.state, self.reason)
    }
}
