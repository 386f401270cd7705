//! How figures moved that nobody else remembers: a point a second, taken by the screen itself.

use std::collections::{BTreeMap, VecDeque};

use super::board::Board;

/// Points of a line: two minutes.
const POINTS_MAX: usize = 120;

/// How figures moved while the screen was open.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    in_flight: BTreeMap<String, VecDeque<u64>>,
    gpus: BTreeMap<(String, String), GpuHistory>,
    events_seen: Option<u64>,
    events: VecDeque<u64>,
}

/// How a card did.
#[derive(Clone, Debug, Default)]
pub(crate) struct GpuHistory {
    pub(crate) busy_percent: VecDeque<u64>,
    pub(crate) used_mib: VecDeque<u64>,
    pub(crate) celsius: VecDeque<u64>,
    pub(crate) watt: VecDeque<u64>,
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
        let mut gpus = std::mem::take(&mut self.gpus);
        for node in &board.nodes {
            for gpu in &node.gpus {
                let key = (node.node.clone(), gpu.uuid.clone());
                let mut line = gpus.remove(&key).unwrap_or_default();
                let sample = gpu.sample.clone().unwrap_or_default();
                push(&mut line.busy_percent, u64::from(sample.utilization_percent.unwrap_or(0)));
                push(&mut line.used_mib, sample.used_mib);
                push(&mut line.celsius, u64::from(sample.temperature_celsius.unwrap_or(0)));
                push(&mut line.watt, u64::from(sample.power_milliwatt.unwrap_or(0) / 1_000));
                self.gpus.insert(key, line);
            }
        }
        let newest = board.events.back().map_or(0, |event| event.seq);
        let before = self.events_seen.replace(newest).unwrap_or(newest);
        push(&mut self.events, newest.saturating_sub(before));
    }

    /// Returns the requests in flight at an endpoint, oldest first.
    pub(crate) fn in_flight(&self, endpoint: &str) -> Vec<u64> {
        self.in_flight.get(endpoint).into_iter().flatten().copied().collect()
    }

    /// Returns how a card did.
    pub(crate) fn gpu(&self, node: &str, uuid: &str) -> Option<&GpuHistory> {
        self.gpus.get(&(node.to_owned(), uuid.to_owned()))
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
