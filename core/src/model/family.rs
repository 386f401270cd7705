//! Families: what a quota counts in, and how much of which family one instance takes.
//!
//! A family is one of Azure's counters (`standardDSv2Family`) for whoever names one of Azure's sizes; for direct asks it is
//! `cpu`, the model of a GPU (`H100`), or `gpu` for what names no model that is known here. The list is closed: a word
//! nobody set a limit for would otherwise be a way around every limit.
//!
//! What an instance takes follows from its spec alone, never from where it lands: it must be known before anything is
//! placed, and must be the same when it is given back.

use std::fmt;

use super::{DeploymentSpec, GpuAsk, instance_type, size};
use crate::error::{Code, Error, nearest};

/// A family, by its name in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family(&'static str);

/// What a family is counted in; thousandths of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FamilyUnit {
    /// Cores.
    Cores,
    /// Devices.
    Gpus,
}

/// What one instance takes of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FamilyAmount {
    /// The family.
    pub family: Family,
    /// Thousandths of a core or of a device.
    pub milli: u64,
}

/// A whole device or core.
const ONE: u64 = 1_000;

/// Cards by the word in their model's name, with the memory they are sold with, in GB. A share counts against the
/// smallest of its model that holds it.
const CARDS: &[(&str, &[u64])] = &[
    ("A10", &[24]),
    ("A100", &[40, 80]),
    ("A30", &[24]),
    ("A40", &[48]),
    ("B200", &[180]),
    ("H100", &[80, 94]),
    ("H200", &[141]),
    ("L4", &[24]),
    ("L40", &[48]),
    ("L40S", &[48]),
    ("P100", &[16]),
    ("T4", &[16]),
    ("V100", &[16, 32]),
];

/// Memory of the cards there are, in GB: a share that names no model counts against the smallest that holds it. It may
/// land on a larger one; counted too much is a refusal that can be mended by naming a model, counted too little is a hole.
const ANY_CARD: &[u64] = &[16, 24, 32, 40, 48, 80, 94, 141, 180];

/// MIG profiles by the memory of the card they are cut from, in GB. Two cards have a `1g.10gb`; it counts as of the one
/// that is not sold any more in the smaller form.
const SLICES: &[(u64, &[&str])] = &[
    (24, &["1g.6gb", "2g.12gb", "4g.24gb"]),
    (40, &["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"]),
    (80, &["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]),
    (94, &["1g.12gb", "1g.24gb", "2g.24gb", "3g.47gb", "4g.47gb", "7g.94gb"]),
    (141, &["1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"]),
    (180, &["1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb"]),
];

// === impl Family ===

impl Family {
    /// Cores of instances that name no size.
    pub const CPU: Self = Self("cpu");
    /// Devices of instances that name no model, or none that is known.
    pub const GPU: Self = Self("gpu");

    /// Lists every family in order of name.
    pub fn all() -> Vec<Self> {
        let mut all: Vec<_> = size::families().map(Self).collect();
        all.extend(CARDS.iter().map(|(word, _)| Self(word)));
        all.extend([Self::CPU, Self::GPU]);
        all.sort();
        all.dedup();
        all
    }

    /// Finds a family by its name in any case, with or without Azure's `Family` at the end, or names the nearest one.
    pub fn named(text: &str) -> Result<Self, Error> {
        let all = Self::all();
        let bare = |name: &str| name.strip_suffix("family").map_or(name.to_owned(), str::to_owned);
        let wanted = bare(&text.to_ascii_lowercase());
        if let Some(found) = all.iter().find(|family| bare(&family.0.to_ascii_lowercase()) == wanted) {
            return Ok(*found);
        }
        let error = Error::new(Code::Invalid, format!("there is no family `{}`", text.escape_debug()));
        Err(match nearest(text, all.iter().map(|family| family.0)) {
            Some(near) => error.try_(format!("did you mean `{near}`?")),
            None => {
                error.try_("use `cpu`, `gpu`, a GPU's model such as `H100`, or a counter such as `standardDSv2Family`")
            }
        })
    }

    /// Returns the name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Returns what it is counted in.
    pub fn unit(self) -> FamilyUnit {
        let is_card = CARDS.iter().any(|(word, _)| *word == self.0);
        if self == Self::GPU || is_card || size::has_gpus(self.0) { FamilyUnit::Gpus } else { FamilyUnit::Cores }
    }

    /// Returns the family of a GPU by the model a user named: `H100` and `NVIDIA H100 80GB HBM3` are one.
    fn of_model(model: Option<&str>) -> Self {
        card(model).map_or(Self::GPU, |(word, _)| Self(word))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

// === impl FamilyUnit ===

impl FamilyUnit {
    /// Shows an amount with its noun: `4 cores`, `0.5 GPUs`, `1 GPU`.
    pub fn show(self, milli: u64) -> String {
        let noun = if milli == ONE { self.word().trim_end_matches('s') } else { self.word() };
        format!("{} {noun}", crate::units::Cores(milli))
    }

    /// Returns the noun.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cores => "cores",
            Self::Gpus => "GPUs",
        }
    }
}

// === impl DeploymentSpec ===

impl DeploymentSpec {
    /// Returns what one instance takes of which families, in order of family.
    ///
    /// One of Azure's sizes takes of its own counter: devices where it has some, cores where it has none. A direct ask
    /// takes its cores of `cpu`, and its devices of the family of their model besides.
    pub fn families(&self) -> Vec<FamilyAmount> {
        if let Some(size) = instance_type(&self.instance_type)
            && size.resources().cpu_milli == self.resources.cpu_milli
            && size.gpu_ask() == self.gpu
        {
            let milli = match size.devices_milli() {
                0 => self.resources.cpu_milli,
                devices_milli => devices_milli,
            };
            return vec![FamilyAmount { family: Family(size.family), milli }];
        }
        let mut taken = vec![FamilyAmount { family: Family::CPU, milli: self.resources.cpu_milli }];
        let model = match &self.gpu {
            GpuAsk::Whole { model, .. } | GpuAsk::Memory { model, .. } => model.as_deref(),
            GpuAsk::None | GpuAsk::Mig { .. } => None,
        };
        let gpus_milli = self.gpu.devices_milli();
        if gpus_milli > 0 {
            taken.push(FamilyAmount { family: Family::of_model(model), milli: gpus_milli });
        }
        taken.sort();
        taken
    }
}

// === impl GpuAsk ===

impl GpuAsk {
    /// Counts devices in thousandths, rounded up: a share or a slice counts by the memory it has of its device.
    pub fn devices_milli(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Whole { count, .. } => u64::from(*count) * ONE,
            Self::Memory { mib, model } => {
                let sizes = card(model.as_deref()).map_or(ANY_CARD, |(_, sizes)| sizes);
                let mib_of = |gb: &u64| gb * 1_024;
                let holds = sizes.iter().map(mib_of).find(|whole| mib <= whole);
                holds.map_or(ONE, |whole| (mib * ONE).div_ceil(whole))
            }
            Self::Mig { profile, count } => u64::from(*count) * slice_milli(profile),
        }
    }
}

/// Finds the card whose word stands in a model's name.
fn card(model: Option<&str>) -> Option<&'static (&'static str, &'static [u64])> {
    let mut words = model?.split(|c: char| !c.is_ascii_alphanumeric());
    words.find_map(|word| CARDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)))
}

/// Returns the memory in GB of the smallest card of a model.
pub(super) fn smallest_card_gb(model: &str) -> Option<u64> {
    card(Some(model))?.1.first().copied()
}

/// Counts a slice such as `2g.20gb` by the memory it has of its card; by its sevenths where the card is not known.
fn slice_milli(profile: &str) -> u64 {
    let Some((sevenths, memory)) = mig_parts(profile) else { return ONE };
    let (part, whole) = cut_from_gb(profile).map_or((sevenths, 7), |gb| (memory, gb));
    part.saturating_mul(ONE).div_ceil(whole).min(ONE)
}

/// Returns the memory in GB of the cards a slice such as `2g.20gb` is cut from, where it is known.
pub(crate) fn cut_from_gb(profile: &str) -> Option<u64> {
    let plain = profile.split('+').next().unwrap_or(profile);
    SLICES.iter().find(|(_, profiles)| profiles.contains(&plain)).map(|(gb, _)| *gb)
}

/// Returns how much memory a slice such as `2g.20gb` or `1g.10gb+me` has, in MiB, by its name; nothing for what is no
/// profile.
pub fn mig_memory_mib(profile: &str) -> Option<u64> {
    let (_, memory_gb) = mig_parts(profile)?;
    memory_gb.checked_mul(1 << 10).filter(|mib| *mib > 0)
}

/// Splits a profile into the sevenths of a card's engines it has and its memory in GB.
fn mig_parts(profile: &str) -> Option<(u64, u64)> {
    let plain = profile.split('+').next().unwrap_or(profile);
    let (sevenths, memory) = plain.split_once("g.")?;
    let memory = memory.strip_suffix("gb")?;
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    Some((number(sevenths)?, number(memory)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Runtime, units::Resources};

    /// A spec of one of Azure's sizes, as the YAML reader makes it.
    fn sized(name: &str) -> DeploymentSpec {
        let size = instance_type(name).expect(name);
        DeploymentSpec {
            instance_type: name.to_owned(),
            resources: size.resources(),
            gpu: size.gpu_ask(),
            ..DeploymentSpec::new(Runtime::Onnx)
        }
    }

    fn direct(cpu_milli: u64, gpu: &str, share: &str) -> DeploymentSpec {
        let gpu = match (gpu, share) {
            ("", "") => GpuAsk::None,
            ("", share) => GpuAsk::parse_share(share).expect(share),
            (gpu, _) => GpuAsk::parse(gpu).expect(gpu),
        };
        let gpus = if let GpuAsk::Whole { count, .. } = gpu { u64::from(count) } else { 0 };
        let resources = Resources { cpu_milli, memory_mib: 1_024, disk_mib: 0, gpus };
        DeploymentSpec { instance_type: String::new(), resources, gpu, ..DeploymentSpec::new(Runtime::Onnx) }
    }

    fn told(spec: &DeploymentSpec) -> String {
        let each = spec.families().into_iter().map(|each| format!("{}={}", each.family, each.milli));
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_size_counts_in_azures_counter_and_a_direct_ask_in_what_it_asks_for() {
        for (spec, counted, why) in [
            (sized("Standard_DS3_v2"), "standardDSv2Family=4000", "cores of the size"),
            (sized("standard_f4S_V2"), "standardFSv2Family=4000", "in any case"),
            (sized("Standard_NC48ads_A100_v4"), "standardNCADSA100v4Family=2000", "devices, not their cores"),
            (sized("Standard_NV6ads_A10_v5"), "standardNVADSA10v5Family=167", "a sixth of an A10, rounded up"),
            (sized("Standard_NV18ads_A10_v5"), "standardNVADSA10v5Family=500", "a half"),
            (direct(500, "", ""), "cpu=500", "half a core"),
            (direct(8_000, "H100:4", ""), "H100=4000 cpu=8000", "its cores are somebody's too"),
            (direct(1_000, "", "A100:10GiB"), "A100=250 cpu=1000", "of the smallest A100"),
            (direct(1_000, "", "A100:60GiB"), "A100=750 cpu=1000", "of the one that holds it"),
            (direct(1_000, "", "H100:200GiB"), "H100=1000 cpu=1000", "more than any has is a whole one"),
            (direct(1_000, "", "6GiB"), "cpu=1000 gpu=375", "of the smallest card there is"),
            (direct(1_000, "", "1MiB"), "cpu=1000 gpu=1", "never nothing"),
            (direct(1_000, "3", ""), "cpu=1000 gpu=3000", "any model"),
            (direct(1_000, "1g.10gb", ""), "cpu=1000 gpu=125", "an eighth of the memory"),
            (direct(1_000, "2x1g.18gb", ""), "cpu=1000 gpu=256", "18 of 141 rounded up, twice"),
            (direct(1_000, "4g.24gb", ""), "cpu=1000 gpu=1000", "all of an A30"),
            (direct(1_000, "1g.10gb+me", ""), "cpu=1000 gpu=125", "a media engine takes no memory"),
            (direct(1_000, "3g.99gb", ""), "cpu=1000 gpu=429", "of an unknown card, its sevenths"),
        ] {
            assert_eq!(told(&spec), counted, "{why}");
        }
    }

    #[test]
    fn a_size_that_was_changed_counts_as_what_it_is() {
        let more = DeploymentSpec { resources: direct(32_000, "", "").resources, ..sized("Standard_DS1_v2") };
        assert_eq!(told(&more), "cpu=32000", "the name of a small size hides nothing");
    }

    #[test]
    fn a_model_is_one_family_however_it_is_written() {
        for (model, family) in [
            ("H100", "H100"),
            ("NVIDIA H100 80GB HBM3", "H100"),
            ("nvidia a100-sxm4-80gb", "A100"),
            ("A10", "A10"),
            ("A1", "gpu"),
            ("Voodoo2", "gpu"),
        ] {
            assert_eq!(Family::of_model(Some(model)).name(), family, "{model}");
        }
    }

    #[test]
    fn families_are_found_by_name_and_a_slip_is_answered_with_the_right_one() {
        for (text, found) in [
            ("standardDSv2Family", Ok("standardDSv2Family")),
            ("standarddsv2", Ok("standardDSv2Family")),
            ("CPU", Ok("cpu")),
            ("h100", Ok("H100")),
            ("H1O0", Err("did you mean `H100`?")),
            ("standardDSv3Family", Err("did you mean `standardDSv2Family`?")),
        ] {
            let got = Family::named(text).map(Family::name).map_err(|error| error.try_);
            assert_eq!(got, found.map_err(str::to_owned), "{text}");
        }
        for family in Family::all() {
            assert_eq!(Family::named(family.name()), Ok(family));
        }
    }

    #[test]
    fn a_family_counts_devices_where_it_has_some() {
        for (name, unit) in [
            ("cpu", FamilyUnit::Cores),
            ("gpu", FamilyUnit::Gpus),
            ("T4", FamilyUnit::Gpus),
            ("standardFSv2Family", FamilyUnit::Cores),
            ("standardNVADSA10v5Family", FamilyUnit::Gpus),
        ] {
            assert_eq!(Family::named(name).map(Family::unit), Ok(unit), "{name}");
        }
    }
}
