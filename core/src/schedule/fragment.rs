//! What of a host's devices the work to come cannot use.
//!
//! Free device time is worth something only where its host has the cores for it, in shards large enough, on a model that
//! is asked for. Both measures here weigh a host's free shares by the kinds of work that are expected: [`fragment`] is
//! the published one (Weng et al., *Beware of Fragmentation*, USENIX ATC 2023), [`stranded`] is ours. A scheduler takes
//! the host where the measure grows least.

/// Thousandths of a device: a share of one, or all of it.
pub const DEVICE: u32 = 1_000;

/// A kind of work that is expected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Devices.
    pub devices: u32,
    /// What it takes of each, in thousandths; a whole one with several.
    pub share: u32,
    /// The models it runs on, a bit each; all when zero.
    pub models: u64,
    /// How often it is expected, against the other kinds.
    pub weight: u64,
}

/// What is free on a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room {
    /// The bit of its devices' model.
    pub model: u64,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// What is left of each device, in thousandths, the fullest device first.
    pub shares: Vec<u32>,
}

// === impl Kind ===

impl Kind {
    /// Returns whether it may run on a model.
    pub fn runs_on(&self, model: u64) -> bool {
        self.models == 0 || self.models & model != 0
    }

    /// Returns whether it takes part of one device only.
    pub fn is_share(&self) -> bool {
        self.devices == 1 && self.share < DEVICE
    }
}

// === impl Room ===

impl Room {
    /// Returns what is free of all devices together.
    pub fn free(&self) -> u64 {
        self.shares.iter().map(|share| u64::from(*share)).sum()
    }

    /// Counts how often a kind fits, as far as cores and devices go; without devices it asks for none.
    fn times(&self, kind: &Kind) -> u64 {
        if kind.devices == 0 || !kind.runs_on(self.model) {
            return 0;
        }
        let by_devices = if kind.is_share() {
            self.shares.iter().map(|share| u64::from(share / kind.share.max(1))).sum()
        } else {
            self.large(kind.share) / u64::from(kind.devices)
        };
        let by_cores = self.cpu_milli.checked_div(kind.cpu_milli).unwrap_or(by_devices);
        by_devices.min(by_cores)
    }

    /// Counts the devices with at least `share` left.
    fn large(&self, share: u32) -> u64 {
        self.shares.iter().filter(|left| **left >= share).count() as u64
    }
}

/// Returns the fragmentation of a host as published: over the kinds, what is free where the kind does not fit at all, and
/// the shards too small for it where it does; times the kinds' weights.
pub fn fragment(room: &Room, kinds: &[Kind]) -> u64 {
    let free = room.free();
    let of = |kind: &Kind| {
        let fits = kind.devices > 0
            && kind.runs_on(room.model)
            && room.cpu_milli >= kind.cpu_milli
            && room.large(kind.share) >= u64::from(kind.devices);
        let small = || room.shares.iter().filter(|left| **left < kind.share).map(|left| u64::from(*left)).sum();
        kind.weight * if fits { small() } else { free }
    };
    kinds.iter().map(of).sum()
}

/// Returns what of a host is stranded: over the kinds with devices, what stays free when the host is filled with that
/// kind alone, and once more where the kind does not fit at all; times the kinds' weights.
///
/// Filling counts cores as well as shards, so a host whose cores run out before its devices is seen long before it is
/// full; the second part keeps a host open to as many kinds as can be.
pub fn stranded(room: &Room, kinds: &[Kind]) -> u64 {
    let free = room.free();
    let of = |kind: &Kind| {
        let times = room.times(kind);
        let used = times * u64::from(kind.devices) * u64::from(kind.share);
        kind.weight * (free.saturating_sub(used) + if times == 0 { free } else { 0 })
    };
    if free == 0 { 0 } else { kinds.iter().filter(|kind| kind.devices > 0).map(of).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cpu_milli: u64, devices: u32, share: u32) -> Kind {
        Kind { cpu_milli, devices, share, models: 0, weight: 1 }
    }

    fn room(cpu_milli: u64, shares: &[u32]) -> Room {
        Room { model: 1, cpu_milli, shares: shares.to_vec() }
    }

    /// Each row: cores, shares, a kind, the published measure, ours.
    #[test]
    fn what_a_kind_cannot_use_is_counted() {
        for (cpu, shares, kind, published, ours, why) in [
            (8_000, &[1_000, 1_000][..], kind(4_000, 1, 1_000), 0, 0, "both are used"),
            (7_000, &[1_000, 1_000], kind(4_000, 1, 1_000), 0, 1_000, "cores for one only"),
            (3_000, &[1_000, 1_000], kind(4_000, 1, 1_000), 2_000, 4_000, "cores for none"),
            (8_000, &[400, 1_000], kind(1_000, 1, 500), 400, 400, "a shard too small"),
            (8_000, &[300, 400], kind(1_000, 1, 500), 700, 1_400, "no shard large enough"),
            (8_000, &[1_000; 3], kind(1_000, 2, 1_000), 0, 1_000, "an odd device over"),
            (8_000, &[1_000], kind(1_000, 0, 0), 1_000, 0, "work without devices uses none"),
            (0, &[], kind(1_000, 1, 1_000), 0, 0, "a host without devices"),
        ] {
            let room = room(cpu, shares);
            assert_eq!(fragment(&room, std::slice::from_ref(&kind)), published, "published: {why}");
            assert_eq!(stranded(&room, std::slice::from_ref(&kind)), ours, "ours: {why}");
        }
    }

    #[test]
    fn a_model_nobody_asks_for_is_of_no_use() {
        let picky = Kind { models: 2, ..kind(0, 1, 1_000) };
        assert_eq!(fragment(&room(8_000, &[1_000]), std::slice::from_ref(&picky)), 1_000);
        assert_eq!(stranded(&room(8_000, &[1_000]), std::slice::from_ref(&picky)), 2_000);
    }
}
