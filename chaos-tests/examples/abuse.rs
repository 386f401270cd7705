//! Measures what attacks cost others: `abuse [--rate N] [--seconds N] [--rounds N] [--only WORD]`.
//!
//! Beside the binary `berth-under-test` of the same profile. One node, one instance; others ask at a fixed rate in turn
//! without an attack and during it. Exits with 1 when one of them was not answered.

use std::process::ExitCode;

use berth_chaos_tests::{
    abuse::{Attack, Beside, Plan},
    cluster::beside_this,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let plan =
        Plan { rate_per_second: number("--rate", 200), seconds: number("--seconds", 3), rounds: number("--rounds", 7) };
    let Plan { rate_per_second, seconds, rounds } = plan;
    println!(
        "{rate_per_second} requests a second of others, {rounds} rounds of {seconds} s without and {seconds} s during"
    );
    println!("{}", Beside::heading());
    let cluster = Plan::start(&beside_this()).await;
    let mut lost = 0;
    for attack in Attack::all() {
        if value("--only").is_none_or(|word| attack.what.contains(word.as_str())) {
            let beside = plan.measure(&cluster, attack).await;
            println!("{beside}");
            lost += beside.lost();
        }
    }
    if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
