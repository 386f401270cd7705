//! What nodes last said of their cards, where it is news to the log.

use std::collections::BTreeMap;

use crate::{
    health::{DeviceSign, judge_device},
    id::{NodeEpoch, NodeId, Term},
    state::{ClusterState, DeviceTransition},
    time::{Instant, Millis},
};

/// Time between two notes about one card: a program that faults in a loop would fill the log.
const NOTE_EVERY: Millis = Millis::from_secs(60);

/// What nodes last said of their cards.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    /// Of nodes whose cards have something to be judged.
    signs: BTreeMap<NodeId, (NodeEpoch, Vec<DeviceSign>)>,
    /// How many notes of each card have been told, and when the last one was.
    noted: BTreeMap<(NodeId, String), Noted>,
}

#[derive(Clone, Debug)]
struct Noted {
    epoch: NodeEpoch,
    notes: u64,
    at: Option<Instant>,
}

// === impl Devices ===

impl Devices {
    /// Takes what came with a heartbeat.
    pub(super) fn heard(&mut self, node: NodeId, epoch: NodeEpoch, signs: Vec<DeviceSign>) {
        if signs.is_empty() {
            self.signs.remove(&node);
        } else {
            self.signs.insert(node, (epoch, signs));
        }
    }

    /// Lists what the log has to be told, one thing per node at most, and forgets what is settled.
    pub(super) fn due(&mut self, state: &ClusterState, term: Term, now: Instant) -> Vec<DeviceTransition> {
        let mut due = Vec::new();
        let (noted, signs) = (&mut self.noted, &mut self.signs);
        noted.retain(|(node, _), _| state.nodes.contains_key(node));
        signs.retain(|id, (epoch, signs)| {
            let Some(node) = state.nodes.get(id).filter(|node| node.epoch == *epoch) else { return false };
            let known = |sign: &&DeviceSign| node.profile.devices.iter().any(|device| device.card() == sign.card);
            let transition = |card: &str, to, reason, faults| DeviceTransition {
                term,
                node: *id,
                epoch: *epoch,
                card: card.to_owned(),
                to,
                reason,
                faults,
            };
            for sign in signs.iter().filter(known) {
                if let Some((to, reason)) = judge_device(&state.settings, node.devices.get(&sign.card), *epoch, sign) {
                    due.push(transition(&sign.card, Some(to), reason, sign.faults));
                    return true;
                }
            }
            for sign in signs.iter().filter(known) {
                if take_note(noted, *id, *epoch, sign, now) {
                    due.push(transition(&sign.card, None, sign.last_note.clone(), sign.faults));
                    return true;
                }
            }
            false
        });
        due
    }
}

/// Says whether a card has something to tell. The first count a leader hears is what it counts from: what came before
/// was an earlier leader's to tell.
fn take_note(
    noted: &mut BTreeMap<(NodeId, String), Noted>,
    node: NodeId,
    epoch: NodeEpoch,
    sign: &DeviceSign,
    now: Instant,
) -> bool {
    let fresh = Noted { epoch, notes: sign.notes, at: None };
    let known = noted.entry((node, sign.card.clone())).or_insert_with(|| fresh.clone());
    if known.epoch != epoch {
        *known = Noted { at: known.at, notes: 0, ..fresh };
    }
    let rests = known.at.is_some_and(|at| now.since(at) < NOTE_EVERY);
    if sign.notes <= known.notes || rests {
        return false;
    }
    *known = Noted { epoch, notes: sign.notes, at: Some(now) };
    true
}
