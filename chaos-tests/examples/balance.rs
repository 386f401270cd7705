//! Measures what callers see when one of eleven replicas goes bad:
//! `balance [--rate N] [--seconds N] [--ill-at-s N] [--rounds N] [--only WORD] [--peers] [--name WORD]`.
//!
//! Beside the binary `berth-under-test` of the same profile. Two nodes, work of 20 ms, callers who wait for a second,
//! requests that may not be repeated, and in a row of their own ones that may and are hedged; after ten seconds one replica takes 2 s, fails at once, or says nothing any more. With
//! `--peers`, other balancers that are installed have the same minute in turn with the mesh, before the same model servers,
//! as `docs/benchmarks/balance.md` configures them.

use berth_chaos_tests::{
    balance::{Ill, Minute, Plan},
    cluster::beside_this,
    peer::Peer,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement prints its figures")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let plan = Plan {
        nodes: 2,
        instances: 11,
        rate_per_second: number("--rate", 300),
        work_ms: 20,
        ill_at_s: number("--ill-at-s", 10),
        seconds: number("--seconds", 60),
    };
    let Plan { nodes, instances, rate_per_second, work_ms, .. } = plan;
    println!("{instances} instances on {nodes} nodes, work of {work_ms} ms, {rate_per_second} requests a second");
    println!("{}", Minute::heading());
    let berth = beside_this();
    let is_named = |name: &str| value("--name").is_none_or(|word| name.contains(word.as_str()));
    let peers: Vec<_> = match args.iter().any(|arg| arg == "--peers") {
        true => Peer::installed().filter(|name| is_named(name)).collect(),
        false => Vec::new(),
    };
    for _ in 0..number("--rounds", 1) {
        for ill in Ill::ALL {
            if value("--only").is_some_and(|only| !ill.name().contains(only.as_str())) {
                continue;
            }
            for (who, is_idempotent) in [("mesh", false), ("mesh, hedging", true)] {
                if is_named(who) {
                    let cluster = plan.start(&berth, is_idempotent).await;
                    println!("{}", plan.measure(who, &cluster, ill).await);
                }
            }
            for name in &peers {
                let peer = Peer::start(name, &berth, instances);
                println!("{}", plan.measure_peer(&peer, ill).await);
            }
        }
    }
}
