//! How each noun looks in a table.

pub(crate) mod advice;
pub(crate) mod coming;
pub(crate) mod gpu;
mod mirror;
mod narrow;
mod plan;
mod request;
mod rows;
pub(crate) mod standing;
mod text;

pub(crate) use mirror::mirrors;
pub(crate) use narrow::{is_unknown_field, narrowed, selected};
pub(crate) use plan::{plan, plan_lines, plan_of_files, split_lines};
pub(crate) use request::request;
pub(crate) use rows::{ConsoleRow, EventRow};
pub(crate) use text::{age, amount, bar, ready, shares, short as short_id, why, wish};

use berth_client::api::{Deployment, Endpoint, Event, Member, Node, Replica, Slot};
use berth_core::units::{Cores, Mib};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::output::{Cell, Ink, Listed, state_ink};

/// Writes a time of day as JSON has it: `2026-01-02T03:04:05.678Z`.
pub(crate) fn iso(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
}

/// A replica that has ended holds nothing any more.
pub(crate) fn holds(replica: &Replica) -> bool {
    !matches!(replica.state.as_str(), "stopped" | "failed")
}

impl Listed for Endpoint {
    const COLUMNS: &'static [&'static str] =
        &["ENDPOINT", "STATE", "TRAFFIC", "MIRROR", "AGE", "ALERTS", "AUTH", "URI"];
    const NARROW: usize = 6;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            Cell::state(&self.provisioning_state),
            shares(&self.traffic).into(),
            shares(&self.mirror_traffic).into(),
            age(self.created_at_ms, now_ms).into(),
            alerts(self),
            text::auth_mode(self).into(),
            self.scoring_uris.first().cloned().unwrap_or_default().into(),
        ]
    }
}

/// Says which rules of an endpoint fire, and how many it has while none does.
fn alerts(endpoint: &Endpoint) -> Cell {
    let rules = endpoint.spec.as_ref().map_or(0, |spec| spec.alerts.len());
    match endpoint.firing.as_slice() {
        [] if rules == 0 => "-".into(),
        [] => format!("0/{rules}").into(),
        firing => Cell::inked(firing.join(","), Ink::Red),
    }
}

impl Listed for Deployment {
    const COLUMNS: &'static [&'static str] =
        &["DEPLOYMENT", "STATE", "READY", "TRAFFIC", "MIRROR", "AGE", "RUNTIME", "SIZE", "GENERATION", "WHY"];
    const NARROW: usize = 6;

    fn name(&self) -> String {
        format!("{}/{}", self.endpoint, self.name)
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let ready = format!("{}/{}", self.ready, self.desired);
        let ink = if self.ready < self.desired { Ink::Yellow } else { Ink::Plain };
        let (runtime, size) = text::runtime_and_size(self);
        vec![
            self.name().into(),
            Cell::state(&self.provisioning_state),
            Cell::inked(ready, ink),
            text::percent(self.traffic_percent).into(),
            text::percent(self.mirror_percent).into(),
            age(self.created_at_ms, now_ms).into(),
            runtime.into(),
            size.into(),
            self.generation.to_string().into(),
            text::why(self).into(),
        ]
    }
}

/// A deployment on its way to its newest generation.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct RolloutRow(pub(crate) Deployment);

impl Listed for RolloutRow {
    const COLUMNS: &'static [&'static str] = &["ROLLOUT", "STATE", "GENERATION", "UPDATED", "READY", "TRAFFIC", "WHY"];
    const NARROW: usize = 7;

    fn name(&self) -> String {
        Listed::name(&self.0)
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let Self(it) = self;
        let of = |count: u64| {
            let ink = if count < it.desired { Ink::Yellow } else { Ink::Plain };
            Cell::inked(format!("{count}/{}", it.desired), ink)
        };
        vec![
            Listed::name(it).into(),
            if it.paused { Cell::inked("paused", Ink::Yellow) } else { Cell::state(&it.provisioning_state) },
            it.generation.to_string().into(),
            of(it.updated),
            of(it.ready),
            text::percent(it.traffic_percent).into(),
            text::why(it).into(),
        ]
    }
}

impl Listed for Replica {
    const COLUMNS: &'static [&'static str] = &[
        "REPLICA",
        "DEPLOYMENT",
        "NODE",
        "STATE",
        "FOR",
        "RESTARTS",
        "WHY",
        "PID",
        "ADDRESS",
        "GENERATION",
        "IN FLIGHT",
    ];
    const NARROW: usize = 7;

    fn name(&self) -> String {
        self.replica.clone()
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let pid = if self.pid == 0 { String::new() } else { self.pid.to_string() };
        // A replica that serves needs no reason; the others are looked at for nothing else.
        let why = match &self.progress {
            Some(progress) => text::progress_words(progress),
            None if self.state == "serving" => String::new(),
            None => text::first_line(&self.reason).to_owned(),
        };
        vec![
            text::short(&self.replica).into(),
            format!("{}/{}", self.endpoint, self.deployment).into(),
            self.node.as_str().into(),
            Cell::state(&self.state),
            age(self.since_ms, now_ms).into(),
            self.restarts.to_string().into(),
            why.into(),
            pid.into(),
            self.address.as_str().into(),
            self.generation.to_string().into(),
            self.in_flight.to_string().into(),
        ]
    }
}

impl Listed for Slot {
    const COLUMNS: &'static [&'static str] =
        &["SLOT", "DEPLOYMENT", "NODE", "MODEL", "FOR", "WHERE", "SIZE", "DEVICES"];
    const NARROW: usize = 6;

    fn name(&self) -> String {
        self.slot.clone()
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let model = match (&self.progress, self.why.as_str()) {
            (Some(progress), _) => text::progress_words(progress),
            (None, "") => self.state.clone(),
            (None, why) => format!("{}: {why}", self.state),
        };
        let devices: Vec<_> = self.devices.iter().map(|device| device.uuid.as_str()).collect();
        vec![
            text::short(&self.slot).into(),
            format!("{}/{}", self.endpoint, self.deployment).into(),
            self.node.as_str().into(),
            Cell::inked(model, if self.state == "cached" { Ink::Green } else { Ink::Yellow }),
            age(self.since_ms, now_ms).into(),
            self.reason.as_str().into(),
            self.resources.as_ref().map(amount).unwrap_or_default().into(),
            devices.join(",").into(),
        ]
    }
}

impl Listed for Node {
    const COLUMNS: &'static [&'static str] = &[
        "NODE", "STATE", "FOR", "CPU", "MEMORY", "GPU", "REPLICAS", "INGRESS", "EPOCH", "ID", "GATE", "VERSION",
        "LABELS", "GPUS",
    ];
    const NARROW: usize = 8;

    fn name(&self) -> String {
        self.node.clone()
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let capacity = self.capacity.unwrap_or_default();
        let held = self.allocated.unwrap_or_default();
        let of = |held: String, capacity: String| format!("{held}/{capacity}");
        let mut labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if self.is_virtual {
            labels.push("(virtual)".to_owned());
        }
        vec![
            self.node.as_str().into(),
            text::node_state(self),
            age(self.since_ms, now_ms).into(),
            of(Cores(held.cpu_milli).to_string(), Cores(capacity.cpu_milli).to_string()).into(),
            of(Mib(held.memory_mib).to_string(), Mib(capacity.memory_mib).to_string()).into(),
            gpu::summary(self),
            self.replicas.to_string().into(),
            self.ingress_address.as_str().into(),
            self.epoch.to_string().into(),
            text::short(&self.id).into(),
            self.gate_address.as_str().into(),
            self.version.as_str().into(),
            labels.join(",").into(),
            gpu::models(self).into(),
        ]
    }
}

impl Listed for Event {
    const COLUMNS: &'static [&'static str] = &["AGE", "SEVERITY", "KIND", "ABOUT", "TEXT", "SEQ", "INDEX"];
    const NARROW: usize = 5;

    fn name(&self) -> String {
        self.seq.to_string()
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        vec![
            age(self.at_ms, now_ms).into(),
            Cell::inked(
                self.severity.as_str(),
                if self.severity == "info" { Ink::Plain } else { state_ink(&self.severity) },
            ),
            self.kind.as_str().into(),
            text::about(self).into(),
            self.text.as_str().into(),
            self.seq.to_string().into(),
            self.index.to_string().into(),
        ]
    }
}

impl Listed for Member {
    const COLUMNS: &'static [&'static str] = &["COORDINATOR", "ADDRESS", "ROLE"];
    const NARROW: usize = 3;

    fn name(&self) -> String {
        self.id.clone()
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let role = match (self.leader, self.voter) {
            (true, _) => Cell::inked("leader", Ink::Green),
            (false, true) => "voter".into(),
            (false, false) => Cell::inked("learner", Ink::Yellow),
        };
        vec![self.id.as_str().into(), self.address.as_str().into(), role]
    }
}
