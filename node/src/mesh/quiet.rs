//! Copies of requests wait until their core has nothing to do for a caller.
//!
//! Callers come in bursts: sent at once, the copy of the first would stand before the answer to the last, and each before
//! the answer to its own request. A core that never rests sends them a few turns later all the same: what a mirror is
//! asked says who is right, and none may starve.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use tokio::{
    sync::Notify,
    task::{spawn_local, yield_now},
};

use super::mirror::Due;

/// Turns of a core that has work for its callers all the time, after which a copy is sent. A turn takes up what has come and
/// runs at most 256 tasks.
const PATIENCE_TURNS: u64 = 8;

/// Copies of one core that were not sent yet. Each has its place among the copies of the node, which bounds them.
#[derive(Default)]
pub(super) struct Quiet {
    line: RefCell<Line<Due>>,
    came: Notify,
    /// How often something of a caller moved.
    stirred: Cell<u64>,
}

/// What is due, in order, each with the turn in which it came.
struct Line<T> {
    due: VecDeque<(u64, T)>,
    turn: u64,
}

// === impl Quiet ===

impl Quiet {
    /// Adds a copy when its request is answered or has had its head start.
    pub(super) fn push(self: &Rc<Self>, mut due: Due) {
        let quiet = self.clone();
        spawn_local(async move {
            due.let_ahead().await;
            quiet.line.borrow_mut().push(due);
            quiet.came.notify_one();
        });
    }

    /// Notes that a request or an answer of a caller came: the core is not quiet.
    pub(super) fn stir(&self) {
        self.stirred.set(self.stirred.get() + 1);
    }

    /// Sends what is due, turn by turn.
    pub(super) async fn run(self: Rc<Self>) {
        loop {
            while self.line.borrow().due.is_empty() {
                self.came.notified().await;
            }
            let before = self.stirred.get();
            // The runtime takes up what has come, and runs it, before it comes back here.
            yield_now().await;
            for due in self.line.borrow_mut().turn(before == self.stirred.get()) {
                spawn_local(due.send());
            }
        }
    }
}

// === impl Line ===

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { due: VecDeque::new(), turn: 0 }
    }
}

impl<T> Line<T> {
    fn push(&mut self, due: T) {
        self.due.push_back((self.turn, due));
    }

    /// Ends a turn: one may go where nothing else moved in it, and all who have waited too long.
    fn turn(&mut self, is_quiet: bool) -> impl Iterator<Item = T> {
        self.turn += 1;
        let late = self.due.iter().take_while(|(since, _)| self.turn - since >= PATIENCE_TURNS).count();
        let first = usize::from(is_quiet).min(self.due.len());
        self.due.drain(..late.max(first)).map(|(_, due)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_in_each_quiet_turn_and_all_go_in_the_end() {
        let mut line = Line::default();
        let (busy, quiet) = (false, true);
        line.push('a');
        line.push('b');
        let gone = |turns: &[bool], line: &mut Line<char>| -> Vec<char> {
            turns.iter().flat_map(|is_quiet| line.turn(*is_quiet).collect::<Vec<_>>()).collect()
        };
        assert_eq!(gone(&[busy, quiet, busy], &mut line), ['a']);
        line.push('c');
        assert_eq!(gone(&[busy; PATIENCE_TURNS as usize - 4], &mut line), []);
        assert_eq!(gone(&[busy], &mut line), ['b'], "it has waited eight turns");
        assert_eq!(gone(&[busy, busy], &mut line), []);
        line.push('d');
        assert_eq!(gone(&[quiet, quiet, quiet], &mut line), ['c', 'd']);
    }
}
