//! The verdicts on mirrors, for people.

use std::{collections::BTreeMap, fmt::Write as _};

use berth_client::api::{MirrorExample, MirrorReport, MirrorVerdict};

use super::{request::ms, text::age};

/// Writes the report.
pub(crate) fn mirrors(report: &MirrorReport, now_ms: u64) -> String {
    let mut out = String::new();
    for (at, verdict) in report.mirrors.iter().enumerate() {
        if at > 0 {
            out.push_str("\n\n");
        }
        write_verdict(&mut out, verdict, now_ms);
    }
    if report.mirrors.is_empty() {
        let _ = write!(out, "no copy of a request to {} has been answered yet", report.endpoint);
    }
    if report.nodes_heard < report.nodes {
        let silent = report.nodes - report.nodes_heard;
        let _ = write!(out, "\n\n{silent} of {} nodes did not answer: what they counted is missing", report.nodes);
    }
    out
}

fn write_verdict(out: &mut String, verdict: &MirrorVerdict, now_ms: u64) {
    let since = age(verdict.since_ms, now_ms);
    let _ = write!(out, "{} compared with {}, for {since}", verdict.mirror, verdict.primary);
    let mut line = |head: &str, text: String| {
        let _ = write!(out, "\n  {head:<10} {text}");
    };
    let judged = match verdict.match_percent {
        Some(percent) => {
            format!("{percent:.3} % of {} ({} not the same)", verdict.judged, verdict.judged - verdict.matched)
        }
        None => "nothing was compared".to_owned(),
    };
    line("match", judged);
    line("copies", verdict.copies.to_string());
    for (head, counts) in
        [("different", &verdict.mismatched), ("not judged", &verdict.unjudged), ("no answer", &verdict.missed)]
    {
        if !counts.is_empty() {
            line(head, told(counts));
        }
    }
    if let (Some(primary), Some(mirror), Some(slower)) =
        (verdict.primary_latency, verdict.mirror_latency, verdict.mean_slower_us)
    {
        let pair =
            |of: fn(&berth_client::api::MirrorLatency) -> u64| format!("{} to {}", ms(of(&primary)), ms(of(&mirror)));
        let quantiles =
            format!("p50 {}, p90 {}, p99 {}", pair(|it| it.p50_us), pair(|it| it.p90_us), pair(|it| it.p99_us));
        let sign = if slower < 0 { "faster" } else { "slower" };
        line("latency", format!("{quantiles}; on the average {} {sign}", ms(slower.unsigned_abs())));
    }
    for (at, example) in verdict.worst.iter().enumerate() {
        line(if at == 0 { "worst" } else { "" }, worst(example, now_ms));
    }
}

fn told(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn worst(example: &MirrorExample, now_ms: u64) -> String {
    let MirrorExample { request_id, at_ms, place, expected, got, places, .. } = example;
    let more = if *places > 1 { format!(" and {} more places", places - 1) } else { String::new() };
    format!("{place}: {expected} became {got}{more}; request {request_id}, {} ago", age(*at_ms, now_ms))
}

#[cfg(test)]
mod tests {
    use berth_client::api::MirrorLatency;

    use super::*;

    #[test]
    fn a_report_says_how_much_matched_and_where_it_did_not() {
        let latency = |p50_us| MirrorLatency { p50_us, p90_us: 2 * p50_us, p99_us: 3 * p50_us };
        let verdict = MirrorVerdict {
            mirror: "green".into(),
            primary: "blue".into(),
            since_ms: 1_000,
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
                request_id: "r-1".into(),
                at_ms: 2_000,
                kind: "value".into(),
                place: "score".into(),
                expected: "0.5".into(),
                got: "0.75".into(),
                off_ppb: 500_000_000,
                places: 3,
            }],
            ..Default::default()
        };
        let report = MirrorReport { endpoint: "fraud".into(), mirrors: vec![verdict], nodes_heard: 2, nodes: 3 };
        let text = "\
green compared with blue, for 1m00s
  match      99.000 % of 1000 (10 not the same)
  copies     1003
  different  10 value
  no answer  3 timeout
  latency    p50 1.00 ms to 1.50 ms, p90 2.00 ms to 3.00 ms, p99 3.00 ms to 4.50 ms; on the average 0.48 ms slower
  worst      score: 0.5 became 0.75 and 2 more places; request r-1, 59s ago

1 of 3 nodes did not answer: what they counted is missing";
        assert_eq!(mirrors(&report, 61_000), text);
        let none = MirrorReport { endpoint: "fraud".into(), ..Default::default() };
        assert_eq!(mirrors(&none, 0), "no copy of a request to fraud has been answered yet");
    }
}
