//! The brake: when many nodes fall silent together, the listener is the likelier fault.
//!
//! The share of nodes says nothing on a cluster of one or two, where one dead node is half of everybody. There another
//! rule holds: a leader that hears nobody at all has no witness that it can hear, so silence alone condemns nobody. What
//! is no silence still counts: a host that refuses connections answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::NodeId,
    model::Settings,
    time::{Instant, Millis},
};

/// Holds replacements back while too many nodes are silent at once.
#[derive(Clone, Debug, Default)]
pub struct Brake {
    /// When each silent node fell silent.
    silent: BTreeMap<NodeId, Instant>,
    /// How many nodes there are.
    total: u64,
    law: Law,
    /// Whether too many fell silent together.
    is_crowd: bool,
    /// Whether no node at all is heard, and none said that it crashed.
    is_deaf: bool,
    /// The nodes that were silent when an operator released the brake: they count no more.
    released: BTreeSet<NodeId>,
}

/// How many may fall silent together.
#[derive(Clone, Copy, Debug)]
struct Law {
    percent: u64,
    floor: u64,
    window: Millis,
}

// === impl Law ===

impl Default for Law {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl Law {
    fn of(settings: &Settings) -> Self {
        let Settings { brake_percent, brake_floor, brake_window, .. } = *settings;
        Self { percent: brake_percent, floor: brake_floor, window: brake_window }
    }
}

// === impl Brake ===

impl Brake {
    /// Takes what an operator set.
    pub fn follow(&mut self, settings: &Settings) {
        self.law = Law::of(settings);
    }

    /// Takes the nodes that are silent now, out of `total`; of them, `crashed` gave positive news of a crash.
    ///
    /// The brake goes on when more than the threshold fell silent within the window, and off when no more than the
    /// threshold are silent. Time alone does not release it: a leader that is cut off would else evict everybody.
    pub fn update(&mut self, silent: BTreeSet<NodeId>, crashed: u64, total: u64, now: Instant) {
        self.total = total;
        let heard = total.saturating_sub(silent.len() as u64);
        let is_excused = silent.iter().all(|node| self.released.contains(node));
        self.is_deaf = heard == 0 && crashed < total && !is_excused;
        self.released.retain(|node| silent.contains(node));
        self.silent.retain(|node, _| silent.contains(node));
        for node in silent {
            if !self.released.contains(&node) {
                self.silent.entry(node).or_insert(now);
            }
        }
        let recent = self.silent.values().filter(|at| now.since(**at) <= self.law.window).count() as u64;
        let counted = if self.is_crowd { self.silent.len() as u64 } else { recent };
        self.is_crowd = counted > self.threshold();
    }

    /// Releases it for the nodes that are silent now.
    pub fn release(&mut self) {
        self.released.extend(self.silent.keys());
        self.silent.clear();
        (self.is_crowd, self.is_deaf) = (false, false);
    }

    /// Returns whether silence condemns nobody.
    pub fn is_on(&self) -> bool {
        self.is_crowd || self.is_deaf
    }

    /// Returns whether even a host that refuses connections is not believed: that many do not crash together.
    pub fn holds_crashes(&self) -> bool {
        self.is_crowd
    }

    /// Tells people why nothing is replaced.
    pub fn reason(&self) -> Option<String> {
        let (silent, total, most) = (self.silent.len(), self.total, self.threshold());
        if self.is_crowd {
            return Some(format!(
                "{silent} of {total} nodes fell silent together, more than {most}: nothing is replaced until they return"
            ));
        }
        self.is_deaf.then(|| {
            format!("none of {total} nodes is heard: the coordinator suspects itself and replaces nothing until one is")
        })
    }

    fn threshold(&self) -> u64 {
        self.law.floor.max(self.total * self.law.percent / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::DEFAULTS;

    fn nodes(count: u64) -> BTreeSet<NodeId> {
        (0..count).map(NodeId).collect()
    }

    /// Each row: nodes, how many fall silent at once, whether the brake goes on.
    #[test]
    fn it_goes_on_beyond_two_and_beyond_a_third() {
        for (total, silent, on, why) in [
            (3, 2, false, "two of three may always fail"),
            (3, 3, true, "all of three cannot be the nodes' fault"),
            (10, 3, false, "thirty percent of ten"),
            (10, 4, true, "one more"),
            (100, 30, false, "a rack of a large fleet"),
            (100, 31, true, "one more"),
        ] {
            let mut brake = Brake::default();
            brake.update(nodes(silent), 0, total, Instant::from_millis(0));
            assert_eq!(brake.is_on(), on, "{why}");
            assert_eq!(brake.reason().is_some(), on, "{why}");
        }
    }

    /// Each row: nodes, how many are silent, how many of those crashed, whether silence is held back, whether even a
    /// crash is.
    #[test]
    fn a_leader_that_hears_nobody_suspects_itself() {
        for (total, silent, crashed, silence_held, crash_held, why) in [
            (0, 0, 0, false, false, "nobody is there to be heard"),
            (1, 0, 0, false, false, "the only node is heard"),
            (1, 1, 0, true, false, "the only node: nobody else shows that the leader can hear"),
            (1, 1, 1, false, false, "its host refuses connections, which is an answer"),
            (2, 1, 0, false, false, "one of two died, the other is heard"),
            (2, 2, 0, true, false, "both silent"),
            (2, 2, 1, true, false, "one crashed, of the other nothing is known"),
            (2, 2, 2, false, false, "both hosts answered that nothing runs there"),
            (3, 3, 3, true, true, "three at once is a crowd, whatever their hosts say"),
        ] {
            let mut brake = Brake::default();
            brake.update(nodes(silent), crashed, total, Instant::from_millis(0));
            assert_eq!((brake.is_on(), brake.holds_crashes()), (silence_held, crash_held), "{why}");
            assert_eq!(brake.reason().is_some(), silence_held, "{why}");
        }
    }

    #[test]
    fn it_follows_what_an_operator_set() {
        let settings = Settings { brake_percent: 50, brake_floor: 1, ..Settings::default() };
        for (total, silent, on, why) in
            [(2, 1, false, "the floor"), (10, 5, false, "half may fail"), (10, 6, true, "one more")]
        {
            let mut brake = Brake::default();
            brake.follow(&settings);
            brake.update(nodes(silent), 0, total, Instant::from_millis(0));
            assert_eq!(brake.is_on(), on, "{why}");
        }
    }

    #[test]
    fn an_operator_may_say_that_all_of_them_are_gone() {
        let mut brake = Brake::default();
        brake.update(nodes(2), 0, 2, Instant::from_millis(0));
        brake.release();
        brake.update(nodes(2), 0, 2, Instant::from_millis(100));
        assert!(!brake.is_on());
        brake.update(nodes(0), 0, 2, Instant::from_millis(200));
        brake.update(nodes(2), 0, 2, Instant::from_millis(300));
        assert!(brake.is_on(), "the word stood for that silence alone");
    }

    #[test]
    fn time_alone_does_not_release_it() {
        let mut brake = Brake::default();
        let silent = nodes(4);
        brake.update(silent.clone(), 0, 10, Instant::from_millis(0));
        let much_later = Instant::from_millis(0) + DEFAULTS.brake_window + Millis(60_000);
        brake.update(silent.clone(), 0, 10, much_later);
        assert!(brake.is_on());
        brake.update(nodes(3), 0, 10, much_later);
        assert!(!brake.is_on(), "three of ten are no more than the threshold");
        brake.update(silent.clone(), 0, 10, much_later);
        brake.release();
        brake.update(silent, 0, 10, much_later);
        assert!(!brake.is_on(), "an operator's word stands for those nodes");
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let mut brake = Brake::default();
        for nth in 0..5 {
            let now = Instant::from_millis(nth * (DEFAULTS.brake_window.0 + 1));
            brake.update(nodes(nth + 1), 0, 10, now);
            assert!(!brake.is_on(), "after {nth}");
        }
    }
}
