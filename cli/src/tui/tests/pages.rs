//! What pages hold: made by what makes them for a cluster, of answers as coordinators give them.

use berth_client::api::{
    DeploymentForecast, DrawnReplica, EndpointForecast, FieldChange, MirrorExample, MirrorLatency, MirrorReport,
    MirrorVerdict, NodeTotals, ObjectChange, PlanReport, PlannedStep, ReplicaCounts, RequestAttempt, RequestReport,
};

use super::*;
use crate::{output::Output, verbs::describe, view};

fn counts(ready: u64, held: u64) -> ReplicaCounts {
    ReplicaCounts { wanted: 2, placed: 2, ready, updated: 2, reserve: 1, held, ..ReplicaCounts::default() }
}

fn forecast(
    deployment: &str,
    before: ReplicaCounts,
    after: ReplicaCounts,
    fate: &str,
    why: &str,
) -> DeploymentForecast {
    DeploymentForecast {
        endpoint: "fraud".into(),
        deployment: deployment.into(),
        traffic_percent: 90,
        before: Some(before),
        after: Some(after),
        lowest_ready: after.ready.min(1),
        promised: 2,
        below_from: (fate == "dips").then_some(0),
        below_rounds: (fate == "dips").then_some(1),
        fate: fate.into(),
        why: why.into(),
        ..DeploymentForecast::default()
    }
}

/// A node is lost, and its replica comes back in a place of the reserve.
fn loss() -> PlanReport {
    let totals = |open| NodeTotals {
        open,
        capacity: Some(Resources { cpu_milli: 8_000 * open, memory_mib: 32_768 * open, disk_mib: 0, gpus: 0 }),
        held: Some(Resources { cpu_milli: 7_000, memory_mib: 14_000, disk_mib: 0, gpus: 0 }),
    };
    PlanReport {
        keeps_minimum: true,
        asked: vec!["lose node-2".into()],
        deployments: vec![forecast("blue", counts(2, 1), counts(2, 0), "dips", "one less until its place is warm")],
        endpoints: vec![EndpointForecast { endpoint: "fraud".into(), keeps_minimum: true, ..Default::default() }],
        nodes_before: Some(totals(3)),
        nodes_after: Some(totals(2)),
        rounds: 2,
        steps: vec![PlannedStep {
            round: 1,
            kind: "place".into(),
            endpoint: "fraud".into(),
            deployment: "blue".into(),
            replica: "b7".into(),
            node: "node-1".into(),
            reason: "instance 2 of 2, in place of a lost one".into(),
            reserve_spent: "recovery of node-2, slot e5e5".into(),
        }],
        notes: vec!["the reserve of fraud/blue is spent until a node is added".into()],
        ..PlanReport::default()
    }
}

/// A split moves to a deployment of which nobody is ready.
pub(super) fn split() -> PlanReport {
    let one = ReplicaCounts { wanted: 1, placed: 1, updated: 1, ..counts(0, 0) };
    let change =
        |field: &str, old: &str, new: &str| FieldChange { field: field.into(), old: old.into(), new: new.into() };
    PlanReport {
        keeps_minimum: true,
        changes: vec![ObjectChange {
            noun: "traffic".into(),
            name: "fraud".into(),
            action: "change".into(),
            fields: vec![change("blue", "90", "80"), change("green", "10", "20")],
            ..ObjectChange::default()
        }],
        deployments: vec![
            forecast("blue", counts(2, 1), counts(2, 1), "kept", ""),
            forecast("green", one, one, "kept", ""),
        ],
        ..PlanReport::default()
    }
}

fn mirror() -> MirrorReport {
    let latency = |p50_us| MirrorLatency { p50_us, p90_us: 2 * p50_us, p99_us: 3 * p50_us };
    let verdict = MirrorVerdict {
        mirror: "green".into(),
        primary: "blue".into(),
        since_ms: NOW_MS - 720_000,
        copies: 1_003,
        judged: 1_000,
        matched: 990,
        match_percent: Some(99.0),
        mismatched: [("value".to_owned(), 10)].into(),
        missed: [("timeout".to_owned(), 3)].into(),
        primary_latency: Some(latency(1_000)),
        mirror_latency: Some(latency(1_500)),
        mean_slower_us: Some(480),
        worst: vec![MirrorExample {
            request_id: "622d0d97".into(),
            at_ms: NOW_MS - 59_000,
            kind: "value".into(),
            place: "score".into(),
            expected: "0.5".into(),
            got: "0.75".into(),
            places: 3,
            ..MirrorExample::default()
        }],
        ..MirrorVerdict::default()
    };
    MirrorReport { endpoint: "fraud".into(), mirrors: vec![verdict], nodes_heard: 4, nodes: 5 }
}

fn request() -> RequestReport {
    let drawn = |replica: &str, outstanding| DrawnReplica {
        replica: replica.into(),
        outstanding,
        capacity_milli: 4_000,
        latency_us: 7_900,
        remote: false,
    };
    RequestReport {
        id: "622d0d97".into(),
        client_request_id: "mine-7".into(),
        node: "node-1".into(),
        begun_ms: NOW_MS - 30_000,
        method: "POST".into(),
        path: "/e/fraud/score".into(),
        protocol: "HTTP/1.1".into(),
        endpoint: "fraud".into(),
        deployment: "blue".into(),
        table_version: 123,
        chosen_by: "split".into(),
        share_percent: 90,
        ticket: Some(41),
        candidates: 2,
        drawn: vec![drawn("a1000000", 1), drawn("b2000000", 3)],
        attempts: vec![RequestAttempt {
            replica: "a1000000".into(),
            after_us: 200,
            took_us: 7_700,
            status: Some(200),
            ..RequestAttempt::default()
        }],
        attempt_count: 1,
        mirrors: vec!["green".into()],
        status: 200,
        model_status: Some(200),
        request_bytes: 120,
        response_bytes: 34,
        head_us: Some(7_900),
        total_us: 8_100,
        end: "whole".into(),
        ..RequestReport::default()
    }
}

/// Returns the text of a page, as what makes it for a cluster makes it.
pub(super) fn text(kind: PageKind) -> (Subject, Vec<String>) {
    let board = board();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let fraud = Subject::Endpoint("fraud".into());
    let blue = Subject::Deployment { endpoint: "fraud".into(), name: "blue".into() };
    match kind {
        PageKind::Describe => {
            let replica = &board.replicas[2];
            let id = replica.replica.clone();
            let of = Subject::Replica { id, endpoint: "fraud".into(), deployment: "green".into() };
            let out = Output::keeping();
            describe::replica(&out, replica, NOW_MS);
            (of, out.kept())
        }
        PageKind::Yaml => (blue, lines(&crate::output::as_yaml(&board.deployments[0]).expect("yaml"))),
        PageKind::Logs => (blue, lines("a1000000 listens\nb2000000 listens")),
        PageKind::PreviousLogs => (blue, Vec::new()),
        PageKind::PrepareLogs => (blue, lines("a1000000 fetched src")),
        PageKind::WhatIf => {
            let mut text = lines("If node-2 were lost now:\n\n");
            text.extend(view::plan_lines(&loss()));
            (Subject::Node("node-2".into()), text)
        }
        PageKind::Mirror => {
            let mut text = vec!["fraud copies to green=5".to_owned(), String::new()];
            text.extend(lines(&view::mirrors(&mirror(), NOW_MS)));
            (fraud, text)
        }
        PageKind::Request => (Subject::Request("622d0d97".into()), lines(&view::request(&request(), NOW_MS))),
    }
}
