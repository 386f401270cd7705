//! What-if on the wire: what is asked, and what would happen.

use std::collections::BTreeMap;

use berth_core::{
    error::{Code, Error, Problem},
    model::{DeploymentKey, EndpointName, NodeName, ProjectName, Traffic},
    state::ClusterState,
    whatif::{Change, Counts, DeploymentOutcome, NodeTotals, Outcome, Question, Taken},
};
use serde::Serialize;

use super::{deployment_spec, endpoint_spec, traffic, traffic_message, v1, verdict_message};
use crate::convert::Wire;

/// Characters of a value in a difference. A conda file need not be read twice.
const VALUE_CHARS_MAX: usize = 120;

/// Reads what is asked, and reports everything that is wrong with it.
pub fn plan_question(wire: &v1::PlanRequest) -> Result<Question, Error> {
    let mut changes = Vec::new();
    let mut refused: Vec<(String, Error)> = Vec::new();
    let mut take = |field: String, change: Result<Change, Error>| match change {
        Ok(change) => changes.push(change),
        Err(error) => refused.push((field, error)),
    };
    for (at, put) in wire.endpoints.iter().enumerate() {
        take(format!("endpoints[{at}]"), put_endpoint(put));
    }
    for (at, put) in wire.deployments.iter().enumerate() {
        take(format!("deployments[{at}]"), put_deployment(put));
    }
    for (at, set) in wire.traffic.iter().enumerate() {
        take(format!("traffic[{at}]"), set_traffic(set));
    }
    for (at, text) in wire.add.iter().enumerate() {
        take(format!("add[{at}]"), text.parse().map(Change::Add));
    }
    for (at, text) in wire.spike.iter().enumerate() {
        take(format!("spike[{at}]"), Change::spike(text));
    }
    for (at, name) in wire.drain.iter().enumerate() {
        take(format!("drain[{at}]"), node(name).map(Change::Drain));
    }
    for (at, name) in wire.lose.iter().enumerate() {
        take(format!("lose[{at}]"), node(name).map(Change::Lose));
    }
    match refused.len() {
        0 => Ok(Question::of(changes)),
        // One refusal speaks for itself.
        1 => Err(refused.remove(0).1),
        count => {
            let mut problems = Vec::new();
            for (field, Error { what, why, try_, problems: more, .. }) in refused {
                let what = if why.is_empty() { what } else { format!("{what}: {why}") };
                problems.push(Problem { field, what, try_ });
                problems.extend(more);
            }
            Err(Error { problems, ..Error::new(Code::Invalid, format!("the question has {count} problems")) })
        }
    }
}

/// Tells what a question's files change, object by object, by what is there now.
pub fn plan_changes(state: &ClusterState, question: &Question) -> Vec<v1::ObjectChange> {
    question.first.iter().filter_map(|change| object_change(state, change)).collect()
}

/// Shows what would happen.
pub fn plan_report(
    question: &Question,
    changes: Vec<v1::ObjectChange>,
    outcome: &Outcome,
    check_index: u64,
) -> v1::PlanReport {
    v1::PlanReport {
        check_index,
        changes,
        keeps_minimum: outcome.keeps(),
        deployments: outcome.deployments.iter().map(forecast).collect(),
        endpoints: outcome
            .endpoints
            .iter()
            .map(|it| v1::EndpointForecast {
                endpoint: it.name.to_string(),
                keeps_minimum: it.keeps,
                why: it.why.clone(),
            })
            .collect(),
        drains: outcome
            .drains
            .iter()
            .map(|it| v1::DrainForecast { node: it.node.to_string(), empty_in: it.empty_in, replicas_left: it.left })
            .collect(),
        nodes_before: Some(totals(&outcome.before)),
        nodes_after: Some(totals(&outcome.after)),
        rounds: outcome.rounds,
        steps: outcome.steps.iter().map(step).collect(),
        steps_dropped: outcome.steps_dropped,
        notes: outcome.notes.clone(),
        asked: question.first.iter().chain(&question.then).map(ToString::to_string).collect(),
    }
}

fn put_endpoint(put: &v1::PutEndpointRequest) -> Result<Change, Error> {
    let (name, spec) = (endpoint(&put.name)?, endpoint_spec(put.spec.clone())?);
    Ok(Change::PutEndpoint { name, spec, project: super::project_of(&put.project)? })
}

fn put_deployment(put: &v1::PutDeploymentRequest) -> Result<Change, Error> {
    let key: DeploymentKey = format!("{}/{}", put.endpoint, put.name).parse().map_err(invalid)?;
    Ok(Change::PutDeployment { key, spec: Box::new(deployment_spec(put.spec.clone())?) })
}

fn set_traffic(set: &v1::SetTrafficRequest) -> Result<Change, Error> {
    let read = |map: &Option<v1::TrafficMap>| map.clone().map(traffic).transpose();
    Ok(Change::SetTraffic { endpoint: endpoint(&set.endpoint)?, split: read(&set.split)?, mirror: read(&set.mirror)? })
}

fn endpoint(text: &str) -> Result<EndpointName, Error> {
    EndpointName::new(text).map_err(invalid)
}

fn node(text: &str) -> Result<NodeName, Error> {
    NodeName::new(text).map_err(invalid)
}

fn invalid(error: impl ToString) -> Error {
    Error::new(Code::Invalid, error.to_string())
}

fn object_change(state: &ClusterState, change: &Change) -> Option<v1::ObjectChange> {
    let told = |noun: &str, name: String, revision: Option<u64>, fields: Vec<v1::FieldChange>| {
        let action = match revision {
            None => "create",
            Some(_) if fields.is_empty() => "none",
            Some(_) => "change",
        };
        let (noun, action, revision) = (noun.to_owned(), action.to_owned(), revision.unwrap_or(0));
        v1::ObjectChange { noun, name, action, fields, revision, ..Default::default() }
    };
    match change {
        Change::PutEndpoint { name, spec, project } => {
            let old = state.endpoints.get(name);
            let mut fields =
                difference(old.map(|it| super::endpoint_spec_message(&it.spec)), super::endpoint_spec_message(spec));
            if let Some(project) = project {
                let named = |project: &ProjectName| BTreeMap::from([("project", project.to_string())]);
                fields.extend(difference(old.map(|it| named(&it.project)), named(project)));
            }
            Some(told("endpoint", name.to_string(), old.map(|it| it.revision.0), fields))
        }
        Change::PutDeployment { key, spec } => {
            let old = state.deployments.get(key);
            let before = old.map(|it| super::deployment_spec_message(&it.spec));
            let fields = difference(before, super::deployment_spec_message(spec));
            let mut told = told("deployment", key.to_string(), old.map(|it| it.revision.0), fields);
            told.needs_new_replicas = old.is_some_and(|it| it.spec.differs_beyond_count(spec));
            let missing = spec.assets().filter(|asset| !state.assets.contains_key(&asset.digest));
            told.upload_bytes = missing.map(|asset| asset.size_bytes).sum();
            Some(told)
        }
        Change::SetTraffic { endpoint, split, mirror } => {
            let old = state.endpoints.get(endpoint);
            let mut fields = Vec::new();
            for (word, now, next) in
                [("traffic", old.map(|it| &it.traffic), split), ("mirror_traffic", old.map(|it| &it.mirror), mirror)]
            {
                let Some(next) = next else { continue };
                let shares = |traffic: &Traffic| traffic_message(&traffic.clone().normalised()).percent;
                let named = |shares: BTreeMap<String, u32>| BTreeMap::from([(word.to_owned(), shares)]);
                fields.extend(difference(now.map(shares).map(named), named(shares(next))));
            }
            let revision = old.map_or(0, |it| it.revision.0);
            Some(told("traffic", endpoint.to_string(), Some(revision), fields))
        }
        Change::Scale { .. }
        | Change::Delete { .. }
        | Change::Spike { .. }
        | Change::Add(_)
        | Change::Drain(_)
        | Change::Lose(_) => None,
    }
}

/// Lists the fields in which two messages differ, by their JSON: what people write is what they compare.
fn difference<T: Serialize>(old: Option<T>, new: T) -> Vec<v1::FieldChange> {
    let (old, new) = (old.map(flat).unwrap_or_default(), flat(new));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |map: &BTreeMap<String, String>, name: &str| map.get(name).cloned().unwrap_or_default();
    let pairs = names.into_iter().map(|name| (name, value(&old, name), value(&new, name)));
    let differing = pairs.filter(|(_, old, new)| old != new);
    differing
        .map(|(name, old, new)| v1::FieldChange { field: name.clone(), old: clipped(&old), new: clipped(&new) })
        .collect()
}

/// Lists every value of a message by its path. What is empty is not there.
fn flat<T: Serialize>(message: T) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), serde_json::to_value(message).unwrap_or_default())];
    while let Some((path, value)) = open.pop() {
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            serde_json::Value::Object(map) => open.extend(map.into_iter().map(|(key, value)| (join(&key), value))),
            // A list reads best as a whole: what moved inside it is not what was changed.
            serde_json::Value::Array(items) if items.is_empty() => {}
            serde_json::Value::Array(items) => {
                let texts: Vec<_> = items.iter().map(plain).collect();
                found.insert(path, format!("[{}]", texts.join(", ")));
            }
            serde_json::Value::Null => {}
            value => {
                let text = plain(&value);
                if !text.is_empty() {
                    found.insert(path, text);
                }
            }
        }
    }
    found
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn clipped(text: &str) -> String {
    let line = text.replace('\n', "⏎");
    if line.chars().count() <= VALUE_CHARS_MAX {
        return line;
    }
    let mut short: String = line.chars().take(VALUE_CHARS_MAX).collect();
    short.push('…');
    short
}

fn forecast(it: &DeploymentOutcome) -> v1::DeploymentForecast {
    v1::DeploymentForecast {
        endpoint: it.key.endpoint.to_string(),
        deployment: it.key.deployment.to_string(),
        traffic_percent: it.traffic_percent,
        before: Some(counts(&it.before)),
        after: Some(counts(&it.after)),
        lowest_ready: it.lowest_ready,
        promised: it.promised,
        below_from: it.below_from,
        below_rounds: it.below_rounds,
        fate: it.fate.word().to_owned(),
        why: it.why(),
        reserve_spent: it.reserve_spent.clone(),
        verdict: it.verdict.as_ref().map(|verdict| verdict_message(&it.key, verdict)),
    }
}

fn counts(counts: &Counts) -> v1::ReplicaCounts {
    let Counts { wanted, placed, ready, updated, reserve, held, minimum } = *counts;
    v1::ReplicaCounts { wanted, placed, ready, updated, reserve, held, minimum }
}

fn totals(totals: &NodeTotals) -> v1::NodeTotals {
    v1::NodeTotals {
        open: totals.open,
        capacity: Some(Wire::wire(&totals.capacity)),
        held: Some(Wire::wire(&totals.held)),
    }
}

fn step(step: &Taken) -> v1::PlannedStep {
    v1::PlannedStep {
        round: step.round,
        kind: step.kind.word().to_owned(),
        endpoint: step.key.endpoint.to_string(),
        deployment: step.key.deployment.to_string(),
        replica: step.replica.as_ref().map(ToString::to_string).unwrap_or_default(),
        node: step.node.clone(),
        reason: step.reason.clone(),
        reserve_spent: step.reserve_spent.clone().unwrap_or_default(),
    }
}
