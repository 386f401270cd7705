//! The search for a replica: whom a request is sent to, in which order, and when it is over.
//!
//! First round: each candidate once, for a free slot; the lighter of two drawn ones begins and the others follow, lightest
//! first. Second round: those that were full once more, where the least is to be done, now for a place to wait. So nobody
//! waits behind a busy slot while a free one exists anywhere. An only candidate is asked for both at once.
//!
//! What is already known is not asked again: whose gate has just been without a slot is left to the second round, whose had
//! no place to wait is asked in none, and where that is everybody the request is refused without a message. Of other
//! nodes' gates, a few are asked for a place to wait and no more.

use std::vec;

use super::{
    admission::NotStarted,
    balance::{self, Drawn, Load},
    full::Places,
    retry::{Failure, Next, Request},
    status::Refusal,
};
use crate::time::Millis;

/// Gates of other nodes that are asked for a place to wait. Where the lightest few have none, the others hardly do, and each
/// costs a message that everybody who is refused would send.
const REMOTE_PLACES_MAX: usize = 4;

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
    /// What the gate said that the replica has, running and waiting.
    pub load: Option<u64>,
    /// What decides about a retry.
    pub request: Request,
    /// Any random number: callers who are refused together shall not come back together.
    pub draw: u64,
}

// === impl Search ===

impl Search {
    /// Begins among the candidates, by what each has to do. Returns whom to ask first, or why nobody is asked. `draw` is any
    /// random number.
    pub fn open(loads: Vec<Load>, draw: u64) -> Result<(Self, Attempt), Turned> {
        let is_known = loads.iter().any(|load| load.places != Places::Unknown);
        let drawn = if is_known { draw_unknown(&loads, draw) } else { balance::draw(&loads, draw) };
        let is_only = loads.len() == 1;
        let mut search = Self {
            drawn: drawn.unwrap_or(Drawn { first: 0, other: None }),
            rest: None,
            may_queue: is_only && drawn.is_some(),
            full: Vec::new(),
            reasons: Vec::new(),
            broken: false,
            retry_after: None,
            loads,
        };
        if is_known {
            search.recall();
        }
        if drawn.is_some() {
            let first = Attempt { at: search.drawn.first, may_queue: is_only, is_last: is_only };
            return Ok((search, first));
        }
        // Nobody may have a slot: the first round is over before it began.
        search.rest = Some(Vec::new().into_iter());
        match search.next() {
            Some(first) => {
                search.drawn.first = first.at;
                Ok((search, first))
            }
            None => Err(search.turned(draw)),
        }
    }

    /// Notes what is known of full gates as if they had just said so.
    fn recall(&mut self) {
        for (at, load) in self.loads.iter().enumerate() {
            let after = match load.places {
                Places::Unknown => continue,
                Places::ToWait => {
                    self.full.push(at);
                    None
                }
                Places::None(after) => Some(after),
            };
            self.reasons.push(NotStarted::Full);
            self.retry_after = self.retry_after.into_iter().chain(after).min();
        }
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
        let may_have = |other: &usize| self.loads[*other].places == Places::Unknown && !self.full.contains(other);
        balance::in_order(&self.loads).into_iter().find(|other| *other != at && may_have(other))
    }

    /// Takes a failed attempt at `at`. `grant` is asked for what a retry costs, once, and only when one is due and somebody
    /// is left to be asked.
    pub fn failed(&mut self, at: usize, failed: Failed, grant: impl FnOnce() -> bool) -> Step {
        let Failed { failure, retry_after, load, request, draw } = failed;
        self.note(at, failure, retry_after);
        if let Some(load) = load {
            self.loads[at].outstanding = load;
        }
        // Whom to ask comes first: a retry costs nothing where nobody is left.
        let next = match failure.next(request) {
            Next::Search => self.next(),
            Next::Retry => self.next().filter(|_| grant()),
            Next::Stop => None,
        };
        next.map_or_else(|| Step::Refuse(self.turned(draw)), Step::Ask)
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
            let is_left = |at: &usize| *at != first && loads[*at].places == Places::Unknown;
            let others: Vec<_> = balance::in_order(loads).into_iter().filter(is_left).collect();
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
        let mut remote = 0;
        full.retain(|at| {
            remote += usize::from(loads[*at].remote);
            !loads[*at].remote || remote <= REMOTE_PLACES_MAX
        });
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

/// Draws two of those that may have a slot.
fn draw_unknown(loads: &[Load], draw: u64) -> Option<Drawn> {
    let (at, left): (Vec<usize>, Vec<Load>) =
        loads.iter().enumerate().filter(|(_, load)| load.places == Places::Unknown).unzip();
    let Drawn { first, other } = balance::draw(&left, draw)?;
    Some(Drawn { first: at[first], other: other.map(|other| at[other]) })
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
        play_of(loads(outstanding), fails, idempotent)
    }

    fn play_of(loads: Vec<Load>, fails: impl Fn(usize) -> Failure, idempotent: bool) -> (Vec<(usize, bool)>, Turned) {
        let (mut search, mut attempt) = match Search::open(loads, 0) {
            Ok(opened) => opened,
            Err(turned) => return (Vec::new(), turned),
        };
        let mut asked = Vec::new();
        loop {
            asked.push((attempt.at, attempt.may_queue));
            let request = Request { idempotent, replayable: true };
            let failed =
                Failed { failure: fails(attempt.at), retry_after: Some(Millis(100)), load: None, request, draw: 0 };
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

    /// What is known of each of three candidates, by rising load; who is asked when all are full, and for a place to wait
    /// or not; and when the caller hears to come back.
    #[test]
    fn what_is_known_is_not_asked_again() {
        const U: Places = Places::Unknown;
        const W: Places = Places::ToWait;
        let none = |ms| Places::None(Millis(ms));
        for (places, expected, after, why) in [
            ([U, W, U], &[(0, false), (2, false), (0, true), (1, true), (2, true)][..], 100, "who had no slot"),
            ([W, U, none(7)], &[(1, false), (0, true), (1, true)], 7, "who had not even a place to wait"),
            ([W, none(9), W], &[(0, true), (2, true)], 9, "the second round is the first where nobody had a slot"),
            ([none(900), none(30), none(70)], &[], 30, "nobody is asked where nobody had a place"),
            ([none(900), U, none(950)], &[(1, false), (1, true)], 100, "but the one that may have"),
        ] {
            let loads = [0, 1, 2].map(|at| Load { places: places[at], remote: true, ..loads(&[at as u64])[0] });
            let (asked, turned) = play_of(loads.to_vec(), |_| FULL, false);
            assert_eq!((&asked[..], turned.retry_after), (expected, Some(Millis(after))), "{why}");
            assert_eq!((turned.refusal, turned.reason), (Refusal::TooManyRequests, Some(NotStarted::Full)), "{why}");
        }
        let only = |places| vec![Load { places, ..loads(&[3])[0] }];
        for (places, asked) in [(U, &[(0, true)][..]), (W, &[(0, true)]), (none(5), &[])] {
            assert_eq!(play_of(only(places), |_| FULL, false).0, asked, "an only candidate, {places:?}");
        }
        let known = vec![Load { places: W, ..loads(&[0])[0] }, loads(&[1])[0]];
        let (asked, turned) = play_of(known, |_| DRAINING, false);
        assert_eq!((asked, turned.reason), (vec![(1, false), (0, true)], Some(NotStarted::Full)), "one was full");
    }

    #[test]
    fn a_few_other_nodes_are_asked_for_a_place_to_wait_and_every_replica_of_this_one() {
        for (remote, places) in [(true, REMOTE_PLACES_MAX), (false, 40)] {
            let loads = loads(&(0..40).collect::<Vec<_>>());
            let (asked, _) = play_of(loads.into_iter().map(|load| Load { remote, ..load }).collect(), |_| FULL, false);
            let (waits, slots): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(_, may_queue)| *may_queue);
            assert_eq!((slots.len(), waits.len()), (40, places));
            assert!(waits.iter().map(|(at, _)| *at).eq(0..places), "the lightest: {waits:?}");
        }
    }

    #[test]
    fn who_is_waited_for_goes_by_what_the_gates_have_just_said() {
        let (mut search, first) = Search::open(loads(&[0, 1]), 0).expect("a candidate");
        let request = Request { idempotent: false, replayable: true };
        let failed = |load| Failed { failure: FULL, retry_after: None, load: Some(load), request, draw: 0 };
        assert_eq!(first.at, 0);
        assert!(matches!(search.failed(0, failed(9), || true), Step::Ask(Attempt { at: 1, may_queue: false, .. })));
        assert!(matches!(search.failed(1, failed(5), || true), Step::Ask(Attempt { at: 1, may_queue: true, .. })));
    }

    #[test]
    fn an_only_candidate_is_asked_for_both_at_once() {
        let (asked, turned) = play(&[4], |_| FULL, false);
        assert_eq!((asked, turned.refusal), (vec![(0, true)], Refusal::TooManyRequests));
        assert_eq!(Search::open(Vec::new(), 7).expect_err("nobody"), Refusal::NotReady.into());
    }

    #[test]
    fn a_hedge_goes_to_the_lightest_other_that_is_not_full() {
        let (mut search, attempt) = Search::open(loads(&[1, 5, 3]), 0).expect("a candidate");
        assert_eq!((attempt.at, search.beside(0), search.beside(2)), (0, Some(2), Some(0)));
        let request = Request { idempotent: true, replayable: true };
        let step = search.failed(0, Failed { failure: FULL, retry_after: None, load: None, request, draw: 0 }, || true);
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
        let failed = Failed { failure: Failure::Broken, retry_after: None, load: None, request, draw: 0 };
        assert_eq!(search.failed(attempt.at, failed, || false), Step::Refuse(Refusal::Upstream.into()));
    }

    #[test]
    fn a_retry_is_asked_for_as_often_as_there_is_somebody_for_it() {
        for candidates in 1..4 {
            let (mut search, mut attempt) = Search::open(loads(&vec![0; candidates]), 0).expect("a candidate");
            let request = Request { idempotent: true, replayable: true };
            let failed = || Failed { failure: Failure::Broken, retry_after: None, load: None, request, draw: 0 };
            let mut granted = 0;
            let grant = |granted: &mut usize| {
                *granted += 1;
                true
            };
            while let Step::Ask(next) = search.failed(attempt.at, failed(), || grant(&mut granted)) {
                attempt = next;
            }
            assert_eq!(granted, candidates - 1);
        }
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
                let failed = Failed { failure: fails(attempt.at), retry_after: None, load: None, request, draw };
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
