//! How figures moved that nobody else remembers: counted by the screen itself, in pieces of time.

use std::collections::{BTreeMap, VecDeque};

use super::board::Board;

/// How long a piece of time is, as those are in which the coordinators count answers: lines of both share an axis.
const PIECE_MS: u64 = 2_000;

/// Points of a line: two minutes.
const POINTS_MAX: usize = 60;

/// How figures moved while the screen was open. A piece in which nobody looked is a gap.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The piece that the newest points are of.
    piece: Option<u64>,
    in_flight: BTreeMap<String, VecDeque<Option<u64>>>,
    events_seen: Option<u64>,
    events: VecDeque<Option<u64>>,
}

// === impl History ===

impl History {
    /// Takes what is there now: of a piece, the most that was in flight at once and all events.
    pub(crate) fn note(&mut self, board: &Board, now_ms: u64) {
        let piece = now_ms / PIECE_MS;
        let passed = piece.saturating_sub(self.piece.replace(piece).unwrap_or(piece));
        let passed = usize::try_from(passed).map_or(POINTS_MAX, |passed| passed.min(POINTS_MAX));
        self.in_flight.retain(|name, _| board.endpoint(name).is_some());
        for endpoint in &board.endpoints {
            let line = self.in_flight.entry(endpoint.name.clone()).or_default();
            let newest = go_on(line, passed);
            *newest = Some(newest.unwrap_or(0).max(board.in_flight(&endpoint.name)));
        }
        let last = board.events.back().map_or(0, |event| event.seq);
        let before = self.events_seen.replace(last).unwrap_or(last);
        let newest = go_on(&mut self.events, passed);
        *newest = Some(newest.unwrap_or(0) + last.saturating_sub(before));
    }

    /// Returns the requests in flight at an endpoint, oldest first.
    pub(crate) fn in_flight(&self, endpoint: &str) -> Vec<Option<u64>> {
        self.in_flight.get(endpoint).into_iter().flatten().copied().collect()
    }

    /// Returns the events of each piece, oldest first.
    pub(crate) fn events(&self) -> Vec<Option<u64>> {
        self.events.iter().copied().collect()
    }
}

/// Lets so many pieces pass on a line, and returns its newest point.
fn go_on(line: &mut VecDeque<Option<u64>>, passed: usize) -> &mut Option<u64> {
    for _ in 0..passed.max(usize::from(line.is_empty())) {
        if line.len() == POINTS_MAX {
            line.pop_front();
        }
        line.push_back(None);
    }
    line.back_mut().expect("a point was there, or was added")
}

#[cfg(test)]
mod tests {
    use berth_client::api::Event;

    use super::*;

    #[test]
    fn a_point_is_two_seconds_whoever_looks_how_often() {
        let mut history = History::default();
        let mut board = Board::default();
        let mut seq = 10;
        for (now_ms, events, why, wanted) in [
            (20_000, 0, "what was there before is no event of now", &[Some(0)][..]),
            (21_000, 3, "the same piece", &[Some(3)]),
            (21_999, 1, "to its end", &[Some(4)]),
            (22_000, 2, "the next one", &[Some(4), Some(2)]),
            (26_500, 5, "nobody looked meanwhile", &[Some(4), Some(2), None, Some(5)]),
            (26_000, 1, "a clock that was set back", &[Some(4), Some(2), None, Some(6)]),
        ] {
            seq += events;
            board.events.push_back(Event { seq, ..Event::default() }.into());
            history.note(&board, now_ms);
            assert_eq!(history.events(), wanted, "{why}");
        }
        history.note(&board, 26_000 + 500_000);
        assert_eq!((history.events().len(), history.events().last()), (POINTS_MAX, Some(&Some(0))), "no more is kept");
    }
}
