//! Counts what is lost while a cluster is changed and broken.
//!
//! `zero_loss [--rate N] [--requests N] [--strikes N] [--outage-s N] [--protocols http1,http2,grpc] [--only WORD] [--strict]`,
//! beside the binary `berth-under-test` of the same profile. Requests go over each of the protocols in turn. Every event has a cluster of its own and a fixed open-loop load, which goes on
//! until all its requests were due and the event is over. With `--strict` no request may be repeated where a node is asked to
//! end either. Exits with 1 when a request is lost. Its output is kept in `docs/benchmarks/zero_loss.txt`, from which a test makes
//! the README's table.

use std::{process::ExitCode, time::Duration};

use berth_chaos_tests::{
    cluster::beside_this,
    protocol::Protocol,
    zero_loss::{Event, Plan, Row},
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let protocols: Option<Vec<_>> = match value("--protocols") {
        Some(words) => words.split(',').map(Protocol::read).collect(),
        None => Some(Protocol::ALL.to_vec()),
    };
    let Some(protocols) = protocols else {
        println!("--protocols takes some of {}", Protocol::ALL.map(Protocol::name).join(","));
        return ExitCode::from(2);
    };
    let plan = Plan {
        coordinators: 3,
        nodes: 4,
        instances: 4,
        rate_per_second: number("--rate", 500),
        requests: number("--requests", 100_000),
        strikes: number("--strikes", 10),
        outage: Duration::from_secs(number("--outage-s", 60)),
        strict: args.iter().any(|arg| arg == "--strict"),
        protocols: protocols.leak(),
    };
    println!("{plan}\n{}", Row::heading());
    let (mut lost, berth) = (0, beside_this());
    for event in Event::ALL {
        if value("--only").is_some_and(|only| !event.name().contains(only.as_str())) {
            continue;
        }
        let mut cluster = plan.start(&berth).await;
        for row in plan.measure(&mut cluster, event).await {
            println!("{row}");
            row.why.iter().for_each(|why| println!("    {why}"));
            lost += row.lost;
        }
    }
    if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
