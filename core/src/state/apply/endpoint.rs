//! Endpoints: create, change, keys, traffic, delete.

use super::{ClusterState, Context, EventSubject, Reply, Severity, check_revision};
use crate::{
    error::{Code, Error, Problems},
    id::LogIndex,
    model::{Endpoint, EndpointKeys, EndpointName, EndpointSpec, ProjectName, Traffic},
    state::PutMode,
};

impl ClusterState {
    pub(super) fn endpoint_put(
        &mut self,
        cx: &mut Context,
        name: &EndpointName,
        (spec, project): (&EndpointSpec, Option<&ProjectName>),
        keys: &EndpointKeys,
        mode: PutMode,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        let Some(endpoint) = self.endpoints.get(name) else {
            return self.endpoint_create(cx, name, (spec, project), keys, mode, if_revision);
        };
        if mode == PutMode::Create {
            return Err(Error::new(Code::AlreadyExists, format!("endpoint `{name}` already exists"))
                .try_("change it with `berth endpoint update`, or pick another name"));
        }
        check_revision(&format!("endpoint `{name}`"), endpoint.revision, if_revision)?;
        let moves_to = project.filter(|project| **project != endpoint.project);
        if endpoint.spec == *spec && moves_to.is_none() {
            return Ok(Reply::Done { revision: endpoint.revision });
        }
        if let Some(project) = moves_to {
            self.admit_move(name, project)?;
        }
        let mut text = format!("endpoint {name} was changed");
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            spec.clone_into(&mut endpoint.spec);
            endpoint.revision = cx.index;
            if let Some(project) = moves_to {
                text = format!("endpoint {name} went from project {} to {project}", endpoint.project);
                project.clone_into(&mut endpoint.project);
            }
        }
        if moves_to.is_some() {
            let keys: Vec<_> = self.index.deployments_of(name).cloned().collect();
            keys.iter().for_each(|key| self.recharge(cx, key));
        }
        self.touch_routes(cx, name);
        cx.event(Severity::Info, "endpoint.changed", about(name), text);
        self.alerts_of_changed(cx, name);
        cx.done()
    }

    fn endpoint_create(
        &mut self,
        cx: &mut Context,
        name: &EndpointName,
        (spec, project): (&EndpointSpec, Option<&ProjectName>),
        keys: &EndpointKeys,
        mode: PutMode,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        if mode == PutMode::Update || if_revision.is_some_and(|revision| revision != LogIndex(0)) {
            return Err(self.endpoint(name).err().unwrap_or_else(|| Error::new(Code::EndpointNotFound, name.as_str())));
        }
        let endpoint = Endpoint {
            name: name.clone(),
            project: project.cloned().unwrap_or_default(),
            spec: spec.clone(),
            keys: keys.clone(),
            traffic: Traffic::default(),
            mirror: Traffic::default(),
            created_at: cx.now,
            revision: cx.index,
        };
        self.endpoints.insert(name.clone(), endpoint);
        self.touch_routes(cx, name);
        cx.event(Severity::Info, "endpoint.created", about(name), format!("endpoint {name} was created"));
        cx.done()
    }

    pub(super) fn endpoint_keys_put(
        &mut self,
        cx: &mut Context,
        name: &EndpointName,
        keys: &EndpointKeys,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        check_revision(&format!("endpoint `{name}`"), self.endpoint(name)?.revision, if_revision)?;
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            keys.clone_into(&mut endpoint.keys);
            endpoint.revision = cx.index;
        }
        self.touch_routes(cx, name);
        cx.event(Severity::Info, "endpoint.keys", about(name), format!("a key of endpoint {name} was changed"));
        cx.done()
    }

    pub(super) fn endpoint_delete(
        &mut self,
        cx: &mut Context,
        name: &EndpointName,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        check_revision(&format!("endpoint `{name}`"), self.endpoint(name)?.revision, if_revision)?;
        self.endpoints.remove(name);
        self.routes.remove(name, cx.index);
        let keys: Vec<_> = self.index.deployments_of(name).cloned().collect();
        for key in keys {
            self.deployment_begin_delete(cx, &key);
        }
        cx.event(Severity::Info, "endpoint.deleted", about(name), format!("endpoint {name} was deleted"));
        self.alerts_of_changed(cx, name);
        cx.done()
    }

    pub(super) fn traffic_set(
        &mut self,
        cx: &mut Context,
        name: &EndpointName,
        (split, mirror, strict_azure): (Option<&Traffic>, Option<&Traffic>, bool),
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        let endpoint = self.endpoint(name)?;
        check_revision(&format!("endpoint `{name}`"), endpoint.revision, if_revision)?;
        let mut problems = Problems::default();
        let exists = |deployment: &crate::model::DeploymentName| {
            let key = crate::model::DeploymentKey::new(name.clone(), deployment.clone());
            self.deployments.get(&key).is_some_and(|deployment| !deployment.deleting)
        };
        if let Some(split) = split {
            split.check_split(exists, &mut problems);
        }
        if let Some(mirror) = mirror {
            mirror.check_mirror(exists, &mut problems);
        }
        let split = split.map_or_else(|| endpoint.traffic.clone(), |split| split.clone().normalised());
        let mirror = mirror.map_or_else(|| endpoint.mirror.clone(), |mirror| mirror.clone().normalised());
        if strict_azure {
            mirror.check_as_azure(&split, &mut problems);
            if endpoint.spec.mirror_rules.pinned && !mirror.0.is_empty() {
                let what = "requests that name their deployment are copied too, and Azure does not";
                problems.add_try("mirror_settings.pinned", what, "set it to false, or leave out --strict-azure");
            }
        }
        problems.into_result(Code::Traffic, &format!("the traffic of endpoint `{name}`"))?;
        if endpoint.traffic == split && endpoint.mirror == mirror {
            return Ok(Reply::Done { revision: endpoint.revision });
        }
        let text = format!("endpoint {name} sends {} and mirrors {}", shares(&split), shares(&mirror));
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            endpoint.traffic = split;
            endpoint.mirror = mirror;
            endpoint.revision = cx.index;
        }
        self.touch_routes(cx, name);
        cx.event(Severity::Info, "endpoint.traffic", about(name), text);
        cx.done()
    }
}

fn about(name: &EndpointName) -> EventSubject {
    EventSubject { endpoint: Some(name.clone()), ..EventSubject::default() }
}

/// Writes shares as people type them: `blue=90 green=10`, or `nothing`.
fn shares(traffic: &Traffic) -> String {
    let parts: Vec<_> = traffic.0.iter().map(|(name, percent)| format!("{name}={percent}")).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(" ") }
}
