//! Packs a published trace with every policy and ten seeds or more, one policy after another per seed, and prints medians beside
//! the published figures.
//!
//! `cargo run --release -p berth-sim --example packing -- NODES.csv PODS.csv [SEEDS]`. The trace is Alibaba's
//! cluster-trace-gpu-v2023 (`openb_node_list_gpu_node.csv`, `openb_pod_list_default.csv`); it is not part of this
//! repository. Seconds are those the one thread was on a processor. The figures are those of Weng et al., USENIX ATC 2023,
//! for the traces of which they are known here, told by the name of the pods' file.

use std::{error::Error, fs::File, io::Write as _, path::Path, time::Instant};

use berth_core::schedule::pack::Policy;
use berth_sim::pack::{Outcome, Trace, pack};

/// The published share of devices that is allocated when 120 % of them arrived, in percent, by the pods' file.
const PUBLISHED: [(&str, &[(Policy, &str)]); 2] = [
    ("openb_pod_list_default", &[(Policy::Random, "87.16"), (Policy::BestFit, "93.04"), (Policy::Fgd, "95.37")]),
    ("openb_pod_list_gpuspec33", &[(Policy::Random, "86.04"), (Policy::Fgd, "94.50")]),
];
/// The first seed, and how many there are unless the command line says otherwise: those of the published runs.
const SEED: u64 = 42;
const SEEDS: u64 = 10;
/// How much arrives, in thousandths of all devices.
const INFLATE_PERMILLE: u64 = 1_300;

/// One run and what it took.
struct Run {
    outcome: Outcome,
    micros: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(nodes), Some(pods)) = (words.next(), words.next()) else {
        return Err("packing NODES.csv PODS.csv [SEEDS]".into());
    };
    let seeds = words.next().map_or(Ok(SEEDS), |word| word.parse())?;
    let known = Path::new(&pods).file_stem().and_then(|stem| PUBLISHED.iter().find(|(name, _)| stem == *name));
    let trace = Trace::read(File::open(nodes)?, File::open(&pods)?)?;
    let mut out = std::io::stdout().lock();
    let mut runs: Vec<Run> = Vec::new();
    for seed in SEED..SEED + seeds {
        for policy in Policy::ALL {
            let run = Run::of(&trace, policy, seed);
            let marks: Vec<_> = [100, 120, 130].map(|mark| percent(run.at(mark))).into();
            writeln!(out, "{policy:<9} {seed}  {}  {:.2} s", marks.join("  "), run.micros as f64 / 1e6)?;
            runs.push(run);
        }
    }
    writeln!(out, "\npolicy    at 100 %  at 120 %  at 130 %  at 120 %, all seeds  published  placements/s")?;
    for policy in Policy::ALL {
        let own: Vec<_> = runs.iter().filter(|run| run.outcome.policy == policy).collect();
        let marks = [100, 120, 130].map(|mark| percent(median(own.iter().map(|run| run.at(mark)).collect())));
        let range = |pick: fn(u64, u64) -> u64| own.iter().map(|run| run.at(120)).reduce(pick).unwrap_or(0);
        let spread = format!("{} to {}", percent(range(u64::min)), percent(range(u64::max)));
        let published = known.iter().flat_map(|(_, figures)| *figures).find(|(of, _)| *of == policy);
        let published = published.map_or("-", |(_, percent)| percent);
        let rate = median(own.iter().map(|run| run.outcome.placed * 1_000_000 / run.micros.max(1)).collect());
        let [first, second, third] = marks;
        writeln!(out, "{policy:<9} {first:<9} {second:<9} {third:<9} {spread:<20} {published:<10} {rate}")?;
    }
    Ok(())
}

/// Writes millionths as percent.
fn percent(ppm: u64) -> String {
    format!("{}.{:02}", ppm / 10_000, ppm % 10_000 / 100)
}

/// Returns how long this thread has been on a processor, where the kernel says.
fn on_cpu_us() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? / 1_000)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    low.midpoint(high)
}

// === impl Run ===

impl Run {
    fn of(trace: &Trace, policy: Policy, seed: u64) -> Self {
        let (began, on_cpu) = (Instant::now(), on_cpu_us());
        let outcome = pack(trace, policy, seed, INFLATE_PERMILLE);
        let wall_us = began.elapsed().as_micros() as u64;
        Self { outcome, micros: on_cpu.zip(on_cpu_us()).map_or(wall_us, |(before, after)| after - before) }
    }

    fn at(&self, mark: u64) -> u64 {
        self.outcome.allocated_ppm.get(&mark).copied().unwrap_or(0)
    }
}
