//! Inventory: which devices a node says it has, from what their driver answers.
//!
//! A driver that says nothing does not take devices away: what runs on them may well serve on, and a node that came back
//! without them would have its replicas moved for no reason. Whether they are to be trusted is told by their
//! [`signs`](super::DeviceSign), which grow old meanwhile.

use std::collections::BTreeSet;

use crate::model::Device;

/// What a driver answered last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverAnswer {
    /// Nothing yet, or an error that says nothing about what is there: it hangs, is reset, was not loaded yet.
    Silent,
    /// There is no driver that could be asked.
    Absent,
    /// What it listed.
    Listed {
        /// The devices of every card that answers.
        devices: Vec<Device>,
        /// The UUIDs of the cards that do not answer, or were there and are listed no more.
        sick: BTreeSet<String>,
    },
}

/// Returns what a node has, after `answer`, that had `before`. What stays keeps its place, so the first few of them are
/// the same ones.
pub fn inventory(before: &[Device], answer: &DriverAnswer) -> Vec<Device> {
    let (listed, sick) = match answer {
        DriverAnswer::Silent => return before.to_vec(),
        DriverAnswer::Absent => return Vec::new(),
        DriverAnswer::Listed { devices, sick } => (devices, sick),
    };
    let still = |device: &Device| {
        let seen = listed.iter().find(|seen| seen.uuid == device.uuid);
        seen.or_else(|| sick.contains(device.card()).then_some(device)).cloned()
    };
    let is_new = |device: &&Device| before.iter().all(|known| known.uuid != device.uuid);
    // A driver answers slice by slice, and a slice may be asked for twice in a list that changed meanwhile.
    let mut taken = BTreeSet::new();
    let all = before.iter().filter_map(still).chain(listed.iter().filter(is_new).cloned());
    all.filter(|device| taken.insert(device.uuid.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `A` is a whole card, `S@A` a slice of it.
    fn devices(text: &str) -> Vec<Device> {
        let device = |word: &str| match word.split_once('@') {
            Some((uuid, card)) => Device {
                uuid: uuid.into(),
                card: Some(card.into()),
                mig_profile: Some("1g".into()),
                ..Device::default()
            },
            None => Device { uuid: word.into(), ..Device::default() },
        };
        text.split_whitespace().map(device).collect()
    }

    fn listed(text: &str, sick: &str) -> DriverAnswer {
        DriverAnswer::Listed { devices: devices(text), sick: sick.split_whitespace().map(str::to_owned).collect() }
    }

    #[test]
    fn only_an_answer_takes_devices_away() {
        use DriverAnswer::{Absent, Silent};
        for (before, answer, expected, why) in [
            ("", Silent, "", "nothing is known yet"),
            ("A B", Silent, "A B", "a driver that hangs takes nothing away"),
            ("A B", Absent, "", "without a library there is no GPU"),
            ("", listed("A B", ""), "A B", "a driver that was loaded after the agent"),
            ("A B", listed("B A", ""), "A B", "the order is kept"),
            ("A B", listed("A", "B"), "A B", "a sick card is still there"),
            ("B A", listed("A", "B"), "B A", "in its place"),
            ("", listed("A", "B"), "A", "one that never answered is nobody's"),
            ("A B", listed("A", ""), "A", "one that was pulled out is not"),
            ("A B", listed("A B C", ""), "A B C", "a new one comes last"),
            ("A B", listed("S1@A S2@A B", ""), "B S1@A S2@A", "a card was cut"),
            ("S1@A S2@A B", listed("A B", ""), "B A", "and made whole"),
            ("S1@A S2@A B", listed("B", "A"), "S1@A S2@A B", "a sick card keeps its slices"),
            ("S1@A", listed("S2@A S2@A", ""), "S2@A", "nothing is listed twice"),
        ] {
            assert_eq!(inventory(&devices(before), &answer), devices(expected), "{why}");
        }
    }

    #[test]
    fn a_newer_answer_replaces_what_was_known_of_a_device() {
        let renewed: Vec<_> = devices("A").into_iter().map(|a| Device { driver: "560".into(), ..a }).collect();
        let answer = DriverAnswer::Listed { devices: renewed.clone(), sick: BTreeSet::new() };
        assert_eq!(inventory(&devices("A"), &answer), renewed);
    }
}
