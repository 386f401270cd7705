//! Azure's instance sizes as resources, so that a file written for Azure places on any node.
//!
//! The table lists what managed online endpoints allow. Memory is in tenths of GiB because two sizes have halves; GPU
//! memory is that of one device. A size of a third or a sixth of an A10 asks for a share of its memory.

use super::{GpuAsk, family::smallest_card_gb};
use crate::units::Resources;

/// One of Azure's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceType {
    /// The name without `Standard_`.
    pub name: &'static str,
    /// The quota counter.
    pub family: &'static str,
    /// Cores.
    pub cores: u64,
    /// Memory in tenths of GiB.
    pub memory_decigib: u64,
    /// GPUs it asks for.
    pub gpu: SizeGpu,
    /// Whether 20 % more places are held for it.
    pub reserve: bool,
}

/// The GPUs of a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeGpu {
    /// None.
    None,
    /// Whole devices of a model with this much memory each.
    Whole(u64, &'static str, u64),
    /// This much of one device's memory, in GiB.
    Share(u64, &'static str),
}

use SizeGpu::{None as N, Share, Whole};

const fn size(
    name: &'static str,
    family: &'static str,
    cores: u64,
    memory_decigib: u64,
    gpu: SizeGpu,
    reserve: bool,
) -> InstanceType {
    InstanceType { name, family, cores, memory_decigib, gpu, reserve }
}

/// Sizes whose memory grows with their cores, spelled out by [`instance_types`].
struct Series {
    prefix: &'static str,
    suffix: &'static str,
    family: &'static str,
    cores: &'static [u64],
    decigib_per_core: u64,
}

const SERIES: &[Series] = &[
    Series {
        prefix: "F",
        suffix: "s_v2",
        family: "standardFSv2Family",
        cores: &[2, 4, 8, 16, 32, 48, 64, 72],
        decigib_per_core: 20,
    },
    Series {
        prefix: "D",
        suffix: "as_v4",
        family: "standardDASv4Family",
        cores: &[2, 4, 8, 16, 32, 48, 64, 96],
        decigib_per_core: 40,
    },
    Series {
        prefix: "D",
        suffix: "a_v4",
        family: "standardDAv4Family",
        cores: &[2, 4, 8, 16, 32, 48, 64, 96],
        decigib_per_core: 40,
    },
    Series {
        prefix: "E",
        suffix: "s_v3",
        family: "standardESv3Family",
        cores: &[2, 4, 8, 16, 32, 48],
        decigib_per_core: 80,
    },
    Series {
        prefix: "FX",
        suffix: "mds",
        family: "standardFXMDVSFamily",
        cores: &[4, 12, 24, 36, 48],
        decigib_per_core: 210,
    },
    Series {
        prefix: "L",
        suffix: "as_v3",
        family: "standardLASv3Family",
        cores: &[8, 16, 32, 48, 64, 80],
        decigib_per_core: 80,
    },
    Series {
        prefix: "L",
        suffix: "s_v3",
        family: "standardLSv3Family",
        cores: &[8, 16, 32, 48, 64, 80],
        decigib_per_core: 80,
    },
    Series {
        prefix: "L",
        suffix: "s_v2",
        family: "standardLSv2Family",
        cores: &[8, 16, 32, 48, 64, 80],
        decigib_per_core: 80,
    },
];

const SINGLE: &[InstanceType] = &[
    size("DS1_v2", "standardDSv2Family", 1, 35, N, true),
    size("DS2_v2", "standardDSv2Family", 2, 70, N, true),
    size("DS3_v2", "standardDSv2Family", 4, 140, N, true),
    size("DS4_v2", "standardDSv2Family", 8, 280, N, true),
    size("DS5_v2", "standardDSv2Family", 16, 560, N, true),
    size("E64s_v3", "standardESv3Family", 64, 4_320, N, true),
    size("NC4as_T4_v3", "standardNCASv3_T4Family", 4, 280, Whole(1, "T4", 16), true),
    size("NC8as_T4_v3", "standardNCASv3_T4Family", 8, 560, Whole(1, "T4", 16), true),
    size("NC16as_T4_v3", "standardNCASv3_T4Family", 16, 1_100, Whole(1, "T4", 16), true),
    size("NC64as_T4_v3", "standardNCASv3_T4Family", 64, 4_400, Whole(4, "T4", 16), true),
    size("NC6s_v3", "standardNCSv3Family", 6, 1_120, Whole(1, "V100", 16), true),
    size("NC12s_v3", "standardNCSv3Family", 12, 2_240, Whole(2, "V100", 16), true),
    size("NC24s_v3", "standardNCSv3Family", 24, 4_480, Whole(4, "V100", 16), true),
    size("NC6s_v2", "standardNCSv2Family", 6, 1_120, Whole(1, "P100", 16), true),
    size("NC12s_v2", "standardNCSv2Family", 12, 2_240, Whole(2, "P100", 16), true),
    size("NC24s_v2", "standardNCSv2Family", 24, 4_480, Whole(4, "P100", 16), true),
    size("NV6ads_A10_v5", "standardNVADSA10v5Family", 6, 550, Share(4, "A10"), true),
    size("NV12ads_A10_v5", "standardNVADSA10v5Family", 12, 1_100, Share(8, "A10"), true),
    size("NV18ads_A10_v5", "standardNVADSA10v5Family", 18, 2_200, Share(12, "A10"), true),
    size("NV36ads_A10_v5", "standardNVADSA10v5Family", 36, 4_400, Whole(1, "A10", 24), true),
    size("NV36adms_A10_v5", "standardNVADSA10v5Family", 36, 8_800, Whole(1, "A10", 24), true),
    size("NV72ads_A10_v5", "standardNVADSA10v5Family", 72, 8_800, Whole(2, "A10", 24), true),
    size("NC24ads_A100_v4", "standardNCADSA100v4Family", 24, 2_200, Whole(1, "A100", 80), false),
    size("NC48ads_A100_v4", "standardNCADSA100v4Family", 48, 4_400, Whole(2, "A100", 80), false),
    size("NC96ads_A100_v4", "standardNCADSA100v4Family", 96, 8_800, Whole(4, "A100", 80), false),
    size("NC40ads_H100_v5", "standardNCADSH100v5Family", 40, 3_200, Whole(1, "H100", 94), false),
    size("NC80adis_H100_v5", "standardNCADSH100v5Family", 80, 6_400, Whole(2, "H100", 94), false),
    size("ND96amsr_A100_v4", "standardNDAMSv4_A100Family", 96, 19_000, Whole(8, "A100", 80), false),
    size("ND96asr_v4", "standardNDASv4_A100Family", 96, 9_000, Whole(8, "A100", 40), false),
    size("ND40rs_v2", "standardNDSv2Family", 40, 6_720, Whole(8, "V100", 32), false),
    size("ND96is_H100_v5", "standardNDv5H100Family", 96, 19_000, Whole(8, "H100", 80), false),
    size("ND96isr_H100_v5", "standardNDv5H100Family", 96, 19_000, Whole(8, "H100", 80), false),
];

/// Finds a size by its name, with or without `Standard_`, in any case.
pub fn instance_type(name: &str) -> Option<InstanceType> {
    let bare = match name.get(..9) {
        Some(prefix) if prefix.eq_ignore_ascii_case("standard_") => &name[9..],
        _ => name,
    };
    if let Some(found) = SINGLE.iter().find(|size| size.name.eq_ignore_ascii_case(bare)) {
        return Some(*found);
    }
    SERIES.iter().find_map(|series| {
        let middle = strip_ascii_case(bare, series.prefix, series.suffix)?;
        let cores: u64 = middle.parse().ok()?;
        let known = series.cores.contains(&cores) && middle == cores.to_string();
        known.then(|| size(series.prefix, series.family, cores, cores * series.decigib_per_core, N, true))
    })
}

/// Lists every name, to find the nearest right one.
pub fn instance_types() -> impl Iterator<Item = String> {
    let series = SERIES.iter().flat_map(|series| {
        series.cores.iter().map(move |cores| format!("Standard_{}{cores}{}", series.prefix, series.suffix))
    });
    SINGLE.iter().map(|size| format!("Standard_{}", size.name)).chain(series)
}

/// Lists the quota counters, some more than once.
pub(super) fn families() -> impl Iterator<Item = &'static str> {
    SINGLE.iter().map(|size| size.family).chain(SERIES.iter().map(|series| series.family))
}

/// Returns whether the sizes of a counter have GPUs.
pub(super) fn has_gpus(family: &str) -> bool {
    SINGLE.iter().any(|size| size.family == family && size.gpu != N)
}

fn strip_ascii_case<'a>(text: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    let end = text.len().checked_sub(suffix.len())?;
    let (head, tail) = (text.get(..prefix.len())?, text.get(end..)?);
    let fits = head.eq_ignore_ascii_case(prefix) && tail.eq_ignore_ascii_case(suffix) && prefix.len() <= end;
    fits.then(|| &text[prefix.len()..end])
}

/// Memory of a card, in MiB, for each GB it is sold with: a driver reports less, because error correction and the driver
/// itself take some. A T4 of 16 GB reports 15,360 MiB, an A10 of 24 GB 23,028; the sixths, thirds and halves of one card
/// have to fit on it together, and cards of 40, 80 and 94 GB to be told apart.
const MIB_OF_A_SOLD_GB: u64 = 940;

// === impl InstanceType ===

impl InstanceType {
    /// Returns what one instance holds.
    pub fn resources(&self) -> Resources {
        let gpus = match self.gpu {
            Whole(count, ..) => count,
            N | Share(..) => 0,
        };
        Resources { cpu_milli: self.cores * 1_000, memory_mib: self.memory_decigib * 1_024 / 10, disk_mib: 0, gpus }
    }

    /// Counts devices in thousandths, rounded up, by what the cards are sold with.
    pub(super) fn devices_milli(&self) -> u64 {
        match self.gpu {
            N => 0,
            Whole(count, ..) => count * 1_000,
            Share(gb, model) => (gb * 1_000).div_ceil(smallest_card_gb(model).unwrap_or(gb)),
        }
    }

    /// Returns the GPUs one instance asks for.
    pub fn gpu_ask(&self) -> GpuAsk {
        match self.gpu {
            N => GpuAsk::None,
            Whole(count, model, gib) => {
                let memory_mib_min = gib * MIB_OF_A_SOLD_GB;
                GpuAsk::Whole { count: count as u32, model: Some(model.to_owned()), memory_mib_min }
            }
            Share(gib, model) => GpuAsk::Memory { mib: gib * MIB_OF_A_SOLD_GB, model: Some(model.to_owned()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What drivers report of the cards that Azure has, with error correction on.
    const REPORTED: [(&str, u64); 9] = [
        ("P100", 16_280),
        ("T4", 15_360),
        ("A10", 23_028),
        ("V100", 16_160),
        ("V100", 32_510),
        ("A100", 40_536),
        ("A100", 81_251),
        ("H100", 81_559),
        ("H100", 95_830),
    ];

    #[test]
    fn every_size_fits_the_cards_it_is_sold_with_and_no_smaller_ones() {
        let sizes = SINGLE.iter().filter_map(|size| match size.gpu {
            Whole(_, model, gb) => Some((size, model, gb, 1)),
            Share(gb, model) => Some((size, model, gb, 24 / gb)),
            N => None,
        });
        for (size, model, gb, on_one) in sizes {
            let cards = REPORTED.iter().filter(|(name, _)| *name == model);
            let asked = match size.gpu_ask() {
                GpuAsk::Whole { memory_mib_min, .. } => memory_mib_min,
                GpuAsk::Memory { mib, .. } => mib * on_one,
                other => panic!("{other:?}"),
            };
            let fitting: Vec<u64> = cards.map(|(_, mib)| *mib).filter(|mib| *mib >= asked).collect();
            assert!(!fitting.is_empty(), "{} asks {asked} MiB of a {model}", size.name);
            let sold = |mib: &u64| *mib >= gb * on_one * 900;
            assert!(fitting.iter().all(sold), "{} would take a smaller {model}: {fitting:?}", size.name);
        }
    }

    #[test]
    fn azures_names_become_resources() {
        for (name, expected) in [
            ("Standard_DS3_v2", Some((4, 14_336, 0))),
            ("standard_ds3_v2", Some((4, 14_336, 0))),
            ("DS1_v2", Some((1, 3_584, 0))),
            ("Standard_F4s_v2", Some((4, 8_192, 0))),
            ("Standard_E64s_v3", Some((64, 442_368, 0))),
            ("Standard_D4as_v4", Some((4, 16_384, 0))),
            ("Standard_D4a_v4", Some((4, 16_384, 0))),
            ("Standard_FX12mds", Some((12, 258_048, 0))),
            ("Standard_NC48ads_A100_v4", Some((48, 450_560, 2))),
            ("Standard_NV6ads_A10_v5", Some((6, 56_320, 0))),
            ("Standard_F04s_v2", None),
            ("Standard_F3s_v2", None),
            ("Standard_Ünknown", None),
            ("Fs_v2", None),
            ("", None),
        ] {
            let got = instance_type(name).map(|size| {
                let amount = size.resources();
                (amount.cpu_milli / 1_000, amount.memory_mib, amount.gpus)
            });
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn every_listed_name_is_found() {
        let missing: Vec<_> = instance_types().filter(|name| instance_type(name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
