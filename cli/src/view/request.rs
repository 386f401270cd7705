//! What became of a request, for people: who took it, who was asked and why, and what came of it.

use std::fmt::Write as _;

use berth_client::api::{DrawnReplica, RequestAttempt, RequestReport};
use berth_core::traffic::{download::SLOWEST, status::GrpcStatus};

use super::text::age;

/// Writes the report.
pub(crate) fn request(report: &RequestReport, now_ms: u64) -> String {
    let mut out = format!("{} {}  {}", report.method, report.path, report.protocol);
    let mut line = |head: &str, text: String| {
        let _ = write!(out, "\n  {head:<11} {text}");
    };
    line("id", ids(report));
    line("taken", format!("{} ago by {}{}", age(report.begun_ms, now_ms), report.node, table(report)));
    line("answered", answered(report));
    if !report.refusal.is_empty() {
        let gates =
            if report.gate_reason.is_empty() { String::new() } else { format!(" (gates: {})", report.gate_reason) };
        line("why", format!("{} {}{gates}", report.refusal_code, report.refusal));
    }
    if !report.endpoint.is_empty() {
        line("endpoint", report.endpoint.clone());
    }
    if !report.deployment.is_empty() {
        line("deployment", format!("{}: {}", report.deployment, choice(report)));
    }
    for (at, replica) in report.drawn.iter().enumerate() {
        let head = if at == 0 { "drawn" } else { "" };
        line(head, drawn(replica, at == 0, report));
    }
    for (at, attempt) in report.attempts.iter().enumerate() {
        line(&format!("attempt {}", at + 1), attempted(attempt));
    }
    let unlisted = report.attempt_count as usize - report.attempts.len().min(report.attempt_count as usize);
    if unlisted > 0 {
        line("", format!("{unlisted} more attempts"));
    }
    if !report.replay.is_empty() {
        line("replay", replay(&report.replay));
    }
    if !report.mirrors.is_empty() {
        line("mirrors", mirrors(report));
    }
    out
}

fn replay(why: &str) -> String {
    let why = match why {
        "too-large" => "more of its body had come than is kept",
        "no-room" => "other requests' bodies took the room",
        other => other,
    };
    format!("it could not have been sent again: {why}")
}

fn mirrors(report: &RequestReport) -> String {
    let told = report.mirrors.iter().enumerate().map(|(at, name)| match report.mirror_verdicts.get(at) {
        Some(verdict) => format!("{name}: {verdict}"),
        None => name.clone(),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn ids(report: &RequestReport) -> String {
    match report.client_request_id.as_str() {
        "" => report.id.clone(),
        own => format!("{} (the caller's: {own})", report.id),
    }
}

fn table(report: &RequestReport) -> String {
    if report.table_version == 0 { String::new() } else { format!(", by route table {}", report.table_version) }
}

fn answered(report: &RequestReport) -> String {
    if report.status == 0 {
        return format!("not at all: the caller left after {}", ms(report.total_us));
    }
    let model = report.model_status.map(|status| format!(" (the model said {status})")).unwrap_or_default();
    let grpc = report.grpc_status.map(grpc).unwrap_or_default();
    let head = report.head_us.map(|us| format!("after {}, ", ms(us))).unwrap_or_default();
    let end = match report.end.as_str() {
        "cut" => format!("cut off after {}", ms(report.total_us)),
        "slow" => format!("given up after {}: the caller took less than {SLOWEST} B/s", ms(report.total_us)),
        _ => format!("whole after {}", ms(report.total_us)),
    };
    let bytes = format!("{} B in, {} B out", report.request_bytes, report.response_bytes);
    format!("{}{model}{grpc}, {head}{end}; {bytes}", report.status)
}

/// Names a gRPC status; a newer node may know more of them.
fn grpc(number: u32) -> String {
    let known = u8::try_from(number).map_or(GrpcStatus::UNKNOWN, GrpcStatus::of);
    format!(" (gRPC {number} {})", known.word())
}

fn choice(report: &RequestReport) -> String {
    match report.chosen_by.as_str() {
        "pin" => "the caller named it".to_owned(),
        "key" => format!("the caller's key is one of its {} %", report.share_percent),
        _ => {
            let ticket = report.ticket.map(|ticket| format!(", ticket {ticket}")).unwrap_or_default();
            format!("the split gave it one of its {} %{ticket}", report.share_percent)
        }
    }
}

fn drawn(replica: &DrawnReplica, is_first: bool, report: &RequestReport) -> String {
    let DrawnReplica { outstanding, capacity_milli, latency_us, .. } = replica;
    let latency = if *latency_us == 0 { String::new() } else { format!(", {} lately", ms(*latency_us)) };
    let place = if replica.remote { "on another node" } else { "on the same node" };
    let turn = match (is_first, report.candidates) {
        (true, 0 | 1) => ": the only one",
        (true, _) => ": less to do",
        (false, _) => "",
    };
    let capacity = *capacity_milli as f64 / 1_000.0;
    format!("{}  {outstanding} at work, takes {capacity}{latency}, {place}{turn}", replica.replica)
}

fn attempted(attempt: &RequestAttempt) -> String {
    let outcome = match (attempt.status, attempt.failure.as_str()) {
        (Some(status), _) => status.to_string(),
        (None, "open") => "no answer when the request ended".to_owned(),
        (None, "outrun") => "not waited for, another one answered".to_owned(),
        (None, failure) => format!("not started: {failure}"),
    };
    let outcome = outcome.replace("not started: broken", "broke off").replace("not started: before-body", "broke off");
    let queued = if attempt.queued_ms == 0 { String::new() } else { format!(", queued {} ms", attempt.queued_ms) };
    let hedge = if attempt.hedge { ", as a hedge" } else { "" };
    let (after, took) = (ms(attempt.after_us), ms(attempt.took_us));
    format!("{}  after {after}{hedge}: {outcome} in {took}{queued}", attempt.replica)
}

/// Writes microseconds as milliseconds, with what matters behind the point.
pub(super) fn ms(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_from_top_to_bottom() {
        let drawn = |replica: &str, outstanding, remote| DrawnReplica {
            replica: replica.into(),
            outstanding,
            capacity_milli: 4_000,
            latency_us: 11_300,
            remote,
        };
        let report = RequestReport {
            id: "id-1".into(),
            client_request_id: "mine".into(),
            node: "node-2".into(),
            begun_ms: 1_000,
            method: "POST".into(),
            path: "/score".into(),
            protocol: "HTTP/2".into(),
            endpoint: "fraud".into(),
            deployment: "green".into(),
            table_version: 41,
            chosen_by: "split".into(),
            share_percent: 10,
            ticket: Some(7),
            candidates: 3,
            drawn: vec![drawn("a1", 2, false), drawn("b2", 4, true)],
            attempts: vec![
                RequestAttempt {
                    replica: "a1".into(),
                    after_us: 90,
                    took_us: 40,
                    failure: "full".into(),
                    ..Default::default()
                },
                RequestAttempt {
                    replica: "b2".into(),
                    after_us: 150,
                    took_us: 12_000,
                    queued_ms: 3,
                    status: Some(500),
                    ..Default::default()
                },
            ],
            attempt_count: 2,
            mirrors: vec!["blue".into(), "red".into()],
            mirror_verdicts: vec!["mismatch".into(), "timeout".into()],
            replay: "too-large".into(),
            status: 424,
            model_status: Some(500),
            request_bytes: 18,
            response_bytes: 320,
            head_us: Some(12_300),
            total_us: 12_900,
            end: "whole".into(),
            ..Default::default()
        };
        let text = "\
POST /score  HTTP/2
  id          id-1 (the caller's: mine)
  taken       5s ago by node-2, by route table 41
  answered    424 (the model said 500), after 12.3 ms, whole after 12.9 ms; 18 B in, 320 B out
  endpoint    fraud
  deployment  green: the split gave it one of its 10 %, ticket 7
  drawn       a1  2 at work, takes 4, 11.3 ms lately, on the same node: less to do
              b2  4 at work, takes 4, 11.3 ms lately, on another node
  attempt 1   a1  after 0.09 ms: not started: full in 0.04 ms
  attempt 2   b2  after 0.15 ms: 500 in 12.0 ms, queued 3 ms
  replay      it could not have been sent again: more of its body had come than is kept
  mirrors     blue: mismatch, red: timeout";
        assert_eq!(request(&report, 6_000), text);
    }

    #[test]
    fn a_hedge_and_who_was_outrun_are_told() {
        let attempt = |replica: &str, hedge, status: Option<u32>| RequestAttempt {
            replica: replica.into(),
            after_us: if hedge { 40_100 } else { 90 },
            took_us: if hedge { 3_000 } else { 43_010 },
            status,
            failure: if status.is_some() { "" } else { "outrun" }.into(),
            hedge,
            ..Default::default()
        };
        let attempts = vec![attempt("a1", false, None), attempt("b2", true, Some(200))];
        let report = RequestReport { attempts, attempt_count: 2, ..Default::default() };
        let text = "
  attempt 1   a1  after 0.09 ms: not waited for, another one answered in 43.0 ms
  attempt 2   b2  after 40.1 ms, as a hedge: 200 in 3.00 ms";
        assert!(request(&report, 0).contains(text), "{}", request(&report, 0));
    }

    #[test]
    fn a_grpc_call_tells_how_it_went_behind_the_status_that_http_has() {
        for (number, told) in [
            (None, "answered    200, whole after"),
            (Some(0), "answered    200 (gRPC 0 OK), whole after"),
            (Some(14), "answered    200 (gRPC 14 UNAVAILABLE), whole after"),
            (Some(300), "answered    200 (gRPC 300 UNKNOWN), whole after"),
        ] {
            let report = RequestReport { status: 200, grpc_status: number, end: "whole".into(), ..Default::default() };
            assert!(request(&report, 0).contains(told), "{}", request(&report, 0));
        }
    }

    #[test]
    fn who_left_and_who_was_refused_are_told_apart() {
        let left = RequestReport { total_us: 2_500_000, end: "left".into(), ..Default::default() };
        assert!(request(&left, 0).contains("not at all: the caller left after 2.50 s"));
        let refused = RequestReport {
            status: 429,
            refusal_code: "E_TOO_MANY_REQUESTS".into(),
            refusal: "too many pending requests".into(),
            gate_reason: "full".into(),
            ..Default::default()
        };
        assert!(
            request(&refused, 0).contains("why         E_TOO_MANY_REQUESTS too many pending requests (gates: full)")
        );
    }
}
