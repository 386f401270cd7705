//! A record as it is told to people: positions become names.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_core::traffic::{admission::NotStarted, retry::Failure};
use berth_proto::api::v1::{DrawnReplica, RequestAttempt, RequestReport};
use http::HeaderValue;
use tokio::time::Instant;

use super::{
    access_log::protocol,
    record::{Attempted, Choice, Outcome, Record, Weighed},
    replay::Lost,
    routes::{Deployment, Endpoint},
};

/// Tells what became of a request. The node's own name is for whoever asked it.
pub(super) fn report(record: &Record) -> RequestReport {
    let mut report = RequestReport {
        id: record.words.id().to_owned(),
        client_request_id: record.words.client_id().to_owned(),
        begun_ms: begun_ms(record.begun),
        method: record.method.to_string(),
        path: record.words.path_and_query().to_owned(),
        protocol: protocol(record.version).to_owned(),
        user_agent: record.words.user_agent().to_owned(),
        attempt_count: record.attempt_count,
        status: record.status.into(),
        model_status: record.model_status.map(u32::from),
        grpc_status: record.grpc_status.map(|said| said.number().into()),
        request_bytes: record.request_bytes,
        response_bytes: record.response_bytes,
        head_us: record.head.map(us),
        total_us: us(record.total),
        end: record.end.word().to_owned(),
        replay: record.lost.map_or("", Lost::word).to_owned(),
        ..RequestReport::default()
    };
    if let Some(turned) = record.turned {
        turned.refusal.code().word().clone_into(&mut report.refusal_code);
        turned.refusal.what().clone_into(&mut report.refusal);
        turned.reason.map_or("", NotStarted::word).clone_into(&mut report.gate_reason);
    }
    let Some(routed) = &record.routed else { return report };
    report.endpoint = text(&routed.endpoint.name);
    report.table_version = text(&routed.table).parse().unwrap_or_default();
    if let Some((at, choice)) = routed.chosen {
        chosen(&mut report, record, &routed.endpoint, at, choice);
    }
    report
}

fn chosen(report: &mut RequestReport, record: &Record, endpoint: &Endpoint, at: usize, choice: Choice) {
    let deployment = &endpoint.deployments[at];
    report.deployment = text(&deployment.name);
    report.chosen_by = match choice {
        Choice::Pin => "pin",
        Choice::Key => "key",
        Choice::Split(_) => "split",
    }
    .to_owned();
    if let Choice::Split(ticket) = choice {
        report.ticket = Some(ticket);
    }
    let name = &endpoint.route.deployments[at].name;
    let share = endpoint.route.split.iter().find(|(of, _)| of == name);
    report.share_percent = share.map_or(0, |(_, percent)| *percent);
    report.candidates = u32::try_from(record.candidates).unwrap_or(u32::MAX);
    report.drawn = record.drawn.iter().flatten().map(|weighed| drawn(deployment, *weighed)).collect();
    report.attempts = record.attempts.iter().map(|attempted| attempt(deployment, attempted)).collect();
    report.mirrors = record.mirrors.iter().map(|mirrored| text(&endpoint.deployments[mirrored.at].name)).collect();
    report.mirror_verdicts = record.mirrors.iter().map(|mirrored| mirrored.told.word().to_owned()).collect();
}

fn drawn(deployment: &Deployment, Weighed { replica, load }: Weighed) -> DrawnReplica {
    DrawnReplica {
        replica: text(&deployment.replicas[replica].id_text),
        outstanding: load.outstanding,
        capacity_milli: load.capacity_milli,
        latency_us: load.latency_us,
        remote: load.remote,
    }
}

fn attempt(deployment: &Deployment, attempted: &Attempted) -> RequestAttempt {
    let (status, failure) = match attempted.outcome {
        Outcome::Open => (None, "open"),
        Outcome::Answered(status) => (Some(u32::from(status)), ""),
        Outcome::Failed(failure) => (None, word(failure)),
        Outcome::Outrun => (None, "outrun"),
    };
    RequestAttempt {
        replica: text(&deployment.replicas[attempted.replica].id_text),
        after_us: us(attempted.after),
        took_us: us(attempted.took),
        queued_ms: attempted.queued_ms,
        status,
        failure: failure.to_owned(),
        hedge: attempted.is_hedge,
    }
}

/// Names what kept a replica from answering.
pub(super) fn word(failure: Failure) -> &'static str {
    match failure {
        Failure::NotStarted(reason) => reason.word(),
        Failure::GateUnreachable => "gate-unreachable",
        Failure::BeforeBody => "before-body",
        Failure::Broken => "broken",
    }
}

/// Tells the time of day of a moment that is not long ago.
fn begun_ms(begun: Instant) -> u64 {
    let day = SystemTime::now().checked_sub(begun.elapsed()).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    day.map_or(0, |day| u64::try_from(day.as_millis()).unwrap_or(u64::MAX))
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn text(value: &HeaderValue) -> String {
    value.to_str().unwrap_or_default().to_owned()
}
