//! The search for a replica: whom a request is sent to, in which order, and when it is over.
//!
//! First round: each candidate once, for a free slot; the lighter of two drawn ones begins and the others follow, lightest
//! first. Second round: those that were full once more, where the least is to be done, now for a place to wait. So nobody
//! waits behind a busy slot while a free one exists anywhere. An only candidate is asked for both at once.

use std::vec;

use super::{
    admission::NotStarted,
    balance::{self, Drawn, Load},
    retry::{Failure, Next, Request},
    status::Refusal,
};
use crate::time::Millis;

/// A request on its way, as a router sees it.
#[derive(Clone, Debug)]
pub struct Search {
    loads: Vec<Load>,
    drawn: Drawn,
    /// Who is still to be asked in this round; nothing before the first failed, since most never do.
    rest: Option<vec::IntoIter<usize>>,
    may_queue: bool,
    full: Vec<usize>,
    reasons: Vec<NotStarted>,
    /// The last failure may have been work.
    broken: bool,
    /// The earliest that any gate named.
    retry_after: Option<Millis>,
}

/// One replica to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its position among the candidates.
    pub at: usize,
    /// Whether the request may take a place to wait there.
    pub may_queue: bool,
    /// Whether nobody is asked after it, whatever comes of it.
    pub is_last: bool,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask another.
    Ask(Attempt),
    /// It is over.
    Refuse(Turned),
}

/// A request that got no answer of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned {
    /// What the caller hears.
    pub refusal: Refusal,
    /// What decided, of what the gates said.
    pub reason: Option<NotStarted>,
    /// When it is worth trying again, as far as is known.
    pub retry_after: Option<Millis>,
}

/// What a router knows when an attempt has failed.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// How.
    pub failure: Failure,
    /// When the gate expects a free place, where it refused for want of one.
    pub retry_after: Option<Millis>,
    /// What decides about a retry.
    pub request: Request,
    /// Any random number: callers who are refused together shall not come back together.
    pub draw: u64,
}

// === impl Search ===

impl Search {
    /// Begins among the candidates, by what each has to do. Returns whom to ask first; nothing when there is no candidate.
    /// `draw` is any random number.
    pub fn open(loads: Vec<Load>, draw: u64) -> Option<(Self, Attempt)> {
        let drawn = balance::draw(&loads, draw)?;
        let is_only = loads.len() == 1;
        let search = Self {
            loads,
            drawn,
            rest: None,
            may_queue: is_only,
            full: Vec::new(),
            reasons: Vec::new(),
            broken: false,
            retry_after: None,
        };
        Some((search, Attempt { at: drawn.first, may_queue: is_only, is_last: is_only }))
    }

    /// Returns which two were drawn.
    pub fn drawn(&self) -> Drawn {
        self.drawn
    }

    /// Returns what was known of a candidate.
    pub fn load(&self, at: usize) -> Load {
        self.loads[at]
    }

    /// Returns whom to ask beside `at` without waiting for it: the lightest other one that has not just been full.
    pub fn beside(&self, at: usize) -> Option<usize> {
        balance::in_order(&self.loads).into_iter().find(|other| *other != at && !self.full.contains(other))
    }

    /// Takes a failed attempt at `at`. `grant` is asked for what a retry costs, once, and only when one is due.
    pub fn failed(&mut self, at: usize, failed: Failed, grant: impl FnOnce() -> bool) -> Step {
        let Failed { failure, retry_after, request, draw } = failed;
        self.note(at, failure, retry_after);
        let goes_on = match failure.next(request) {
            Next::Search => true,
            Next::Retry => grant(),
            Next::Stop => false,
        };
        match self.next().filter(|_| goes_on) {
            Some(attempt) => Step::Ask(attempt),
            None => Step::Refuse(self.turned(draw)),
        }
    }

    fn note(&mut self, at: usize, failure: Failure, retry_after: Option<Millis>) {
        self.broken = matches!(failure, Failure::Broken | Failure::BeforeBody);
        match failure {
            Failure::NotStarted(reason) => {
                self.reasons.push(reason);
                if reason == NotStarted::Full && !self.may_queue {
                    self.full.push(at);
                }
            }
            Failure::GateUnreachable => self.reasons.push(NotStarted::Unreachable),
            Failure::BeforeBody | Failure::Broken => {}
        }
        self.retry_after = self.retry_after.into_iter().chain(retry_after).min();
    }

    fn next(&mut self) -> Option<Attempt> {
        let first = self.drawn.first;
        let loads = &self.loads;
        let rest = self.rest.get_or_insert_with(|| {
            let others: Vec<_> = balance::in_order(loads).into_iter().filter(|at| *at != first).collect();
            others.into_iter()
        });
        if let Some(at) = rest.next() {
            return Some(Attempt { at, may_queue: self.may_queue, is_last: false });
        }
        if self.may_queue {
            return None;
        }
        self.may_queue = true;
        let mut full = std::mem::take(&mut self.full);
        full.sort_by(|a, b| loads[*a].lighter(&loads[*b]));
        *rest = full.into_iter();
        rest.next().map(|at| Attempt { at, may_queue: true, is_last: false })
    }

    fn turned(&self, draw: u64) -> Turned {
        if self.broken {
            return Refusal::Upstream.into();
        }
        let (refusal, reason) = Refusal::of_not_started(self.reasons.iter().copied());
        Turned { refusal, reason, retry_after: self.retry_after.map(|after| spread(after, draw)) }
    }
}

/// Spreads callers who are refused together over half as long again, so that they do not come back together.
pub fn spread(after: Millis, draw: u64) -> Millis {
    Millis(after.0 + draw % (after.0 / 2 + 1))
}

// === impl Turned ===

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, reason: None, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: Failure = Failure::NotStarted(NotStarted::Full);
    const DRAINING: Failure = Failure::NotStarted(NotStarted::Draining);

    fn loads(outstanding: &[u64]) -> Vec<Load> {
        outstanding
            .iter()
            .map(|outstanding| Load { outstanding: *outstanding, capacity_milli: 1_000, ..Load::default() })
            .collect()
    }

    /// Tells the search that everybody fails like this; returns who was asked, and whether for a place to wait.
    fn play(outstanding: &[u64], fails: impl Fn(usize) -> Failure, idempotent: bool) -> (Vec<(usize, bool)>, Turned) {
        let (mut search, mut attempt) = Search::open(loads(outstanding), 0).expect("a candidate");
        let mut asked = Vec::new();
        loop {
            asked.push((attempt.at, attempt.may_queue));
            let request = Request { idempotent, replayable: true };
            let failed = Failed { failure: fails(attempt.at), retry_after: Some(Millis(100)), request, draw: 0 };
            match search.failed(attempt.at, failed, || true) {
                Step::Ask(next) => attempt = next,
                Step::Refuse(turned) => return (asked, turned),
            }
        }
    }

    #[test]
    fn a_free_slot_is_looked_for_everywhere_before_anybody_waits() {
        let (asked, turned) = play(&[1, 5, 3], |_| FULL, false);
        assert_eq!(asked, [(0, false), (2, false), (1, false), (0, true), (2, true), (1, true)]);
        assert_eq!((turned.refusal, turned.reason), (Refusal::TooManyRequests, Some(NotStarted::Full)));
        assert_eq!(turned.retry_after, Some(Millis(100)));
        let (asked, _) = play(&[1, 5, 3], |at| if at == 2 { FULL } else { DRAINING }, false);
        assert_eq!(asked, [(0, false), (2, false), (1, false), (2, true)], "only who was full is waited for");
    }

    #[test]
    fn an_only_candidate_is_asked_for_both_at_once() {
        let (asked, turned) = play(&[4], |_| FULL, false);
        assert_eq!((asked, turned.refusal), (vec![(0, true)], Refusal::TooManyRequests));
        assert!(Search::open(Vec::new(), 7).is_none());
    }

    #[test]
    fn a_hedge_goes_to_the_lightest_other_that_is_not_full() {
        let (mut search, attempt) = Search::open(loads(&[1, 5, 3]), 0).expect("a candidate");
        assert_eq!((attempt.at, search.beside(0), search.beside(2)), (0, Some(2), Some(0)));
        let request = Request { idempotent: true, replayable: true };
        let step = search.failed(0, Failed { failure: FULL, retry_after: None, request, draw: 0 }, || true);
        assert_eq!(step, Step::Ask(Attempt { at: 2, may_queue: false, is_last: false }));
        assert_eq!(search.beside(2), Some(1), "the lightest of all has just been full");
        assert_eq!(Search::open(loads(&[1]), 0).expect("a candidate").0.beside(0), None);
    }

    #[test]
    fn what_may_have_been_done_is_the_last_word_unless_it_may_be_done_twice() {
        let (asked, turned) = play(&[0, 1], |_| Failure::Broken, false);
        assert_eq!((asked.len(), turned.refusal), (1, Refusal::Upstream));
        let (asked, turned) = play(&[0, 1], |_| Failure::Broken, true);
        assert_eq!((asked.len(), turned.refusal), (2, Refusal::Upstream));
        let expired = Failure::NotStarted(NotStarted::Expired);
        assert_eq!(play(&[0, 1], |_| expired, true).1.refusal, Refusal::Timeout);
    }

    #[test]
    fn a_retry_that_is_not_granted_ends_it() {
        let (mut search, attempt) = Search::open(loads(&[0, 0]), 0).expect("a candidate");
        let request = Request { idempotent: true, replayable: true };
        let failed = Failed { failure: Failure::Broken, retry_after: None, request, draw: 0 };
        assert_eq!(search.failed(attempt.at, failed, || false), Step::Refuse(Refusal::Upstream.into()));
    }

    proptest! {
        /// However they fail, it ends, nobody is asked twice in a round, and the second round asks only who was full.
        #[test]
        fn it_always_ends(outstanding in prop::collection::vec(0_u64..9, 1..9), draw: u64, how in prop::collection::vec(0_u8..4, 9)) {
            let count = outstanding.len();
            let (mut search, mut attempt) = Search::open(loads(&outstanding), draw).expect("a candidate");
            let mut rounds = [vec![0_u32; count], vec![0; count]];
            let fails = |at: usize| [FULL, DRAINING, Failure::GateUnreachable, Failure::BeforeBody][usize::from(how[at])];
            loop {
                rounds[usize::from(attempt.may_queue && count > 1)][attempt.at] += 1;
                let request = Request { idempotent: false, replayable: true };
                let failed = Failed { failure: fails(attempt.at), retry_after: None, request, draw };
                match search.failed(attempt.at, failed, || true) {
                    Step::Ask(next) => attempt = next,
                    Step::Refuse(_) => break,
                }
            }
            prop_assert!(rounds[0].iter().all(|times| *times == 1), "{rounds:?}");
            for (at, queued) in rounds[1].iter().enumerate() {
                prop_assert_eq!(*queued, u32::from(count > 1 && fails(at) == FULL));
            }
        }
    }
}
