//! Walks: operators who upgrade the fleet, one node at a time, as `berth node upgrade` does it.
//!
//! A walk takes the replicated lock, and for each node renews it, drains the node, starts its agent anew and withdraws
//! the drain. Whoever is refused the lock ends; whoever finds a node that does not become empty or does not come back
//! gives the lock back and leaves it as it is.

use berth_core::{
    id::NodeEpoch,
    model::{DrainBy, NodeName, NodeState},
    state::{Command, DrainWish, Entry, Reply},
    time::Millis,
};

use crate::{action::Action, event::Event, world::World};

/// Milliseconds between two looks of a walk.
const LOOK_MS: u64 = 300;
/// The longest a walk waits for one node.
const PATIENCE_MS: u64 = 60_000;
/// How long a lock is held beyond its last renewal.
const LOCK: Millis = Millis::from_secs(180);
/// What the reason of a walk's drain begins with.
const REASON: &str = "upgrade by ";

/// An operator who upgrades the fleet.
#[derive(Debug)]
pub(crate) struct Walk {
    holder: String,
    /// The node it is at.
    at: usize,
    phase: Phase,
    /// When it gives up waiting.
    until: u64,
    /// It ends as soon as what it asked for is answered.
    is_called_off: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It asked for the lock.
    Locking { change: usize },
    /// It asked for the node to be empty.
    Draining { change: usize },
    /// It ended the agent of this epoch.
    Restarting { before: NodeEpoch },
    /// It said that the node may be used again.
    Returning { change: usize },
    /// It gave the lock back.
    Over,
}

// === impl World ===

impl World {
    /// Lets an operator begin.
    pub(crate) fn begin_walk(&mut self, holder: &str) {
        let change = self.lock(holder, Some(LOCK));
        let (holder, until) = (holder.to_owned(), self.now + PATIENCE_MS);
        self.walks.push(Walk { holder, at: 0, phase: Phase::Locking { change }, until, is_called_off: false });
        self.after(LOOK_MS, Event::Walk(self.walks.len() - 1));
    }

    /// Ends every walk: each gives back what it holds.
    pub(crate) fn end_walks(&mut self) {
        for nth in 0..self.walks.len() {
            self.walks[nth].is_called_off = true;
        }
    }

    pub(crate) fn walk_on(&mut self, nth: usize) {
        let Walk { holder, at, phase, until, is_called_off } = &self.walks[nth];
        let is_called_off = *is_called_off;
        let (holder, at, phase, until) = (holder.clone(), *at, *phase, *until);
        let is_answered = match phase {
            Phase::Over => return,
            Phase::Locking { change } | Phase::Draining { change } | Phase::Returning { change } => {
                self.changes.answer(change).is_some()
            }
            Phase::Restarting { .. } => true,
        };
        if is_called_off && is_answered {
            self.wish(at, None);
            self.end_walk(nth, "is called off");
            return;
        }
        let next = match phase {
            Phase::Over => return,
            Phase::Locking { change } => match self.changes.answer(change) {
                Some(Reply::Refused(error)) => {
                    let why = format!("is refused: {}", error.what);
                    self.end_walk(nth, &why);
                    return;
                }
                Some(_) => {
                    let reason = format!("{REASON}{holder}");
                    let wish = DrainWish { within: Millis(30_000), reason, force: false, by: DrainBy::Upgrade };
                    Some(Phase::Draining { change: self.wish(at, Some(wish)) })
                }
                None => None,
            },
            Phase::Draining { change } if self.changes.answer(change).is_some() => self.restart_drained(at),
            Phase::Restarting { before } if self.is_back(at, before) => {
                Some(Phase::Returning { change: self.wish(at, None) })
            }
            Phase::Returning { change } if self.changes.answer(change).is_some() => {
                if at + 1 == self.nodes.len() {
                    self.end_walk(nth, "is done");
                    return;
                }
                self.walks[nth].at += 1;
                Some(Phase::Locking { change: self.lock(&holder, Some(LOCK)) })
            }
            _ => None,
        };
        match next {
            Some(phase) => (self.walks[nth].phase, self.walks[nth].until) = (phase, self.now + PATIENCE_MS),
            None if self.now >= until => {
                self.end_walk(nth, &format!("waits for n{} in vain", at + 1));
                return;
            }
            None => {}
        }
        self.after(LOOK_MS, Event::Walk(nth));
    }

    fn end_walk(&mut self, nth: usize, how: &str) {
        let holder = self.walks[nth].holder.clone();
        self.note(&format!("the walk of {holder} {how}"));
        self.lock(&holder, None);
        self.walks[nth].phase = Phase::Over;
    }

    fn lock(&mut self, holder: &str, within: Option<Millis>) -> usize {
        self.change(Command::UpgradeLock { holder: holder.to_owned(), within, steal: false })
    }

    fn wish(&mut self, at: usize, wish: Option<DrainWish>) -> usize {
        self.change(Command::NodeDrain { name: self.name(at), wish })
    }

    fn name(&self, at: usize) -> NodeName {
        self.nodes[at].profile.name.clone()
    }

    /// Starts the agent of a node anew once the node is empty.
    fn restart_drained(&mut self, at: usize) -> Option<Phase> {
        let known = self.truth().nodes.get(&self.nodes[at].id)?;
        let (is_empty, before) = (known.wish() == Some("drained"), known.epoch);
        if !is_empty {
            return None;
        }
        self.act(Action::KillAgent(at));
        self.after(500, Event::Do(Action::StartNode(at)));
        Some(Phase::Restarting { before })
    }

    fn is_back(&self, at: usize, before: NodeEpoch) -> bool {
        let known = self.truth().nodes.get(&self.nodes[at].id);
        known.is_some_and(|known| known.epoch > before && known.state != NodeState::Lost)
    }

    /// Insists that only whoever holds the lock empties a node for an upgrade.
    pub(crate) fn judge_walk(&mut self, member: usize, entry: &Entry) {
        let Command::NodeDrain { name, wish: Some(wish) } = &entry.command else { return };
        let Some(walker) = wish.reason.strip_prefix(REASON) else { return };
        // A retry that reached the log again is answered and changes nothing.
        let is_again = |other: &&Entry| entry.request_id.is_some() && other.request_id == entry.request_id;
        if self.log.entries.iter().filter(is_again).take(2).count() > 1 {
            return;
        }
        let lock = self.members[member].state.upgrade.as_ref();
        let holder = lock.map_or("nobody", |lock| lock.holder.as_str());
        if holder != walker {
            let what = format!("{walker} empties {name} although {holder} holds the upgrade lock");
            self.judge.broken("UP01", what, self.now);
        }
    }

    /// Says who still holds the upgrade lock although nobody walks.
    pub(crate) fn lock_left(&self) -> Option<String> {
        let truth = self.truth();
        let lock = truth.upgrade.as_ref().filter(|lock| lock.expires_at > truth.time)?;
        Some(format!("{} walks no more and holds the upgrade lock", lock.holder))
    }
}
