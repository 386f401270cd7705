//! Seeds: every invariant after every step of random lives.

use berth_sim::{Options, run, swarm};

/// Seeds of a plain test run: seconds in a debug build. `BERTH_SIM_SEEDS` asks for more, `BERTH_SIM_FIRST` for others.
const SEEDS_DEFAULT: u64 = 24;

fn asked(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_invariant_holds_in_every_seed() {
    let seeds = asked("BERTH_SIM_SEEDS", SEEDS_DEFAULT);
    let swarm = swarm(asked("BERTH_SIM_FIRST", 1), seeds, &Options::default(), |_| {});
    assert!(swarm.failed.is_none(), "{swarm}");
    assert!(swarm.requests > seeds * 100, "a workload that asks for nothing proves nothing: {swarm}");
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 1..=4 {
        let options = Options { seed, ..Options::default() };
        let (first, second) = (run(&options), run(&options));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.events, second.events, "seed {seed}");
    }
    let other = |seed| run(&Options { seed, seconds: 5, ..Options::default() }).trace_hash;
    assert_ne!(other(1), other(2));
}

#[test]
fn without_faults_no_request_fails() {
    for seed in 100..108 {
        let report = run(&Options { seed, faults: Some(false), ..Options::default() });
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.requests.lost + report.requests.failed_by_fault, 0, "{report}");
        assert!(report.requests.answered > 0, "{report}");
    }
}

#[test]
fn a_failing_seed_names_the_command_that_replays_it() {
    let bug = Some(berth_sim::Bug::SkipCapacity);
    let report = swarm(1, 10, &Options { bug, ..Options::default() }, |_| {}).failed.expect("the bug is caught");
    let text = report.to_string();
    assert!(text.ends_with(&format!("replay: berth sim run --seed {} --bug skip-capacity", report.seed)), "{text}");
    let again = run(&Options { seed: report.seed, bug, ..Options::default() });
    assert_eq!(again.violations, report.violations);
}
