//! Admission at the gate: how many requests a replica works on, how many may wait, and who is next.
//!
//! Azure's law: a deployment takes `2 × max_concurrent × instances` requests, half of them waiting. Kept per replica by
//! the one gate that sends to it, the law is exact: the list of waiters is at most as long as the slots. Waiters are
//! served by deadline, because the one that expires first profits most from the next slot; one that has expired is never
//! started, because nobody reads its answer. A slot is freed when the *work* ends, which for a worker that cannot be
//! cancelled is later than when its caller has left; the shell decides when that is and calls [`Admission::release`].
//!
//! A gate that is handed over is two for a while, and the law holds for both together: the older one drains, so that what it
//! has taken only falls, and says how much that is; the newer one counts what it heard last as taken ([`Admission::taken`]).
//! What was said is never less than what is, whatever is on the way between them.

use std::collections::BTreeSet;

use super::pace::Pace;
use crate::time::{Instant, Millis};

/// The state of one replica's gate.
#[derive(Clone, Debug)]
pub struct Admission {
    phase: Phase,
    slots: u32,
    busy: u32,
    /// Slots that an older gate of the same replica still holds.
    elsewhere: u32,
    waiting: BTreeSet<Waiter>,
    next_seq: u64,
    pace: Pace,
}

/// Whether a replica takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet.
    Starting,
    /// As many as there are slots.
    Open,
    /// Only those it has.
    Draining,
    /// None; those that wait are refused.
    Closed,
}

/// What a request asks of a gate.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Now.
    pub now: Instant,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    /// How long it may wait for a slot.
    pub max_wait: Millis,
    /// Whether it may wait at all: a router asks every replica for a free slot before it queues at one.
    pub may_queue: bool,
}

/// A place in the list of waiters; the earliest deadline first, then the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiter {
    deadline: Instant,
    seq: u64,
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a started request holds a slot until it is released"]
pub enum Answer {
    /// It holds a slot.
    Start,
    /// It waits, at most until then; whoever gives up calls [`Admission::leave`].
    Wait {
        /// Its place.
        waiter: Waiter,
        /// When it has waited long enough.
        until: Instant,
        /// What becomes of it then.
        otherwise: NotStarted,
    },
    /// It was not started.
    Refused(NotStarted),
}

/// Why a request was not started. Always safe to send elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotStarted {
    /// Every slot is taken, and so is every place to wait (or waiting was not asked for).
    Full,
    /// This gate has no such replica.
    Unknown,
    /// The replica finishes what it has.
    Draining,
    /// The deadline passed before a slot was free.
    Expired,
    /// The replica does not accept connections.
    Unreachable,
    /// The replica does not answer yet.
    Starting,
    /// The caller is no gate of this cluster.
    Token,
}

/// What follows from a freed slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the waiters named here hold slots or are refused"]
pub struct Woken {
    /// They hold a slot now.
    pub start: Vec<Waiter>,
    /// They are not started.
    pub refuse: Vec<(Waiter, NotStarted)>,
}

// === impl Admission ===

impl Admission {
    /// Opens a gate of `slots` slots in a phase.
    pub fn new(slots: u32, phase: Phase) -> Self {
        let (waiting, pace) = (BTreeSet::new(), Pace::default());
        Self { phase, slots: slots.max(1), busy: 0, elsewhere: 0, waiting, next_seq: 0, pace }
    }

    /// Decides about one request.
    pub fn ask(&mut self, ask: Ask) -> Answer {
        match self.phase {
            Phase::Starting => return Answer::Refused(NotStarted::Starting),
            Phase::Draining | Phase::Closed => return Answer::Refused(NotStarted::Draining),
            Phase::Open => {}
        }
        if ask.now >= ask.deadline {
            return Answer::Refused(NotStarted::Expired);
        }
        if !self.is_full() {
            self.busy += 1;
            if self.is_full() {
                self.pace.full(ask.now);
            }
            return Answer::Start;
        }
        if !ask.may_queue || ask.max_wait.0 == 0 || self.waiting.len() >= self.slots as usize {
            return Answer::Refused(NotStarted::Full);
        }
        let waiter = Waiter { deadline: ask.deadline, seq: self.next_seq };
        self.next_seq += 1;
        self.waiting.insert(waiter);
        let (last_call, longest) = (last_call(ask.now, ask.deadline), ask.now + ask.max_wait);
        let (until, otherwise) =
            if longest < last_call { (longest, NotStarted::Full) } else { (last_call, NotStarted::Expired) };
        Answer::Wait { waiter, until, otherwise }
    }

    /// Frees a slot and hands it on.
    pub fn release(&mut self, now: Instant) -> Woken {
        self.busy = self.busy.saturating_sub(1);
        let woken = self.hand_on(now);
        self.pace.ended(now, self.is_full());
        woken
    }

    /// Returns when a request that is refused now should be tried again, from how fast this gate drains.
    pub fn retry_after(&self, now: Instant) -> Millis {
        self.pace.retry_after(self.waiting(), now)
    }

    /// Takes a waiter off the list. False when it is no longer there: it was started, and whoever gave up for it
    /// releases its slot.
    pub fn leave(&mut self, waiter: Waiter) -> bool {
        self.waiting.remove(&waiter)
    }

    /// Changes how many requests may run; more may start at once, none is stopped.
    pub fn set_slots(&mut self, slots: u32, now: Instant) -> Woken {
        self.slots = slots.max(1);
        self.hand_on(now)
    }

    /// Changes how many slots an older gate of the same replica holds; more may start at once, none is stopped.
    pub fn set_elsewhere(&mut self, taken: u32, now: Instant) -> Woken {
        let ended = taken < self.elsewhere;
        self.elsewhere = taken;
        let woken = self.hand_on(now);
        // Who is refused meanwhile hears how fast places come free there.
        if ended {
            self.pace.ended(now, self.is_full());
        } else if self.is_full() {
            self.pace.full(now);
        }
        woken
    }

    /// Changes the phase. A draining replica still serves those that wait: they were accepted.
    pub fn set_phase(&mut self, phase: Phase) -> Woken {
        self.phase = phase;
        let mut woken = Woken::default();
        if phase == Phase::Closed {
            let all = std::mem::take(&mut self.waiting);
            woken.refuse.extend(all.into_iter().map(|waiter| (waiter, NotStarted::Draining)));
        }
        woken
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns how many requests run.
    pub fn busy(&self) -> u32 {
        self.busy
    }

    /// Returns how many slots are taken, here and by an older gate. While this one drains, it never rises.
    pub fn taken(&self) -> u32 {
        self.busy.saturating_add(self.elsewhere)
    }

    /// Returns how many requests wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Returns how many requests may run.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Returns how many requests run or wait at this gate.
    pub fn in_flight(&self) -> u32 {
        self.busy + self.waiting()
    }

    /// Returns what the replica has to do, as far as this gate knows: it decides who is picked.
    pub fn load(&self) -> u32 {
        self.taken().saturating_add(self.waiting())
    }

    fn is_full(&self) -> bool {
        self.taken() >= self.slots
    }

    fn hand_on(&mut self, now: Instant) -> Woken {
        let mut woken = Woken::default();
        while !self.is_full()
            && let Some(waiter) = self.waiting.pop_first()
        {
            if waiter.deadline <= now {
                woken.refuse.push((waiter, NotStarted::Expired));
            } else {
                self.busy += 1;
                woken.start.push(waiter);
            }
        }
        woken
    }
}

// === impl NotStarted ===

impl NotStarted {
    /// Every reason.
    pub const ALL: [Self; 7] =
        [Self::Full, Self::Unknown, Self::Draining, Self::Expired, Self::Unreachable, Self::Starting, Self::Token];

    /// Returns the word that travels between gates.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unknown => "unknown",
            Self::Draining => "draining",
            Self::Expired => "expired",
            Self::Unreachable => "unreachable",
            Self::Starting => "starting",
            Self::Token => "token",
        }
    }

    /// Finds a reason by its word.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word().as_bytes() == word)
    }
}

/// Returns until when a request waits for a slot: a little less than its caller does, so that what became of it is heard
/// before the deadline ends the talk. Work begun that late would be for nobody anyway.
fn last_call(now: Instant, deadline: Instant) -> Instant {
    let left = deadline.since(now);
    now + Millis(left.0 - (left.0 / 20).min(WORD_MS))
}

/// How long a gate's word may take to the caller's node.
const WORD_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(now: u64, deadline: u64, may_queue: bool) -> Ask {
        let at = Instant::from_millis;
        Ask { now: at(now), deadline: at(deadline), max_wait: Millis(500), may_queue }
    }

    fn open(slots: u32) -> Admission {
        Admission::new(slots, Phase::Open)
    }

    fn waiting(answer: Answer) -> Waiter {
        let Answer::Wait { waiter, .. } = answer else { panic!("{answer:?} does not wait") };
        waiter
    }

    #[test]
    fn twice_the_slots_and_not_one_more() {
        let mut gate = open(2);
        assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Start);
        assert_eq!(gate.ask(ask(0, 9_000, true)), Answer::Start);
        assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Refused(NotStarted::Full), "it asked for a free slot only");
        let first = gate.ask(ask(0, 9_000, true));
        let Answer::Wait { until, otherwise, .. } = first else { panic!("{first:?}") };
        assert_eq!((until, otherwise), (Instant::from_millis(500), NotStarted::Full), "the longest wait ends first");
        let _second = waiting(gate.ask(ask(0, 9_000, true)));
        assert_eq!(gate.ask(ask(0, 9_000, true)), Answer::Refused(NotStarted::Full));
        assert_eq!(gate.in_flight(), 4);
    }

    #[test]
    fn who_waits_in_vain_hears_it_before_the_deadline() {
        for (deadline, until) in [(9_000, 8_990), (200, 190), (100, 95), (19, 19), (1, 1)] {
            let mut gate = open(1);
            assert_eq!(gate.ask(ask(0, 9_000, true)), Answer::Start);
            let asked = gate.ask(Ask { max_wait: Millis(60_000), ..ask(0, deadline, true) });
            let Answer::Wait { until: heard, otherwise, .. } = asked else { panic!("{asked:?}") };
            assert_eq!((heard, otherwise), (Instant::from_millis(until), NotStarted::Expired), "{deadline} ms");
        }
    }

    #[test]
    fn the_earliest_deadline_is_next_and_the_expired_never_start() {
        let mut gate = open(3);
        (0..3).for_each(|_| assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Start));
        let late = waiting(gate.ask(ask(0, 3_000, true)));
        let soon = waiting(gate.ask(ask(1, 2_000, true)));
        let expired = waiting(gate.ask(ask(2, 100, true)));
        let woken = gate.release(Instant::from_millis(100));
        assert_eq!(woken, Woken { start: vec![soon], refuse: vec![(expired, NotStarted::Expired)] });
        assert!(!gate.leave(soon), "it was started: its slot has to be released");
        assert!(gate.leave(late));
        assert_eq!(gate.release(Instant::from_millis(101)), Woken::default());
        assert_eq!((gate.busy(), gate.waiting()), (2, 0));
        assert_eq!(gate.ask(ask(100, 100, true)), Answer::Refused(NotStarted::Expired));
    }

    #[test]
    fn phases_refuse_with_their_reason() {
        for (phase, refusal) in [
            (Phase::Starting, NotStarted::Starting),
            (Phase::Draining, NotStarted::Draining),
            (Phase::Closed, NotStarted::Draining),
        ] {
            assert_eq!(Admission::new(1, phase).ask(ask(0, 9_000, true)), Answer::Refused(refusal));
        }
        let mut gate = open(1);
        assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Start);
        let waiter = waiting(gate.ask(ask(0, 9_000, true)));
        assert_eq!(gate.set_phase(Phase::Draining), Woken::default(), "who waits was accepted");
        let mut drained = gate.clone();
        assert_eq!(drained.release(Instant::from_millis(1)).start, [waiter]);
        assert_eq!(gate.set_phase(Phase::Closed).refuse, [(waiter, NotStarted::Draining)]);
    }

    #[test]
    fn a_new_number_of_slots_starts_more_and_stops_none() {
        let mut gate = open(1);
        assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Start);
        let waiter = waiting(gate.ask(ask(0, 9_000, true)));
        assert_eq!(gate.set_slots(2, Instant::from_millis(0)).start, [waiter]);
        assert_eq!(gate.set_slots(1, Instant::from_millis(0)), Woken::default());
        assert_eq!(gate.busy(), 2);
        assert_eq!(gate.release(Instant::from_millis(0)), Woken::default());
        assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Refused(NotStarted::Full));
    }

    /// What an older gate still has of two slots, whether a request that must not wait is started beside it, and how many of
    /// two that wait are once it has nothing left.
    #[test]
    fn what_an_older_gate_has_counts_as_taken() {
        for (elsewhere, starts, started_later, why) in [
            (0, true, 1, "one slot is left for those that wait"),
            (1, true, 1, "the other slot is this gate's"),
            (2, false, 2, "both are taken elsewhere"),
            (5, false, 2, "what was started before the slots were fewer goes on"),
            (u32::MAX, false, 2, "whatever is said, nothing overflows"),
        ] {
            let mut gate = open(2);
            assert_eq!(gate.set_elsewhere(elsewhere, Instant::from_millis(0)), Woken::default());
            let answer = gate.ask(ask(0, 9_000, false));
            assert_eq!(answer, if starts { Answer::Start } else { Answer::Refused(NotStarted::Full) }, "{why}");
            assert_eq!(gate.taken(), elsewhere.saturating_add(u32::from(starts)), "{why}");
            let mut begun = 0;
            for _ in 0..2 {
                begun += u32::from(gate.ask(ask(0, 9_000, true)) == Answer::Start);
            }
            let woken = gate.set_elsewhere(0, Instant::from_millis(1));
            assert_eq!(begun + woken.start.len() as u32, started_later, "{why}");
            assert_eq!((gate.busy(), gate.taken()), (2, 2), "{why}");
        }
    }

    /// While an older gate has every slot, its ends are what says when a place comes free.
    #[test]
    fn who_is_refused_beside_an_older_gate_hears_its_pace() {
        let at = Instant::from_millis;
        let mut gate = open(2);
        let _ = gate.set_elsewhere(3, at(0));
        assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Refused(NotStarted::Full));
        let _ = gate.set_elsewhere(2, at(200));
        assert_eq!(gate.retry_after(at(200)), Millis(200));
    }

    #[test]
    fn who_is_refused_hears_when_a_place_comes_free() {
        let at = Instant::from_millis;
        let mut gate = open(1);
        assert_eq!(gate.ask(ask(0, 9_000, false)), Answer::Start);
        let _waiter = waiting(gate.ask(ask(0, 9_000, true)));
        assert_eq!(gate.ask(ask(0, 9_000, true)), Answer::Refused(NotStarted::Full));
        assert_eq!(gate.retry_after(at(0)), Millis(1_000), "nothing has ended yet");
        assert_eq!(gate.release(at(200)).start.len(), 1);
        assert_eq!(gate.retry_after(at(200)), Millis(200), "nobody waits: after the one that runs");
        let _waiter = waiting(gate.ask(ask(200, 9_000, true)));
        assert_eq!(gate.retry_after(at(200)), Millis(400), "one waits before it");
    }

    #[test]
    fn reasons_survive_the_wire() {
        assert!(
            NotStarted::ALL
                .into_iter()
                .all(|reason| { NotStarted::from_word(reason.word().as_bytes()) == Some(reason) })
        );
        assert_eq!(NotStarted::from_word(b"fu"), None);
    }

    proptest! {
        /// An older and a newer gate of one replica, and a wire between them that is as late as it likes: together they
        /// never have more than the slots, and when all is said and done every slot is the newer one's.
        #[test]
        fn two_gates_of_one_replica_keep_the_law_together(
            slots in 1..5_u32,
            before in prop::collection::vec((0..4_u8, 1..50_u64), 0..60),
            after in prop::collection::vec((0..8_u8, 1..50_u64), 0..120),
        ) {
            let (mut older, mut newer, mut now) = (open(slots), open(slots), 0_u64);
            let play = |gate: &mut Admission, step: u8, now: u64| {
                if step < 2 {
                    let _ = gate.ask(ask(now, now + 90, true));
                } else if step == 2 && gate.busy() > 0 {
                    let _ = gate.release(Instant::from_millis(now));
                }
            };
            for (step, amount) in before {
                now += amount;
                play(&mut older, step, now);
            }
            let _ = older.set_phase(Phase::Draining);
            let mut wire = std::collections::VecDeque::new();
            let _ = newer.set_elsewhere(older.taken(), Instant::from_millis(now));
            for (step, amount) in after {
                now += amount;
                let had = older.taken();
                match step {
                    0..4 => play(&mut older, step, now),
                    7 => {
                        if let Some(taken) = wire.pop_front() {
                            let _ = newer.set_elsewhere(taken, Instant::from_millis(now));
                        }
                    }
                    step => play(&mut newer, step - 4, now),
                }
                prop_assert!(older.taken() <= had, "it only falls");
                wire.push_back(older.taken());
                prop_assert!(older.busy() + newer.busy() <= slots, "{older:?} {newer:?}");
            }
            while older.busy() > 0 {
                let _ = older.release(Instant::from_millis(now));
            }
            let _ = newer.set_elsewhere(older.taken(), Instant::from_millis(now));
            while newer.ask(ask(now, now + 1, false)) == Answer::Start {}
            prop_assert_eq!(newer.busy(), slots);
        }

        /// Against a model that knows only who runs and who waits: the law holds after every step, no place is lost, and
        /// nobody waits beside a free slot.
        #[test]
        fn the_law_holds_after_every_step(
            slots in 1..5_u32,
            steps in prop::collection::vec((0..4_u8, 0..50_u64, any::<bool>()), 1..200),
        ) {
            let mut gate = open(slots);
            let (mut running, mut waiters, mut now) = (0_u32, Vec::new(), 0_u64);
            for (step, amount, may_queue) in steps {
                now += amount;
                let mut woken = Woken::default();
                match step {
                    0 | 1 => match gate.ask(ask(now, now + amount, may_queue)) {
                        Answer::Start => running += 1,
                        Answer::Wait { waiter, .. } => waiters.push(waiter),
                        Answer::Refused(NotStarted::Expired) => prop_assert_eq!(amount, 0),
                        Answer::Refused(_) => prop_assert!(running == slots),
                    },
                    2 if running > 0 => {
                        running -= 1;
                        woken = gate.release(Instant::from_millis(now));
                    }
                    _ if !waiters.is_empty() => {
                        let waiter = waiters.remove(amount as usize % waiters.len());
                        prop_assert!(gate.leave(waiter));
                    }
                    _ => {}
                }
                for waiter in &woken.start {
                    prop_assert!(waiter.deadline > Instant::from_millis(now));
                    running += 1;
                }
                let gone = |waiter: &Waiter| woken.start.contains(waiter) || woken.refuse.iter().any(|r| r.0 == *waiter);
                waiters.retain(|waiter| !gone(waiter));
                prop_assert_eq!(gate.busy(), running);
                prop_assert_eq!(gate.waiting() as usize, waiters.len());
                prop_assert!(gate.in_flight() <= 2 * slots);
                prop_assert!(running == slots || waiters.is_empty());
            }
        }
    }
}
