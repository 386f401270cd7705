//! Applying an entry: one arm per command, one file per noun.

mod alert;
mod asset;
mod cluster;
mod deployment;
mod device;
mod drain;
mod endpoint;
mod node;
mod plan;
mod preempt;
mod quota;
mod replica;
mod reserve;
mod spread;
mod upgrade;

pub use plan::ONE_AT_A_TIME;

use super::{Applied, ClusterState, Command, Entry, Event, EventSubject, Reply, ReplyRecord, Severity};
use crate::{
    error::{Code, Error},
    id::LogIndex,
    model::EndpointName,
    time::LogTime,
};

/// What an arm works with beside the state: who and when, and the events it leaves.
struct Context {
    index: LogIndex,
    now: LogTime,
    events: Vec<Event>,
}

// === impl ClusterState ===

impl ClusterState {
    /// Applies the entry at `index`. A refusal changes nothing but the time, the position and the reply table.
    pub fn apply(&mut self, index: LogIndex, entry: &Entry) -> Applied {
        self.applied = index;
        self.time = self.time.max(entry.proposed_at);
        if let Some(reply) = self.known_reply(entry) {
            return Applied { reply, events: Vec::new() };
        }
        let mut context = Context { index, now: self.time, events: Vec::new() };
        let reply = entry
            .command
            .check_level(self.feature_level)
            .and_then(|()| self.dispatch(&mut context, &entry.command))
            .unwrap_or_else(Reply::Refused);
        self.index.settle(&self.nodes);
        if let Some(request_id) = &entry.request_id {
            self.replies.insert(ReplyRecord {
                request_id: request_id.clone(),
                fingerprint: entry.fingerprint,
                index,
                reply: reply.clone(),
            });
        }
        let events = context.events.into_iter().map(|event| self.events.push(event)).collect();
        Applied { reply, events }
    }

    fn known_reply(&self, entry: &Entry) -> Option<Reply> {
        let record = self.replies.get(entry.request_id.as_ref()?)?;
        if record.fingerprint == entry.fingerprint {
            return Some(record.reply.clone());
        }
        let error = Error::new(
            Code::RequestIdReused,
            format!("request id `{}` was used for another request", record.request_id),
        )
        .try_("use a fresh request id for every new request");
        Some(Reply::Refused(error))
    }

    fn dispatch(&mut self, cx: &mut Context, command: &Command) -> Result<Reply, Error> {
        match command {
            Command::ClusterInit { cluster_id } => self.cluster_init(cx, cluster_id),
            Command::LeaderEstablished { term, member } => self.leader_established(cx, *term, *member),
            Command::FeatureLevelRaise { level } => self.feature_level_raise(cx, *level),
            Command::EndpointPut { name, spec, project, keys, mode, if_revision } => {
                self.endpoint_put(cx, name, (spec, project.as_ref()), keys, *mode, *if_revision)
            }
            Command::EndpointKeysPut { name, keys, if_revision } => {
                self.endpoint_keys_put(cx, name, keys, *if_revision)
            }
            Command::EndpointDelete { name, if_revision } => self.endpoint_delete(cx, name, *if_revision),
            Command::TrafficSet { endpoint, split, mirror, strict_azure, if_revision } => {
                self.traffic_set(cx, endpoint, (split.as_ref(), mirror.as_ref(), *strict_azure), *if_revision)
            }
            Command::DeploymentPut { key, spec, mode, if_revision } => {
                self.deployment_put(cx, key, spec, *mode, *if_revision)
            }
            Command::DeploymentScale { key, instance_count, if_revision } => {
                self.deployment_scale(cx, key, *instance_count, *if_revision)
            }
            Command::DeploymentPause { key, paused, if_revision } => {
                self.deployment_pause(cx, key, *paused, *if_revision)
            }
            Command::DeploymentRestart { key, if_revision } => self.deployment_restart(cx, key, *if_revision),
            Command::ReplicaReplace { replica, within } => self.replica_replace(cx, *replica, *within),
            Command::DeploymentDelete { key, if_revision } => self.deployment_delete(cx, key, *if_revision),
            Command::NodeRegister(register) => self.node_register(cx, register),
            Command::NodeTransition(transition) => self.node_transition(cx, transition),
            Command::DeviceTransition(transition) => self.device_transition(cx, transition),
            Command::NodeCordon { name, cordoned } => self.node_cordon(cx, name, *cordoned),
            Command::NodeDrain { name, wish } => self.node_drain(cx, name, wish.as_ref()),
            Command::UpgradeLock { holder, within, steal } => self.upgrade_lock(cx, holder, *within, *steal),
            Command::QuotaSet { project, limits, if_revision } => self.quota_set(cx, project, limits, *if_revision),
            Command::PoolSet { amounts, if_revision } => self.pool_set(cx, amounts, *if_revision),
            Command::QuotaLend { loan, project, family, milli, within } => {
                self.quota_lend(cx, *loan, project, *family, *milli, *within)
            }
            Command::QuotaReturn { loan } => self.quota_return(cx, *loan),
            Command::LoansExpire { term, loans } => self.loans_expire(cx, *term, loans),
            Command::SettingsSet { change, if_revision } => self.settings_set(cx, change, *if_revision),
            Command::NodeForget { name } => self.node_forget(cx, name),
            Command::ReplicaReports { node, epoch, reports } => self.replica_reports(cx, *node, *epoch, reports),
            Command::PlanCommit(plan) => self.plan_commit(cx, plan),
            Command::AlertsChange { term, changes } => self.alerts_change(cx, *term, changes),
            Command::AlertsTold { term, told } => self.alerts_told(cx, *term, told),
            Command::AssetCommit { digest, size_bytes, holders } => {
                self.asset_commit(cx, *digest, *size_bytes, holders)
            }
            Command::AssetExpire { digests } => self.asset_expire(cx, digests),
        }
    }

    /// Marks the routes of an endpoint as changed by this entry.
    fn touch_routes(&mut self, cx: &Context, endpoint: &EndpointName) {
        if self.endpoints.contains_key(endpoint) {
            self.routes.touch(endpoint, cx.index);
        }
    }
}

// === impl Context ===

impl Context {
    fn done(&self) -> Result<Reply, Error> {
        Ok(Reply::Done { revision: self.index })
    }

    fn event(&mut self, severity: Severity, kind: &str, subject: EventSubject, text: impl Into<String>) {
        self.events.push(Event {
            seq: 0,
            index: self.index,
            at: self.now,
            severity,
            kind: kind.to_owned(),
            subject,
            text: text.into(),
        });
    }
}

/// Refuses a write to an object that changed since it was read.
fn check_revision(what: &str, at: LogIndex, if_revision: Option<LogIndex>) -> Result<(), Error> {
    match if_revision {
        Some(wanted) if wanted != at => Err(Error::new(Code::Revision, format!("{what} has changed"))
            .why(format!("it is at revision {at}, the request was made for {wanted}"))
            .try_("read it again and repeat the change")),
        _ => Ok(()),
    }
}
