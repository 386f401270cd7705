//! The brake: when many nodes fall silent together, the listener is the likelier fault.

use std::collections::{BTreeMap, BTreeSet};

use crate::{defaults::DEFAULTS, id::NodeId, time::Instant};

/// Holds replacements back while too many nodes are silent at once.
#[derive(Clone, Debug, Default)]
pub struct Brake {
    /// When each silent node fell silent.
    silent: BTreeMap<NodeId, Instant>,
    /// How many nodes there are.
    total: u64,
    is_on: bool,
    /// The nodes that were silent when an operator released the brake: they count no more.
    released: BTreeSet<NodeId>,
}

// === impl Brake ===

impl Brake {
    /// Takes the nodes that are silent now, out of `total`.
    ///
    /// The brake goes on when more than the threshold fell silent within the window, and off when no more than the
    /// threshold are silent. Time alone does not release it: a leader that is cut off would else evict everybody.
    pub fn update(&mut self, silent: BTreeSet<NodeId>, total: u64, now: Instant) {
        self.total = total;
        self.released.retain(|node| silent.contains(node));
        self.silent.retain(|node, _| silent.contains(node));
        for node in silent {
            if !self.released.contains(&node) {
                self.silent.entry(node).or_insert(now);
            }
        }
        let recent = self.silent.values().filter(|at| now.since(**at) <= DEFAULTS.brake_window).count() as u64;
        let counted = if self.is_on { self.silent.len() as u64 } else { recent };
        self.is_on = counted > self.threshold();
    }

    /// Releases it for the nodes that are silent now.
    pub fn release(&mut self) {
        self.released.extend(self.silent.keys());
        self.silent.clear();
        self.is_on = false;
    }

    /// Returns whether it holds.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Tells people why nothing is replaced.
    pub fn reason(&self) -> Option<String> {
        let (silent, total, most) = (self.silent.len(), self.total, self.threshold());
        self.is_on.then(|| {
            format!("{silent} of {total} nodes fell silent together, more than {most}: nothing is replaced until they return")
        })
    }

    fn threshold(&self) -> u64 {
        DEFAULTS.brake_floor.max(self.total * DEFAULTS.brake_percent / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

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
            brake.update((0..silent).map(NodeId).collect(), total, Instant::from_millis(0));
            assert_eq!(brake.is_on(), on, "{why}");
            assert_eq!(brake.reason().is_some(), on, "{why}");
        }
    }

    #[test]
    fn time_alone_does_not_release_it() {
        let mut brake = Brake::default();
        let silent: BTreeSet<_> = (0..4).map(NodeId).collect();
        brake.update(silent.clone(), 10, Instant::from_millis(0));
        let much_later = Instant::from_millis(0) + DEFAULTS.brake_window + Millis(60_000);
        brake.update(silent.clone(), 10, much_later);
        assert!(brake.is_on());
        brake.update((0..3).map(NodeId).collect(), 10, much_later);
        assert!(!brake.is_on(), "three of ten are no more than the threshold");
        brake.update(silent.clone(), 10, much_later);
        brake.release();
        brake.update(silent, 10, much_later);
        assert!(!brake.is_on(), "an operator's word stands for those nodes");
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let mut brake = Brake::default();
        for nth in 0..5 {
            let now = Instant::from_millis(nth * (DEFAULTS.brake_window.0 + 1));
            brake.update((0..=nth).map(NodeId).collect(), 10, now);
            assert!(!brake.is_on(), "after {nth}");
        }
    }
}
