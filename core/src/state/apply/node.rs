//! Nodes: register, silence and return, cordon, forget.

use std::collections::BTreeMap;

use super::{ClusterState, Context, EventSubject, Reply, Severity, cluster::stale_term};
use crate::{
    error::{Code, Error},
    id::{LogIndex, NodeEpoch, NodeId, ReplicaId},
    model::{DrainBy, EndpointName, Node, NodeName, NodeState, ReplicaState},
    state::{NodeTransition, RegisterNode},
    time::Millis,
};

impl ClusterState {
    pub(super) fn node_register(&mut self, cx: &mut Context, register: &RegisterNode) -> Result<Reply, Error> {
        let name = &register.profile.name;
        self.free_name(cx, name, register.node)?;
        let known = self.nodes.get(&register.node);
        let was_lost = known.is_some_and(|node| node.state == NodeState::Lost);
        // The process that is known says something else of itself: nobody came back, so no epoch begins.
        let revised = known.filter(|node| node.epoch == register.held && !was_lost);
        let fresh = || known.map_or(NodeEpoch(1), |node| node.epoch.next()).max(register.epoch_seen.next());
        let epoch = revised.map_or_else(fresh, |node| node.epoch);
        let had = revised.map(|node| node.profile.devices.len());
        if let Some(known) = known {
            self.index.remove_node(known);
        }
        let mut node = Node {
            id: register.node,
            epoch,
            profile: register.profile.clone(),
            state: NodeState::Ready,
            cordoned: known.is_some_and(|node| node.cordoned),
            // Whoever stopped an agent wanted it empty until it is back; what an operator wanted stays.
            drain: known
                .and_then(|node| node.drain.clone())
                .filter(|drain| had.is_some() || drain.by != DrainBy::Agent),
            overfull: false,
            returns: known.map_or(0, |node| node.returns),
            returned_at: known.map_or(cx.now, |node| node.returned_at),
            devices: BTreeMap::new(),
            reason: String::new(),
            since: cx.now,
            revision: cx.index,
        };
        self.devices_register(cx, known, &mut node);
        match revised {
            Some(known) => {
                (node.state, node.since) = (known.state, known.since);
                node.reason.clone_from(&known.reason);
            }
            None => {
                // One that was emptied before it went away did not fail, nor did one whose process was exchanged.
                let is_planned = register.takes_over && !was_lost;
                if !is_planned && known.is_some_and(|node| node.wish() != Some("drained")) {
                    node.count_return(&self.settings, cx.now);
                }
                let hold = node.hold(&self.settings);
                if hold > Millis(0) {
                    node.state = NodeState::Suspect;
                    node.reason =
                        format!("it came back {} times: nothing new before it is heard for {hold}", node.returns);
                }
            }
        }
        self.index_node(&node);
        let beyond = self.beyond_what_it_has(&node);
        node.overfull = beyond.is_some();
        self.nodes.insert(register.node, node);
        if was_lost {
            self.replicas_return(cx, register.node);
        }
        self.touch_routes_of_node(cx, register.node);
        let subject = self.about_node(register.node);
        let (kind, text) = match had {
            Some(had) => (
                "node.changed",
                format!("node {name} reports {} devices, before {had}", register.profile.devices.len()),
            ),
            None => ("node.registered", format!("node {name} registered, epoch {epoch}")),
        };
        cx.event(Severity::Info, kind, subject.clone(), text);
        if let Some(beyond) = beyond {
            let text = format!("node {name} {beyond}: its newest replicas move until the rest fits");
            cx.event(Severity::Warning, "node.overfull", subject, text);
        }
        Ok(Reply::Registered { epoch })
    }

    fn index_node(&mut self, node: &Node) {
        let replicas = self.index.replicas_on(node.id).filter_map(|id| self.replicas.get(&id));
        let slots = self.index.slots_on(node.id).filter_map(|id| self.slots.get(&id));
        let grants = replicas.map(|replica| &replica.devices).chain(slots.map(|slot| &slot.devices));
        let grants: Vec<_> = grants.map(Vec::as_slice).collect();
        self.index.add_node(node, grants);
    }

    /// A name belongs to one node. A lost one gives it up to a host that was set up anew.
    fn free_name(&mut self, cx: &mut Context, name: &NodeName, claimant: NodeId) -> Result<(), Error> {
        let Some(holder) = self.index.node_named(name).filter(|holder| *holder != claimant) else {
            return Ok(());
        };
        if self.nodes.get(&holder).is_some_and(|node| node.state != NodeState::Lost) {
            return Err(Error::new(Code::NodeNameTaken, format!("another live node is called `{name}`"))
                .why(format!("node {} registered under it and is heard from", holder.short()))
                .try_("give this node another name with `--name`"));
        }
        self.remove_node(cx, holder);
        Ok(())
    }

    pub(super) fn node_transition(&mut self, cx: &mut Context, transition: &NodeTransition) -> Result<Reply, Error> {
        if transition.term < self.term {
            return Err(stale_term(transition.term, self.term));
        }
        let settings = self.settings.clone();
        let Some(node) = self.node_mut(transition.node) else {
            return Err(Error::new(Code::NodeNotFound, format!("node {} does not exist", transition.node)));
        };
        if node.epoch != transition.epoch {
            return Err(stale_epoch(transition.epoch, node.epoch));
        }
        if node.state == transition.to {
            return Ok(Reply::Done { revision: node.revision });
        }
        let (from, to) = (node.state, transition.to);
        node.state = to;
        if (from, to) == (NodeState::Suspect, NodeState::Ready) {
            node.count_return(&settings, cx.now);
        }
        node.reason.clone_from(&transition.reason);
        node.since = cx.now;
        node.revision = cx.index;
        let text = format!("node {} is {to}: {}", node.profile.name, transition.reason);
        if to == NodeState::Lost {
            self.replicas_lose(cx, transition.node);
        } else if from == NodeState::Lost {
            self.replicas_return(cx, transition.node);
        }
        self.touch_routes_of_node(cx, transition.node);
        let severity = match to {
            NodeState::Lost => Severity::Error,
            NodeState::Suspect => Severity::Warning,
            NodeState::Ready => Severity::Info,
        };
        let subject = self.about_node(transition.node);
        cx.event(severity, &format!("node.{to}"), subject, text);
        cx.done()
    }

    pub(super) fn node_cordon(&mut self, cx: &mut Context, name: &NodeName, cordoned: bool) -> Result<Reply, Error> {
        let id = self.node_named(name)?.id;
        // Letting replicas come again also withdraws the wish that there be none.
        let is_new = |node: &&mut Node| node.cordoned != cordoned || (!cordoned && node.drain.is_some());
        let Some(node) = self.node_mut(id).filter(is_new) else {
            return Ok(Reply::Done { revision: self.nodes.get(&id).map_or(LogIndex(0), |node| node.revision) });
        };
        node.cordoned = cordoned;
        if !cordoned {
            node.drain = None;
        }
        node.revision = cx.index;
        let subject = self.about_node(id);
        let (kind, text) = match cordoned {
            true => ("node.cordoned", format!("node {name} takes no new replicas")),
            false => ("node.uncordoned", format!("node {name} takes new replicas again")),
        };
        cx.event(Severity::Info, kind, subject, text);
        cx.done()
    }

    pub(super) fn node_forget(&mut self, cx: &mut Context, name: &NodeName) -> Result<Reply, Error> {
        let node = self.node_named(name)?;
        if node.state != NodeState::Lost {
            return Err(Error::new(Code::Transition, format!("node `{name}` is {}", node.state))
                .why("only a lost node can be forgotten")
                .try_("stop its agent and wait until it is lost"));
        }
        let id = node.id;
        self.remove_node(cx, id);
        cx.done()
    }

    fn remove_node(&mut self, cx: &mut Context, id: NodeId) {
        let ids: Vec<ReplicaId> = self.index.replicas_on(id).collect();
        for replica in ids {
            self.remove_replica(cx, replica);
        }
        self.drop_slots_on(cx, id);
        let subject = self.about_node(id);
        if let Some(node) = self.nodes.remove(&id) {
            self.index.remove_node(&node);
            cx.event(Severity::Info, "node.forgotten", subject, format!("node {} was forgotten", node.profile.name));
        }
    }

    fn replicas_lose(&mut self, cx: &Context, node: NodeId) {
        let ids: Vec<ReplicaId> = self.index.replicas_on(node).collect();
        for id in ids {
            if let Some(replica) = self.replicas.get_mut(&id) {
                replica.lost = true;
                replica.revision = cx.index;
            }
        }
    }

    /// What a returning node really runs is not known yet: what served must show itself warm again.
    fn replicas_return(&mut self, cx: &Context, node: NodeId) {
        let ids: Vec<ReplicaId> = self.index.replicas_on(node).collect();
        for id in ids {
            let Some(replica) = self.replicas.get_mut(&id) else {
                continue;
            };
            replica.lost = false;
            replica.revision = cx.index;
            if matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving) {
                replica.state = ReplicaState::Starting;
                replica.since = cx.now;
                "its node returned".clone_into(&mut replica.reason);
            }
        }
    }

    fn touch_routes_of_node(&mut self, cx: &Context, node: NodeId) {
        let mut endpoints: Vec<EndpointName> =
            self.replicas_on(node).map(|replica| replica.key.endpoint.clone()).collect();
        endpoints.dedup();
        for endpoint in &endpoints {
            self.touch_routes(cx, endpoint);
        }
    }

    /// Notes that what a node holds fits into what it has again.
    pub(super) fn relieve_node(&mut self, cx: &mut Context, id: NodeId) {
        let Some(node) = self.nodes.get(&id).filter(|node| node.overfull) else { return };
        let fits = self.beyond_what_it_has(node).is_none();
        let subject = self.about_node(id);
        if fits && let Some(node) = self.node_mut(id) {
            node.overfull = false;
            node.revision = cx.index;
            let text = format!("what node {} holds fits into what it has again", node.profile.name);
            cx.event(Severity::Info, "node.fits", subject, text);
        }
    }

    /// Says by how much what a node holds is more than what it has, as a whole or of one device.
    fn beyond_what_it_has(&self, node: &Node) -> Option<String> {
        let (held, has) = (self.index.held_on(node.id), node.profile.capacity);
        if !held.fits(&has) {
            return Some(format!("has {has} and holds {held}"));
        }
        // A slice is given whole, whatever a driver counts of it.
        let devices = node.profile.devices.iter().filter(|device| device.mig_profile.is_none());
        let mut devices = devices.map(|device| (device, self.index.held_of(node, device)));
        let (device, held_mib) = devices.find(|(device, held_mib)| *held_mib > device.memory_mib)?;
        Some(format!("has {} MiB on device {}, of which {held_mib} MiB are given", device.memory_mib, device.uuid))
    }

    pub(super) fn about_node(&self, id: NodeId) -> EventSubject {
        let node_name = self.nodes.get(&id).map(|node| node.profile.name.clone());
        EventSubject { node: Some(id), node_name, ..EventSubject::default() }
    }
}

/// Says why a node takes nothing new, when it does not.
pub(super) fn unfit(node: &Node) -> Option<&'static str> {
    let word = || if node.overfull { "overfull" } else { node.state.word() };
    (!node.is_schedulable()).then(|| node.wish().unwrap_or_else(word))
}

/// Refuses what an agent that was replaced while it slept sends.
pub(super) fn stale_epoch(epoch: NodeEpoch, current: NodeEpoch) -> Error {
    Error::new(Code::Stale, format!("epoch {epoch} is not the node's")).why(format!("it is at epoch {current}"))
}
