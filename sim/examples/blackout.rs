//! Measures a fleet that loses hosts at once, on the virtual clock: `blackout [NODES INSTANCES PERCENT SEEDS]`.

use std::{io::Write as _, time::Instant};

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (nodes, instances, percent, seeds) = (number(1_000), number(1_500), number(30), number(3));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{nodes} hosts, {instances} instances, {percent} % lose power at once (virtual clock)")?;
    for seed in 1..=seeds {
        let began = Instant::now();
        let told = berth_sim::blackout(seed, nodes as usize, instances as u32, percent);
        let told = told.map_or_else(|why| why, |told| told.to_string());
        writeln!(out, "  seed {seed}: {told}; {} s of computing", began.elapsed().as_secs())?;
        out.flush()?;
    }
    Ok(())
}
