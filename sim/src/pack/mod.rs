//! Packing a trace: how much of the devices a policy hands out before what comes fits no more.
//!
//! The experiment of Weng et al. (USENIX ATC 2023): the pods of a trace arrive in a random order, then pods drawn from it
//! at random, until what they ask for reaches a multiple of all devices; nothing departs. The figure is the share of all
//! devices that is allocated when what arrived reaches 100, 120 and 130 % of them.

mod cooked;
mod draw;
mod trace;

pub use trace::{Trace, TraceError, TraceProblem};

use std::{cmp::Reverse, collections::BTreeMap};

use draw::Draw;

use berth_core::{
    rng::SeedTree,
    schedule::{
        fragment::Kind,
        pack::{Packer, Policy, Work},
    },
};

/// At how much of the devices arrived the figure is taken, in percent.
const MARKS: [u64; 3] = [100, 120, 130];
/// How much of all pods the kinds make up that the published policy takes for typical, in percent.
const PUBLISHED_KINDS_PERCENT: u64 = 95;

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The policy.
    pub policy: Policy,
    /// The seed of the order.
    pub seed: u64,
    /// How many pods arrived.
    pub arrived: u64,
    /// How many found a place.
    pub placed: u64,
    /// The share of all devices allocated, in millionths, by what had arrived, in percent.
    pub allocated_ppm: BTreeMap<u64, u64>,
}

/// Packs a trace. `inflate_permille` is how much shall arrive, in thousandths of all devices.
pub fn pack(trace: &Trace, policy: Policy, seed: u64, inflate_permille: u64) -> Outcome {
    let tree = SeedTree::new(seed).child("pack");
    let capacity: u64 = trace.hosts.iter().map(|host| host.room.free()).sum();
    let arrivals = arrivals(trace, capacity * inflate_permille / 1_000, &mut Draw::of(seed));
    let mut rng = tree.child("ties").rng();
    let mut packer = Packer::new(policy, trace.hosts.clone(), kinds(trace, policy));
    let (mut asked, mut placed) = (0, 0);
    let mut allocated_ppm = BTreeMap::new();
    let mut marks = MARKS.into_iter().peekable();
    for work in &arrivals {
        asked += demand(work);
        placed += u64::from(packer.place(work, &mut rng).is_some());
        while let Some(mark) = marks.next_if(|mark| asked * 100 >= capacity * *mark) {
            allocated_ppm.insert(mark, share_ppm(capacity, &packer));
        }
    }
    // The last pod drawn stops just short of the goal.
    if let Some(mark) = marks.next_if(|mark| inflate_permille >= *mark * 10) {
        allocated_ppm.insert(mark, share_ppm(capacity, &packer));
    }
    Outcome { policy, seed, arrived: arrivals.len() as u64, placed, allocated_ppm }
}

fn share_ppm(capacity: u64, packer: &Packer) -> u64 {
    (capacity - packer.free()).saturating_mul(1_000_000).checked_div(capacity).unwrap_or(0)
}

fn demand(work: &Work) -> u64 {
    u64::from(work.devices) * u64::from(work.share)
}

/// Orders the pods at random, then draws more until the next would go beyond `goal`.
fn arrivals(trace: &Trace, goal: u64, draw: &mut Draw) -> Vec<Work> {
    let mut order = trace.pods.clone();
    draw.shuffle(&mut order);
    let mut total: u64 = 0;
    // A goal below what the trace asks for is reached with a part of it.
    let fitting = order.iter().take_while(|work| {
        total += demand(work);
        total <= goal
    });
    let fitting = fitting.count();
    if fitting < order.len() {
        order.truncate(fitting);
        return order;
    }
    // Pods without devices bring the goal no nearer: a trace of nothing else is never drawn from.
    while trace.pods.iter().any(|work| demand(work) > 0)
        && let Some(work) = trace.pods.get(draw.below(trace.pods.len() as u32) as usize)
    {
        total += demand(work);
        if total > goal {
            break;
        }
        order.push(work.clone());
    }
    order
}

/// Counts the kinds of pods: the work that is expected. The published policy looks at the most frequent ones alone.
fn kinds(trace: &Trace, policy: Policy) -> Vec<Kind> {
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    for work in &trace.pods {
        *counts.entry(work.kind(0)).or_default() += 1;
    }
    let mut kinds: Vec<_> = counts.into_iter().map(|(kind, weight)| Kind { weight, ..kind }).collect();
    if policy == Policy::Fgd {
        kinds.sort_by_key(|kind| Reverse(kind.weight));
        let enough = trace.pods.len() as u64 * PUBLISHED_KINDS_PERCENT;
        let mut counted = 0;
        kinds.retain(|kind| {
            let is_typical = counted * 100 < enough;
            counted += kind.weight;
            is_typical
        });
    }
    kinds
}
