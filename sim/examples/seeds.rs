//! Runs seeds from the command line: `seeds FIRST COUNT [BUG]`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, count) = (number(1), number(100));
    let bug = std::env::args().nth(3).and_then(|word| word.parse().ok());
    let began = std::time::Instant::now();
    let options = berth_sim::Options { bug, whole_trace: count == 1, ..Default::default() };
    let (mut tally, mut events) = (berth_sim::Tally::default(), 0);
    let swarm = berth_sim::swarm(first, count, &options, |report| {
        tally.accepted += report.requests.accepted;
        tally.answered += report.requests.answered;
        tally.shed += report.requests.shed;
        tally.failed_by_fault += report.requests.failed_by_fault;
        tally.mirrored += report.requests.mirrored;
        events += report.events;
    });
    let wall_ms = began.elapsed().as_millis().max(1) as u64;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{swarm}\n{tally:?}\n{events} events, {wall_ms} ms, {} × real time", swarm.simulated_ms / wall_ms)
}
