//! How every card of the fleet did lately: what an operator's screen begins with, instead of an empty line.
//!
//! As with loads, it is for screens: lost with the leadership. A point stands for as long as a point of a load, and holds
//! what was measured last within it.

use std::collections::{BTreeMap, VecDeque};

use berth_core::{id::NodeId, time::LogTime};
use berth_proto::{api::v1::CardPoint, node::v1::DeviceReport};

use super::Loads;

/// Points of one card: two minutes.
const POINTS_MAX: usize = 60;

/// Cards that are remembered. A larger fleet is looked at with other means; the bound keeps a lying node from filling the
/// leader's memory.
const CARDS_MAX: usize = 20_000;

/// How every card did lately.
#[derive(Debug, Default)]
pub(crate) struct Cards {
    of: BTreeMap<(NodeId, String), VecDeque<CardPoint>>,
}

// === impl Cards ===

impl Cards {
    /// Adds what a node said of its cards.
    pub(crate) fn add(&mut self, now: LogTime, node: NodeId, cards: &[DeviceReport]) {
        let newest = Loads::newest(now);
        for (uuid, sample) in cards.iter().filter_map(|it| Some((&it.card, it.sample.as_ref()?))) {
            let key = (node, uuid.clone());
            if !self.of.contains_key(&key) && self.of.len() >= CARDS_MAX {
                self.forget(newest);
                if self.of.len() >= CARDS_MAX {
                    return;
                }
            }
            let point = CardPoint {
                number: newest,
                utilization_percent: sample.utilization_percent,
                used_mib: sample.used_mib,
                temperature_celsius: sample.temperature_celsius,
                power_milliwatt: sample.power_milliwatt,
            };
            let points = self.of.entry(key).or_default();
            // A clock that stepped back changes the newest point: numbers never fall.
            match points.back_mut().filter(|last| last.number >= newest) {
                Some(last) => *last = CardPoint { number: last.number, ..point },
                None => points.push_back(point),
            }
            while points.front().is_some_and(|oldest| oldest.number + (POINTS_MAX as u64) <= newest) {
                points.pop_front();
            }
        }
    }

    /// Lists the points from number `from` on that no longer change; cards without any are left out.
    pub(crate) fn since(&mut self, now: LogTime, from: u64) -> Vec<(NodeId, String, Vec<CardPoint>)> {
        let newest = Loads::newest(now);
        self.forget(newest);
        let told = |((node, uuid), points): (&(NodeId, String), &VecDeque<CardPoint>)| {
            let points: Vec<_> = points.iter().filter(|it| (from..newest).contains(&it.number)).copied().collect();
            (!points.is_empty()).then(|| (*node, uuid.clone(), points))
        };
        self.of.iter().filter_map(told).collect()
    }

    /// Forgets cards of which nothing was heard for as long as points are kept.
    fn forget(&mut self, newest: u64) {
        let oldest = newest.saturating_sub(POINTS_MAX as u64);
        self.of.retain(|_, points| points.back().is_some_and(|point| point.number > oldest));
    }
}

#[cfg(test)]
mod tests {
    use berth_proto::node::v1::DeviceSample;

    use super::*;
    use crate::controller::POINT_MS;

    fn said(card: &str, busy: u32) -> Vec<DeviceReport> {
        let sample = DeviceSample { utilization_percent: Some(busy), ..DeviceSample::default() };
        vec![DeviceReport { card: card.into(), sample: Some(sample), ..DeviceReport::default() }]
    }

    fn at(point: u64) -> LogTime {
        LogTime::from_millis(point * u64::from(POINT_MS))
    }

    #[test]
    fn a_point_is_told_once_it_no_longer_changes() {
        let mut cards = Cards::default();
        cards.add(at(5), NodeId(1), &said("GPU-1", 10));
        cards.add(at(5), NodeId(1), &said("GPU-1", 20));
        assert_eq!(cards.since(at(5), 0), [], "it may change yet");
        cards.add(at(6), NodeId(1), &said("GPU-1", 30));
        cards.add(at(4), NodeId(1), &said("GPU-1", 40));
        let busy = |told: Vec<(NodeId, String, Vec<CardPoint>)>| -> Vec<(u64, Option<u32>)> {
            told.into_iter().flat_map(|(_, _, points)| points).map(|it| (it.number, it.utilization_percent)).collect()
        };
        assert_eq!(busy(cards.since(at(6), 0)), [(5, Some(20))]);
        assert_eq!(busy(cards.since(at(7), 6)), [(6, Some(40))], "a clock that stepped back");
        assert_eq!(busy(cards.since(at(8), 7)), []);
    }

    #[test]
    fn what_a_card_does_not_say_is_no_zero() {
        let mut cards = Cards::default();
        let sample = DeviceSample { used_mib: 7, temperature_celsius: Some(61), ..DeviceSample::default() };
        cards.add(
            at(1),
            NodeId(1),
            &[DeviceReport { card: "GPU-1".into(), sample: Some(sample), ..Default::default() }],
        );
        let point = cards.since(at(2), 0)[0].2[0];
        assert_eq!((point.used_mib, point.temperature_celsius), (7, Some(61)));
        assert_eq!((point.utilization_percent, point.power_milliwatt), (None, None));
    }

    #[test]
    fn what_is_old_is_forgotten_and_nothing_grows_for_ever() {
        let mut cards = Cards::default();
        (0..200).for_each(|point| cards.add(at(point), NodeId(1), &said("GPU-1", 1)));
        let told = cards.since(at(200), 0);
        assert_eq!((told[0].2.len(), told[0].2[0].number), (POINTS_MAX, 140));
        assert_eq!(cards.since(at(260), 0), [], "a card that is gone");
        (0..CARDS_MAX + 10).for_each(|card| cards.add(at(300), NodeId(1), &said(&format!("GPU-{card}"), 1)));
        assert_eq!(cards.of.len(), CARDS_MAX);
    }
}
