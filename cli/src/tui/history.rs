//! How figures moved that nobody else remembers: a point a second, taken by the screen itself.

use std::collections::{BTreeMap, VecDeque};

use super::board::Board;

/// Points of a line: two minutes.
const POINTS_MAX: usize = 120;

/// How figures moved while the screen was open.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    in_flight: BTreeMap<String, VecDeque<u64>>,
    events_seen: Option<u64>,
    events: VecDeque<u64>,
}

// === impl History ===

impl History {
    /// Takes a point of every line.
    pub(crate) fn note(&mut self, board: &Board) {
        self.in_flight.retain(|name, _| board.endpoint(name).is_some());
        for endpoint in &board.endpoints {
            let count = board.in_flight(&endpoint.name);
            push(self.in_flight.entry(endpoint.name.clone()).or_default(), count);
        }
        let newest = board.events.back().map_or(0, |event| event.seq);
        let before = self.events_seen.replace(newest).unwrap_or(newest);
        push(&mut self.events, newest.saturating_sub(before));
    }

    /// Returns the requests in flight at an endpoint, oldest first.
    pub(crate) fn in_flight(&self, endpoint: &str) -> Vec<u64> {
        self.in_flight.get(endpoint).into_iter().flatten().copied().collect()
    }

    /// Returns the events between two points, oldest first.
    pub(crate) fn events(&self) -> Vec<u64> {
        self.events.iter().copied().collect()
    }
}

fn push(line: &mut VecDeque<u64>, point: u64) {
    if line.len() == POINTS_MAX {
        line.pop_front();
    }
    line.push_back(point);
}
