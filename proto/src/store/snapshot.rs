//! The whole state, to and from its stored form.

use berth_core::{
    error::Error,
    id::{LogIndex, NodeId, ReplicaId, Term},
    state::{Event, EventLog, EventSubject, ReplyTable, RouteRevisions, Severity, Snapshot},
    time::LogTime,
};

use super::{model::key, v1};
use crate::convert::{Wire, all, enum_wire, name, need, wires};

enum_wire!(Severity, v1::Severity, Info, Warning, Error);

impl Wire<Snapshot> for v1::Snapshot {
    fn wire(value: &Snapshot) -> Self {
        Self {
            cluster_id: value.cluster_id.clone(),
            applied: value.applied.0,
            time_ms: value.time.millis(),
            term: value.term.0,
            feature_level: value.feature_level,
            endpoints: wires(&value.endpoints),
            deployments: wires(&value.deployments),
            replicas: wires(&value.replicas),
            nodes: wires(&value.nodes),
            assets: wires(&value.assets),
            replies: wires(value.replies.iter()),
            events: wires(value.events.iter()),
            next_event_seq: value.events.next_seq(),
            routes: Some(Wire::wire(&value.routes)),
            settings: Some(Wire::wire(&value.settings)),
            slots: wires(&value.slots),
            upgrade: value.upgrade.as_ref().map(Wire::wire),
            quotas: Some(Wire::wire(&value.quotas)),
            alerts: wires(&value.alerts),
        }
    }

    fn core(self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            cluster_id: self.cluster_id,
            applied: LogIndex(self.applied),
            time: LogTime::from_millis(self.time_ms),
            term: Term(self.term),
            feature_level: self.feature_level,
            endpoints: all(self.endpoints)?,
            deployments: all(self.deployments)?,
            replicas: all(self.replicas)?,
            slots: all(self.slots)?,
            nodes: all(self.nodes)?,
            settings: need(self.settings, "settings")?.core()?,
            upgrade: self.upgrade.map(Wire::core).transpose()?,
            quotas: self.quotas.unwrap_or_default().core()?,
            alerts: all(self.alerts)?,
            assets: all(self.assets)?,
            replies: ReplyTable::restore(all(self.replies)?),
            events: EventLog::restore(all::<_, Event>(self.events)?, self.next_event_seq),
            routes: self.routes.unwrap_or_default().core()?,
        })
    }
}

impl Wire<Event> for v1::Event {
    fn wire(value: &Event) -> Self {
        Self {
            seq: value.seq,
            index: value.index.0,
            at_ms: value.at.millis(),
            severity: i32::wire(&value.severity),
            kind: value.kind.clone(),
            subject: Some(Wire::wire(&value.subject)),
            text: value.text.clone(),
        }
    }

    fn core(self) -> Result<Event, Error> {
        Ok(Event {
            seq: self.seq,
            index: LogIndex(self.index),
            at: LogTime::from_millis(self.at_ms),
            severity: self.severity.core()?,
            kind: self.kind,
            subject: need(self.subject, "subject")?.core()?,
            text: self.text,
        })
    }
}

impl Wire<EventSubject> for v1::EventSubject {
    fn wire(value: &EventSubject) -> Self {
        let deployment = value.deployment.as_ref();
        Self {
            endpoint: value.endpoint.as_ref().map(ToString::to_string),
            deployment: deployment.map(|key| key.deployment.to_string()),
            deployment_endpoint: deployment.map(|key| key.endpoint.to_string()),
            replica: value.replica.map(|id| id.0),
            node: value.node.map(|id| id.0),
            node_name: value.node_name.as_ref().map(ToString::to_string),
        }
    }

    fn core(self) -> Result<EventSubject, Error> {
        let deployment = match (self.deployment_endpoint, self.deployment) {
            (Some(endpoint), Some(deployment)) => Some(key(&endpoint, &deployment)?),
            _ => None,
        };
        Ok(EventSubject {
            endpoint: self.endpoint.as_deref().map(name).transpose()?,
            deployment,
            replica: self.replica.map(ReplicaId),
            node: self.node.map(NodeId),
            node_name: self.node_name.as_deref().map(name).transpose()?,
        })
    }
}

impl Wire<RouteRevisions> for v1::RouteRevisions {
    fn wire(value: &RouteRevisions) -> Self {
        let revision = |(name, at): (&berth_core::model::EndpointName, LogIndex)| v1::EndpointRevision {
            endpoint: name.to_string(),
            revision: at.0,
        };
        Self {
            version: value.version().0,
            floor: value.floor().0,
            endpoints: value.endpoints().map(revision).collect(),
            tombstones: value.tombstones().map(|(at, name)| revision((name, at))).collect(),
        }
    }

    fn core(self) -> Result<RouteRevisions, Error> {
        let read = |list: Vec<v1::EndpointRevision>| {
            list.into_iter()
                .map(|item| Ok((name(&item.endpoint)?, LogIndex(item.revision))))
                .collect::<Result<Vec<_>, Error>>()
        };
        let endpoints = read(self.endpoints)?.into_iter().collect();
        let tombstones = read(self.tombstones)?.into_iter().map(|(name, at)| (at, name));
        Ok(RouteRevisions::restore(LogIndex(self.version), LogIndex(self.floor), endpoints, tombstones))
    }
}
