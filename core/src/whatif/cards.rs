//! Cards of nodes that do not exist: `2`, `80GiB:H100`, `2x80GiB:H100`, `1x80GiB:H100/7x1g.10gb`, several joined by `+`.

use crate::{
    model::{Device, NodeName, mig_memory_mib},
    units::parse_mib,
};

/// Cards of one host; eight to sixteen are common.
const CARDS_MAX: u64 = 64;
/// Slices of one card, on every card that can be cut.
const SLICES_MAX: u64 = 7;

/// A card, and what it is cut into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The model.
    pub model: String,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// How many slices of which profile; none when it is whole.
    pub slices: Option<(u64, String)>,
}

/// Reads cards; a plain number is so many of no known model. Returns how many can be given whole, and those that are known.
pub(super) fn parse(text: &str) -> Result<(u64, Vec<Card>), String> {
    let refuse = || format!("`{text}` is no list of devices such as `2x80GiB:H100`");
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let count: u64 = text.parse().map_err(|_| refuse())?;
        return if count <= CARDS_MAX { Ok((count, Vec::new())) } else { Err(format!("{count} devices are too many")) };
    }
    let mut cards = Vec::new();
    for part in text.split('+') {
        let (whole, cut) = part.split_once('/').map_or((part, None), |(whole, cut)| (whole, Some(cut)));
        let (count, rest) = super::shape::counted(whole.trim());
        let (memory, model) = rest.split_once(':').ok_or_else(refuse)?;
        let memory_mib = parse_mib(memory).map_err(|_| refuse())?;
        let (count, model) = (count.unwrap_or(1), model.trim().to_owned());
        if model.is_empty() || memory_mib == 0 || count == 0 {
            return Err(refuse());
        }
        if cards.len() as u64 + count.min(CARDS_MAX + 1) > CARDS_MAX {
            return Err(format!("more than {CARDS_MAX} devices on one node"));
        }
        let slices = cut.map(|cut| slices(cut.trim(), memory_mib)).transpose()?;
        cards.extend(std::iter::repeat_n(Card { model, memory_mib, slices }, count as usize));
    }
    Ok((cards.iter().filter(|card| card.slices.is_none()).count() as u64, cards))
}

fn slices(text: &str, memory_mib: u64) -> Result<(u64, String), String> {
    let (count, profile) = super::shape::counted(text);
    let count = count.unwrap_or(1);
    let Some(each_mib) = mig_memory_mib(profile) else {
        return Err(format!("`{text}` names no slices such as `7x1g.10gb`"));
    };
    if !(1..=SLICES_MAX).contains(&count) {
        return Err(format!("a card is cut into 1 to {SLICES_MAX} slices, not {count}"));
    }
    if each_mib.saturating_mul(count) > memory_mib {
        return Err(format!("{count} slices of {profile} are more than the card has"));
    }
    Ok((count, profile.to_owned()))
}

/// Writes cards of any model on which these slices fit, as [`parse`] reads them.
pub(crate) fn cards_for_slices(profile: &str, count: u64) -> String {
    let each_mib = mig_memory_mib(profile).unwrap_or(1 << 10);
    let known_mib = crate::model::cut_from_gb(profile).map(|gb| gb << 10);
    let fit = known_mib.map_or(SLICES_MAX, |card| (card / each_mib).clamp(1, SLICES_MAX));
    let on_each = count.clamp(1, fit);
    let card_mib = known_mib.unwrap_or(each_mib * on_each);
    format!("{}x{}GiB:any/{on_each}x{profile}", count.max(1).div_ceil(on_each), card_mib.div_ceil(1 << 10))
}

// === impl Card ===

impl Card {
    /// Lists what of the `nth` card of a node can be given to replicas.
    pub(super) fn devices(&self, node: &NodeName, nth: usize) -> Vec<Device> {
        let uuid = format!("GPU-{node}-{nth}");
        let whole = Device {
            uuid: uuid.clone(),
            model: self.model.clone(),
            memory_mib: self.memory_mib,
            healthy: true,
            ..Device::default()
        };
        let Some((count, profile)) = &self.slices else { return vec![whole] };
        let slice = |at: u64| Device {
            uuid: format!("MIG-{node}-{nth}-{at}"),
            memory_mib: mig_memory_mib(profile).unwrap_or(0),
            mig_profile: Some(profile.clone()),
            card: Some(uuid.clone()),
            ..whole.clone()
        };
        (0..*count).map(slice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read_as_written() {
        for (text, expected) in [
            ("2", Some((2, 0, 0))),
            ("2x80GiB:H100", Some((2, 2, 2))),
            ("1x24GiB:L4+1x80GiB:H100", Some((2, 2, 2))),
            ("1x80GiB:H100/7x1g.10gb", Some((0, 1, 7))),
            ("2x80GiB:H100/2x3g.40gb+1x24GiB:L4", Some((1, 3, 5))),
            ("80GiB:H100/1g.10gb", Some((0, 1, 1))),
            ("1x80GiB:H100/8x1g.10gb", None),
            ("1x80GiB:H100/3x3g.40gb", None),
            ("1x80GiB:H100/2xlarge", None),
            ("1x80GiB:H100/0x1g.10gb", None),
            ("1x80GiB:H100/", None),
            ("H100", None),
            ("65", None),
            ("99x80GiB:H100", None),
            ("0x80GiB:H100", None),
            ("1x80GiB:", None),
            ("99999999999999999999x80GiB:H100", None),
        ] {
            let node = NodeName::new("n").unwrap();
            let read = parse(text).ok().map(|(whole, cards)| {
                let devices = cards.iter().enumerate().flat_map(|(nth, card)| card.devices(&node, nth));
                (whole, cards.len(), devices.count())
            });
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn cards_that_are_proposed_have_the_slices_and_can_be_read() {
        for (profile, count, text) in [
            ("1g.10gb", 1, "1x80GiB:any/1x1g.10gb"),
            ("1g.10gb", 7, "1x80GiB:any/7x1g.10gb"),
            ("1g.10gb", 8, "2x80GiB:any/7x1g.10gb"),
            ("3g.40gb", 3, "2x80GiB:any/2x3g.40gb"),
            ("1g.99gb", 2, "1x198GiB:any/2x1g.99gb"),
        ] {
            assert_eq!(cards_for_slices(profile, count), text);
            let (_, cards) = parse(text).unwrap();
            let slices: u64 = cards.iter().filter_map(|card| Some(card.slices.as_ref()?.0)).sum();
            assert!(slices >= count, "{text}");
        }
    }
}
