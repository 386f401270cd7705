//! `berth sim`: the simulator.

use berth_core::error::{Code, Error};
use berth_sim::{Bug, Options, swarm};

use crate::{
    args::{SimArgs, SimVerb},
    output::{Fault, Output},
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
            let report = berth_sim::run(&Options { seed: args.seed, steps: args.steps, ..options(&args.sim)? });
            out.line(report.to_string());
            if report.is_clean() { Ok(()) } else { Err(broken(report.seed)) }
        }
        SimVerb::Swarm(args) => {
            let mut seen = 0;
            let swarm = swarm(args.first, args.seeds, &options(&args.sim)?, |report| {
                seen += 1;
                if seen % SEEDS_PER_REMARK == 0 {
                    out.aside(format!("{seen} of {} seeds, the last one {}", args.seeds, report.seed));
                }
            });
            out.line(swarm.to_string());
            match &swarm.failed {
                None => Ok(()),
                Some(report) => Err(broken(report.seed)),
            }
        }
    }
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
