//! The cluster itself: its name, its leader, what its members understand.

use super::{ClusterState, Context, EventSubject, Reply, Severity, check_revision};
use crate::{
    error::{Code, Error},
    id::{LogIndex, MemberId, Term},
    model::{Settings, SettingsChange},
};

impl ClusterState {
    pub(super) fn cluster_init(&mut self, cx: &mut Context, cluster_id: &str) -> Result<Reply, Error> {
        if self.cluster_id.is_empty() {
            cluster_id.clone_into(&mut self.cluster_id);
            cx.event(
                Severity::Info,
                "cluster.created",
                EventSubject::default(),
                format!("cluster {cluster_id} was created"),
            );
        }
        cx.done()
    }

    pub(super) fn feature_level_raise(&mut self, cx: &mut Context, level: u32) -> Result<Reply, Error> {
        // Every member must come to the same state. One that does not know the level stops before it gets here.
        if level > self.feature_level {
            self.feature_level = level;
            let text = format!("every coordinator understands feature level {level}");
            cx.event(Severity::Info, "cluster.feature_level", EventSubject::default(), text);
        }
        cx.done()
    }

    pub(super) fn settings_set(
        &mut self,
        cx: &mut Context,
        change: &SettingsChange,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        check_revision("the cluster's settings", self.settings.revision, if_revision)?;
        let next = self.settings.with(change)?;
        if next == self.settings {
            return Ok(Reply::Done { revision: self.settings.revision });
        }
        self.settings = Settings { revision: cx.index, ..next };
        let Settings { suspect_after, lost_after, restart_grace, brake_percent, brake_floor, .. } = self.settings;
        let text = format!(
            "a node is suspect after {suspect_after}, lost after {lost_after}, a crashed agent replaced after \
             {restart_grace}; the brake holds beyond {brake_floor} nodes and {brake_percent} %"
        );
        cx.event(Severity::Info, "cluster.settings", EventSubject::default(), text);
        cx.done()
    }

    pub(super) fn leader_established(
        &mut self,
        cx: &mut Context,
        term: Term,
        member: MemberId,
    ) -> Result<Reply, Error> {
        if term < self.term {
            return Err(stale_term(term, self.term));
        }
        self.term = term;
        cx.event(
            Severity::Info,
            "cluster.leader",
            EventSubject::default(),
            format!("coordinator {} leads in term {term}", member.short()),
        );
        cx.done()
    }
}

/// Refuses what a deposed leader proposed.
pub(super) fn stale_term(term: Term, current: Term) -> Error {
    Error::new(Code::Stale, format!("term {term} is over")).why(format!("the cluster is in term {current}"))
}
