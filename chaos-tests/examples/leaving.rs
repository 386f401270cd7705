//! Measures how soon a replica hears that a caller has left: `leaving [--callers N]`.
//!
//! Beside the binary `berth-under-test` of the same profile. One replica behind two nodes; callers of each protocol leave one after
//! the other, through the replica's own node (one hop) and the other one (two). Exits with 1 where one in a hundred took longer
//! than the 100 ms that are promised.

use std::process::ExitCode;

use berth_chaos_tests::{
    cluster::beside_this,
    leaving::{LAW, Leavers, start},
    protocol::Protocol,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let callers = args.iter().position(|arg| arg == "--callers").and_then(|at| args.get(at + 1)?.parse().ok());
    let callers = callers.unwrap_or(300);
    let cluster = start(&beside_this()).await;
    println!("{}", Leavers::heading());
    let mut lawful = true;
    for hops in [1, 2] {
        for protocol in Protocol::ALL {
            let leavers = Leavers::measure(&cluster, protocol, hops, callers).await;
            println!("{leavers}");
            lawful &= leavers.within(990) <= LAW;
        }
    }
    if lawful { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
