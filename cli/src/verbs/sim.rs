//! `berth sim`: the simulator.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path, time::Instant};

use berth_core::error::{Code, Error, Problems};
use berth_sim::{Bug, Options, Report, Tally, pack::Trace, swarm};
use serde::Serialize;

use crate::{
    args::{SimArgs, SimPackArgs, SimVerb},
    output::{Fault, Misused, NO_ANSWER, Output},
};

/// How often progress is told.
const SEEDS_PER_REMARK: u64 = 100;

pub(super) async fn run(verb: SimVerb, out: Output) -> Result<(), Fault> {
    // Minutes of computing, and nothing to await.
    let ran = tokio::task::spawn_blocking(move || run_blocking(verb, &out)).await;
    ran.unwrap_or_else(|error| Err(Error::new(Code::Internal, "the simulator stopped").why(error.to_string()).into()))
}

fn run_blocking(verb: SimVerb, out: &Output) -> Result<(), Fault> {
    match verb {
        SimVerb::Run(args) => {
            let report =
                berth_sim::run(&Options { seed: args.seed, steps: args.steps, ..options(&args.sim).or_misused()? });
            out.value(&Run::of(&report), &report.seed.to_string(), || out.line(report.to_string()))?;
            if report.is_clean() { Ok(()) } else { Err(broken(report.seed)) }
        }
        SimVerb::Pack(args) => pack(&args, out),
        SimVerb::Cluster(args) => super::size::run(&args, out).map_err(|fault| fault.with_exit(NO_ANSWER)),
        SimVerb::Swarm(args) => {
            let mut seen = 0;
            let swarm = swarm(args.first, args.seeds, &options(&args.sim).or_misused()?, |report| {
                seen += 1;
                if seen % SEEDS_PER_REMARK == 0 {
                    out.aside(format!("{seen} of {} seeds, the last one {}", args.seeds, report.seed));
                }
            });
            let told = Many {
                seeds: swarm.seeds,
                accepted: swarm.requests,
                entries: swarm.entries,
                simulated_ms: swarm.simulated_ms,
                trace_hash: format!("{:016x}", swarm.trace_hash),
                failed: swarm.failed.as_deref().map(Run::of),
            };
            out.value(&told, &told.seeds.to_string(), || out.line(swarm.to_string()))?;
            match &swarm.failed {
                None => Ok(()),
                Some(report) => Err(broken(report.seed)),
            }
        }
    }
}

/// What a seed came to, for programs.
#[derive(Serialize)]
struct Run {
    seed: u64,
    /// Its hash in hex, as it is printed: not every reader of JSON has 64 bits.
    trace_hash: String,
    accepted: u64,
    answered: u64,
    shed: u64,
    failed_by_fault: u64,
    lost: u64,
    mirrored: u64,
    entries: u64,
    terms: u64,
    events: u64,
    simulated_ms: u64,
    violations: Vec<Broken>,
    trace: Vec<String>,
    replay: String,
}

#[derive(Serialize)]
struct Broken {
    invariant: String,
    what: String,
    at_ms: u64,
}

/// What many seeds came to, for programs.
#[derive(Serialize)]
struct Many {
    seeds: u64,
    accepted: u64,
    entries: u64,
    simulated_ms: u64,
    trace_hash: String,
    failed: Option<Run>,
}

// === impl Run ===

impl Run {
    fn of(report: &Report) -> Self {
        let Tally { accepted, answered, shed, failed_by_fault, lost, mirrored } = report.requests;
        let violations = report.violations.iter().map(|found| Broken {
            invariant: found.id.clone(),
            what: found.what.clone(),
            at_ms: found.at_ms,
        });
        Self {
            seed: report.seed,
            trace_hash: format!("{:016x}", report.trace_hash),
            accepted,
            answered,
            shed,
            failed_by_fault,
            lost,
            mirrored,
            entries: report.entries,
            terms: report.terms,
            events: report.events,
            simulated_ms: report.simulated_ms,
            violations: violations.collect(),
            // A clean run's story is not asked for.
            trace: if report.is_clean() { Vec::new() } else { report.trace.clone() },
            replay: report.replay(),
        }
    }
}

/// What packing a trace came to, for programs.
#[derive(Serialize)]
struct Packing {
    policy: &'static str,
    seed: u64,
    placements: u64,
    seconds: f64,
    /// By what had arrived, both in percent of all devices.
    gpu_allocation_percent: BTreeMap<String, f64>,
}

fn pack(args: &SimPackArgs, out: &Output) -> Result<(), Fault> {
    let open = |path: &Path| {
        File::open(path).map(BufReader::new).map_err(|error| {
            Error::new(Code::PathMissing, format!("cannot read {}", path.display())).why(error.to_string())
        })
    };
    let trace = Trace::read(open(&args.nodes)?, open(&args.pods)?).map_err(|error| {
        let mut problems = Problems::default();
        for problem in &error.problems {
            let path = if problem.file == "nodes" { &args.nodes } else { &args.pods };
            let column = problem.column.map(|column| format!(" {column}")).unwrap_or_default();
            problems.add_try(format!("{}:{}{column}", path.display(), problem.line), &problem.what, &problem.try_);
        }
        problems
            .into_result(Code::Invalid, "the trace")
            .err()
            .unwrap_or_else(|| Error::new(Code::Invalid, "the trace cannot be read").why(error.to_string()))
    })?;
    let began = Instant::now();
    let outcome = berth_sim::pack::pack(&trace, args.policy, args.seed, args.inflate);
    let percent = |(mark, ppm): (&u64, &u64)| (mark.to_string(), *ppm as f64 / 10_000.0);
    let packing = Packing {
        policy: outcome.policy.word(),
        seed: outcome.seed,
        placements: outcome.placed,
        seconds: began.elapsed().as_secs_f64(),
        gpu_allocation_percent: outcome.allocated_ppm.iter().map(percent).collect(),
    };
    Ok(out.value(&packing, packing.policy, || {
        let rate = packing.placements as f64 / packing.seconds;
        out.line(format!("policy      {}", packing.policy));
        out.line(format!(
            "placements  {} of {} in {:.2} s, {rate:.0}/s",
            packing.placements, outcome.arrived, packing.seconds
        ));
        for (arrived, allocated) in &packing.gpu_allocation_percent {
            out.line(format!("allocated   {allocated:.2} % of the devices after {arrived} % arrived"));
        }
    })?)
}

fn options(args: &SimArgs) -> Result<Options, Error> {
    let default = Options::default();
    let bug = match &args.bug {
        None => None,
        Some(word) => Some(word.parse::<Bug>().map_err(|_| {
            let words: Vec<_> = Bug::ALL.iter().map(|bug| bug.word()).collect();
            Error::new(Code::Invalid, format!("`{word}` is no bug that can be planted")).try_(words.join(", "))
        })?),
    };
    Ok(Options {
        members: args.members.unwrap_or(default.members),
        nodes: args.nodes.unwrap_or(default.nodes),
        seconds: args.seconds.unwrap_or(default.seconds),
        faults: args.faults.or(default.faults),
        bug,
        ..default
    })
}

fn broken(seed: u64) -> Fault {
    Error::new(Code::Internal, format!("seed {seed} breaks an invariant"))
        .try_(format!("berth sim run --seed {seed}"))
        .into()
}
