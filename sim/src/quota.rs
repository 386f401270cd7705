//! Quotas in a seed: limits that come, tighten and go, a pool, and loans out of it.

use std::collections::BTreeMap;

use berth_core::{
    id::LoanId,
    model::{Family, LOAN_MIN, ProjectName},
    state::Command,
    time::Millis,
};

use crate::{action::Action, event::Event, world::World};

/// Fills a seed's queue, in two seeds of five.
pub(crate) fn schedule(world: &mut World, ends: u64) {
    let mut rng = world.seed.child("quotas").rng();
    if rng.chance(600) {
        return;
    }
    let mut at = 2_000;
    while at < ends {
        world.at(at, Event::Do(Action::RandomQuotaChange));
        at += 500 + rng.below(4_000);
    }
    world.quota_rng = rng;
}

/// The limit of the project that everything in the simulator belongs to.
pub(crate) fn limit(cores: Option<u64>) -> Command {
    let limits = BTreeMap::from([(Family::CPU, cores.map(|cores| cores * 1_000))]);
    Command::QuotaSet { project: ProjectName::default(), limits, if_revision: None }
}

pub(crate) fn pool(cores: u64) -> Command {
    let amounts = BTreeMap::from([(Family::CPU, Some(cores * 1_000))]);
    Command::PoolSet { amounts, if_revision: None }
}

pub(crate) fn lend(loan: u64, cores: u64, within: Millis) -> Command {
    let (loan, milli) = (LoanId(loan), cores * 1_000);
    Command::QuotaLend { loan, project: ProjectName::default(), family: Family::CPU, milli, within }
}

// === impl World ===

impl World {
    pub(crate) fn random_quota_change(&mut self) {
        let mut rng = self.quota_rng.clone();
        let lent: Vec<LoanId> = self.truth().quotas.loans.keys().copied().collect();
        let command = match rng.below(10) {
            0..4 => limit(Some(1 + rng.below(16))),
            4 => limit(None),
            5 => pool(rng.below(12)),
            6 if !lent.is_empty() => Command::QuotaReturn { loan: *rng.pick(&lent).expect("some are lent") },
            _ => lend(rng.next_u64(), 1 + rng.below(6), Millis(LOAN_MIN.0 + rng.below(10_000))),
        };
        self.quota_rng = rng;
        self.act(Action::Change(Box::new(command)));
    }
}
