//! The public API: its messages, and how the state looks in them.

mod mirror;
mod plan;
mod quota;
mod view;

/// Version 1.
#[expect(missing_docs, reason = "generated; the .proto files hold the words")]
pub mod v1 {
    tonic::include_proto!("berth.api.v1");
}

pub use mirror::mirror_verdicts;
pub use plan::{plan_changes, plan_question, plan_report};
pub use quota::{loan_message, project, project_of, quota_limits, quota_report};
pub use view::{
    deployment_message, endpoint_message, event_message, generations_message, node_message, not_covered,
    replica_message, replica_state_word, slot_message, verdict_message,
};

use berth_core::{
    error::{Code, Error},
    id::LogIndex,
    model::{DeploymentSpec, EndpointSpec, Settings, SettingsChange, Traffic},
    state::PutMode,
};

use crate::{convert::Wire, store};

/// Reads an endpoint's spec as a caller sent it and checks its rules.
pub fn endpoint_spec(wire: Option<store::v1::EndpointSpec>) -> Result<EndpointSpec, Error> {
    let spec = asked(wire, "spec")?.core().map_err(as_invalid)?;
    spec.validate()?;
    Ok(spec)
}

/// Reads a deployment's spec as a caller sent it and checks its rules.
pub fn deployment_spec(wire: Option<store::v1::DeploymentSpec>) -> Result<DeploymentSpec, Error> {
    let spec = asked(wire, "spec")?.core().map_err(as_invalid)?;
    spec.validate()?;
    Ok(spec)
}

/// Reads a change of the cluster's settings; whether it is sane is judged with what it changes.
pub fn settings_change(wire: Option<store::v1::SettingsChange>) -> Result<SettingsChange, Error> {
    asked(wire, "change")?.core().map_err(as_invalid)
}

/// Writes the cluster's settings.
pub fn settings_message(settings: &Settings) -> store::v1::Settings {
    Wire::wire(settings)
}

/// Writes an endpoint's spec.
pub fn endpoint_spec_message(spec: &EndpointSpec) -> store::v1::EndpointSpec {
    Wire::wire(spec)
}

/// Writes a deployment's spec.
pub fn deployment_spec_message(spec: &DeploymentSpec) -> store::v1::DeploymentSpec {
    Wire::wire(spec)
}

/// Reads shares as a caller sent them.
pub fn traffic(wire: v1::TrafficMap) -> Result<Traffic, Error> {
    store::v1::Traffic { percent: wire.percent }.core().map_err(as_invalid)
}

/// Writes shares.
pub fn traffic_message(traffic: &Traffic) -> v1::TrafficMap {
    v1::TrafficMap { percent: store::v1::Traffic::wire(traffic).percent }
}

/// Reads whether a put may create, replace, or both.
pub fn put_mode(wire: i32) -> Result<PutMode, Error> {
    match v1::PutMode::try_from(wire) {
        Ok(v1::PutMode::Upsert) => Ok(PutMode::Upsert),
        Ok(v1::PutMode::Create) => Ok(PutMode::Create),
        Ok(v1::PutMode::Update) => Ok(PutMode::Update),
        Err(_) => Err(Error::new(Code::Invalid, format!("put mode {wire} is not known"))),
    }
}

/// Reads the revision a write was made for.
pub fn if_revision(wire: Option<u64>) -> Option<LogIndex> {
    wire.map(LogIndex)
}

fn asked<T>(field: Option<T>, name: &str) -> Result<T, Error> {
    field.ok_or_else(|| Error::new(Code::Invalid, format!("the request lacks `{name}`")))
}

/// What cannot be read from a caller is the caller's mistake, not a damaged store.
fn as_invalid(error: Error) -> Error {
    Error { code: Code::Invalid, what: "the request cannot be read".to_owned(), ..error }
}
