//! Measures what an overload leaves: `overload [--times N] [--capacity N | --slots N] [--seconds N]`.
//!
//! Beside the binary `berth-under-test` of the same profile, which is the callers too, in a process of their own. Two
//! instances, work of 200 ms, deadlines of one second, open loop. `--capacity` is how many requests a second the two can
//! take, down to a multiple of ten; `--slots` is how many an instance works on at once. Exits with 1 when the model was
//! given a request after its caller's deadline.

use std::process::ExitCode;

use berth_chaos_tests::{cluster::beside_this, overload::Plan};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (nodes, work_ms) = (2, 200);
    let slots = number("--capacity", 0) * work_ms / 1_000 / nodes as u64;
    let slots = if slots > 0 { slots } else { number("--slots", 4) };
    let plan = Plan {
        nodes,
        slots: slots as u32,
        work_ms,
        times: number("--times", 30),
        measured_s: 20,
        overload_s: number("--seconds", 60),
        after_s: 20,
    };
    println!("capacity {} requests a second, asked {} times that", plan.capacity_per_second(), plan.times);
    let cluster = plan.start(&beside_this()).await;
    let outcomes = plan.measure(&cluster).await;
    println!("{outcomes}");
    if outcomes.too_late == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
