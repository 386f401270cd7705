//! Slots of the reserve, and what uses them up, to and from their stored form.

use berth_core::{
    error::Error,
    id::{Generation, LogIndex, NodeId, SlotId},
    model::{NodeName, ReleaseCause, ReserveSlot, ReserveSpend, SpendCause},
    time::LogTime,
};

use super::{model::key, v1};
use crate::convert::{Wire, all, name, need, wires};

impl Wire<ReserveSlot> for v1::ReserveSlot {
    fn wire(value: &ReserveSlot) -> Self {
        Self {
            id: value.id.0,
            endpoint: value.key.endpoint.to_string(),
            deployment: value.key.deployment.to_string(),
            node: value.node.0,
            resources: Some(Wire::wire(&value.resources)),
            devices: wires(&value.devices),
            reason: value.reason.clone(),
            since_ms: value.since.millis(),
            revision: value.revision.0,
        }
    }

    fn core(self) -> Result<ReserveSlot, Error> {
        Ok(ReserveSlot {
            id: SlotId(self.id),
            key: key(&self.endpoint, &self.deployment)?,
            node: NodeId(self.node),
            resources: need(self.resources, "resources")?.core()?,
            devices: all(self.devices)?,
            reason: self.reason,
            since: LogTime::from_millis(self.since_ms),
            revision: LogIndex(self.revision),
        })
    }
}

impl Wire<ReserveSpend> for v1::ReserveSpend {
    fn wire(value: &ReserveSpend) -> Self {
        use v1::reserve_spend::Cause as C;
        let node = |node: &NodeName| node.to_string();
        let cause = match &value.cause {
            SpendCause::RollingUpdate { generation } => C::RollingUpdate(generation.0),
            SpendCause::Recovery { node: lost } => C::Recovery(node(lost)),
            SpendCause::Drain { node: drained } => C::Drain(node(drained)),
            SpendCause::AgentUpgrade { node: upgraded } => C::AgentUpgrade(node(upgraded)),
        };
        Self { slot: value.slot.0, cause: Some(cause) }
    }

    fn core(self) -> Result<ReserveSpend, Error> {
        use v1::reserve_spend::Cause as C;
        let cause = match need(self.cause, "cause")? {
            C::RollingUpdate(generation) => SpendCause::RollingUpdate { generation: Generation(generation) },
            C::Recovery(node) => SpendCause::Recovery { node: name(&node)? },
            C::Drain(node) => SpendCause::Drain { node: name(&node)? },
            C::AgentUpgrade(node) => SpendCause::AgentUpgrade { node: name(&node)? },
        };
        Ok(ReserveSpend { slot: SlotId(self.slot), cause })
    }
}

/// Writes why a slot is given back.
pub(super) fn release_wire(slot: SlotId, cause: &ReleaseCause) -> v1::ReleaseSlot {
    use v1::release_slot::Cause as C;
    let cause = match cause {
        ReleaseCause::NotNeeded => C::NotNeeded(v1::Unit {}),
        ReleaseCause::OtherSize => C::OtherSize(v1::Unit {}),
        ReleaseCause::NodeUnfit => C::NodeUnfit(v1::Unit {}),
        ReleaseCause::Moved => C::Moved(v1::Unit {}),
        ReleaseCause::Yielded { to } => {
            C::Yielded(v1::YieldedSlot { endpoint: to.endpoint.to_string(), deployment: to.deployment.to_string() })
        }
    };
    v1::ReleaseSlot { slot: slot.0, cause: Some(cause) }
}

/// Reads why a slot is given back.
pub(super) fn release_core(release: v1::ReleaseSlot) -> Result<(SlotId, ReleaseCause), Error> {
    use v1::release_slot::Cause as C;
    let cause = match need(release.cause, "cause")? {
        C::NotNeeded(_) => ReleaseCause::NotNeeded,
        C::OtherSize(_) => ReleaseCause::OtherSize,
        C::NodeUnfit(_) => ReleaseCause::NodeUnfit,
        C::Moved(_) => ReleaseCause::Moved,
        C::Yielded(to) => ReleaseCause::Yielded { to: key(&to.endpoint, &to.deployment)? },
    };
    Ok((SlotId(release.slot), cause))
}
