//! The policies, each a score for taking a place; the largest wins.

use std::{fmt, str::FromStr};

use super::{DEVICE, HostRoom, Kind, Work, measure, taken};
use crate::rng::Rng;

/// Which host a piece of work goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Any that fits.
    Random,
    /// The one with the least cores and devices left, both against the largest host.
    BestFit,
    /// Fragmentation gradient descent (Weng et al., USENIX ATC 2023): the one whose fragmentation grows least.
    Fgd,
    /// Ours: the one where the least is stranded.
    #[default]
    Berth,
}

/// What a policy makes of a piece of work in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does not fit.
    Full,
    /// It fits.
    Fits {
        /// How well.
        score: i64,
        /// Which device a share comes from.
        device: Device,
    },
}

/// Which device a share comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// This one.
    At(usize),
    /// Any with enough left.
    Any,
}

/// The largest host of the published experiment: 128 cores and 8 devices.
const LARGEST_CPU_MILLI: u64 = 128_000;
const LARGEST_SHARES: u64 = 8_000;

/// The devices gained, in billionths, from which the published sigmoid is worth 51, 52, … 99 points: `ln(p / (100 - p))`.
/// The curve is point-symmetric around 50.
const FROM: [i128; 49] = [
    40_005_335,
    80_042_708,
    120_144_312,
    160_342_651,
    200_670_696,
    241_162_057,
    281_851_153,
    322_773_393,
    363_965_378,
    405_465_109,
    447_312_219,
    489_548_226,
    532_216_814,
    575_364_145,
    619_039_209,
    663_294_218,
    708_185_058,
    753_771_803,
    800_119_301,
    847_297_861,
    895_384_048,
    944_461_609,
    994_622_576,
    1_045_968_556,
    1_098_612_289,
    1_152_679_510,
    1_208_311_206,
    1_265_666_374,
    1_324_925_415,
    1_386_294_362,
    1_450_010_176,
    1_516_347_490,
    1_585_627_264,
    1_658_228_077,
    1_734_601_056,
    1_815_289_967,
    1_900_958_762,
    1_992_430_165,
    2_090_741_097,
    2_197_224_578,
    2_313_634_930,
    2_442_347_036,
    2_586_689_345,
    2_751_535_314,
    2_944_438_980,
    3_178_053_831,
    3_476_098_690,
    3_891_820_299,
    4_595_119_851,
];

// === impl Policy ===

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Random, Self::BestFit, Self::Fgd, Self::Berth];

    /// Returns the word people and programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::BestFit => "best-fit",
            Self::Fgd => "fgd",
            Self::Berth => "berth",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|policy| policy.word() == word).ok_or(())
    }
}

// === impl Device ===

impl Device {
    /// Returns the device, drawing one where any will do.
    pub(super) fn or_draw(self, host: &HostRoom, work: &Work, rng: &mut Rng) -> usize {
        match self {
            Self::At(device) => device,
            Self::Any => {
                let large: Vec<usize> =
                    (0..host.room.shares.len()).filter(|at| host.room.shares[*at] >= work.share).collect();
                rng.pick(&large).copied().unwrap_or(0)
            }
        }
    }
}

/// Judges a piece of work in a room whose measure is `before`.
pub(super) fn judge(policy: Policy, host: &HostRoom, before: u64, work: &Work, kinds: &[Kind]) -> Verdict {
    if !work.fits(host) {
        return Verdict::Full;
    }
    match policy {
        Policy::Random => Verdict::Fits { score: 0, device: if work.is_share() { Device::Any } else { Device::At(0) } },
        // Shares are in rising order: the first that is large enough is the tightest.
        Policy::BestFit => {
            let device = host.room.shares.iter().position(|left| *left >= work.share).unwrap_or(0);
            Verdict::Fits { score: tightness(host, work), device: Device::At(device) }
        }
        Policy::Fgd | Policy::Berth => {
            let weight: u64 = kinds.iter().map(|kind| kind.weight).sum();
            let scored = devices(host, work).map(|device| {
                let (after, _) = taken(policy, host, work, device);
                let gained = before as i64 - measure(policy, &after.room, kinds) as i64;
                let score = if policy == Policy::Fgd { points(gained, weight as i64) } else { gained };
                (score, std::cmp::Reverse(device))
            });
            match scored.max() {
                Some((score, device)) => Verdict::Fits { score, device: Device::At(device.0) },
                None => Verdict::Full,
            }
        }
    }
}

/// Lists the devices a share may come from, one of each size; one entry for work that takes none or whole ones.
fn devices(host: &HostRoom, work: &Work) -> impl Iterator<Item = usize> {
    let shares = &host.room.shares;
    let is_share = work.is_share();
    let differs = move |at: &usize| *at == 0 || shares[*at] != shares[*at - 1];
    let share = work.share;
    let large = (0..shares.len()).filter(differs).filter(move |at| shares[*at] >= share);
    large.take(if is_share { usize::MAX } else { 0 }).chain((!is_share).then_some(0))
}

/// Returns how full the host is afterwards, in whole points of the largest host, cores and devices counting the same.
/// What falls into one point is a tie, as published.
fn tightness(host: &HostRoom, work: &Work) -> i64 {
    let cores = host.room.cpu_milli.saturating_sub(work.cpu_milli);
    let devices = host.room.free().saturating_sub(u64::from(work.devices) * u64::from(work.share));
    let whole = 2 * LARGEST_CPU_MILLI * LARGEST_SHARES;
    let left = cores * LARGEST_SHARES + devices * LARGEST_CPU_MILLI;
    (whole.saturating_sub(left) * 100 / whole) as i64
}

/// Returns the published score: whole points of a sigmoid of the fragmentation gained, in devices.
fn points(gained: i64, weight: i64) -> i64 {
    let (gained, unit) = (i128::from(gained) * 1_000_000_000, i128::from(weight) * i128::from(DEVICE));
    if gained >= 0 {
        50 + FROM.partition_point(|from| from * unit <= gained) as i64
    } else {
        49 - FROM.partition_point(|from| from * unit <= -gained) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_those_of_the_sigmoid() {
        for (gained, points_wanted) in [
            (0, 50),
            (39, 50),
            (40, 50),
            (41, 51),
            (-1, 49),
            (-40, 49),
            (-41, 48),
            (1_000, 73),
            (-1_000, 26),
            (9_000, 99),
            (-9_000, 0),
        ] {
            assert_eq!(points(gained, 1), points_wanted, "{gained}");
            assert_eq!(points(gained * 7, 7), points_wanted, "{gained}, weighed");
        }
    }

    #[test]
    fn words_are_read_as_written() {
        for policy in Policy::ALL {
            assert_eq!(policy.word().parse(), Ok(policy));
        }
        assert_eq!("worst-fit".parse::<Policy>(), Err(()));
    }
}
