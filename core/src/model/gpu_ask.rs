//! How people write what GPUs an instance needs, and what is refused.
//!
//! | Written | Means |
//! |---|---|
//! | `2` | two whole devices of any model |
//! | `H100`, `H100:4` | whole devices of a model |
//! | `24GiB..` | one whole device with at least that much memory |
//! | `A10:24GiB..:2` | all three, in any order |
//! | `1g.10gb`, `2x1g.10gb`, `1g.10gb:2` | MIG slices of a profile |
//!
//! A share of one device's memory is written apart: `6GiB`, `H100:6GiB`.

use super::GpuAsk;
use crate::{error::nearest, units::parse_mib};

/// Whole devices or slices of one instance: twice what the largest host holds.
pub const GPUS_MAX: u32 = 64;
/// Device memory one may ask for, in MiB: ten times what the largest device has. More is a slip of the unit.
pub const GPU_MEMORY_MIB_MAX: u64 = 4 << 20;
/// Profiles of the cards that can be cut, to find the nearest right one.
const PROFILES: &[&str] = &[
    "1g.5gb", "1g.6gb", "1g.10gb", "1g.12gb", "1g.18gb", "1g.20gb", "1g.23gb", "1g.24gb", "1g.35gb", "2g.10gb",
    "2g.12gb", "2g.20gb", "2g.24gb", "2g.35gb", "2g.45gb", "3g.20gb", "3g.40gb", "3g.47gb", "3g.71gb", "3g.90gb",
    "4g.20gb", "4g.24gb", "4g.40gb", "4g.71gb", "4g.90gb", "7g.40gb", "7g.80gb", "7g.94gb", "7g.141gb", "7g.180gb",
];

/// Why an ask is refused, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuAskError {
    /// What is wrong with it.
    pub what: String,
    /// What to write instead.
    pub try_: String,
}

// === impl GpuAsk ===

impl GpuAsk {
    /// Reads what stands under `gpu`.
    pub fn parse(text: &str) -> Result<Self, GpuAskError> {
        let refuse = |what: String| Err(GpuAskError { what, try_: FORMS.to_owned() });
        let (mut count, mut model, mut memory, mut profile) = (None, None, None, None);
        for part in text.split(':').map(str::trim) {
            let taken = match Part::of(part)? {
                Part::Count(number) => count.replace(number).is_some(),
                Part::Memory(mib) => memory.replace(mib).is_some(),
                Part::Model(name) => model.replace(name).is_some(),
                Part::Slices(number, name) => {
                    let twice = number.is_some_and(|number| count.replace(number).is_some());
                    profile.replace(name).is_some() || twice
                }
            };
            if taken {
                return refuse(format!("`{part}` says again what another part said"));
            }
        }
        let is_bare_zero = count == Some(0) && model.is_none() && memory.is_none() && profile.is_none();
        if is_bare_zero {
            return Ok(Self::None);
        }
        let count = count.unwrap_or(1);
        if !(1..=GPUS_MAX).contains(&count) {
            return refuse(format!("{count} devices are out of range; one instance may have 1 to {GPUS_MAX}"));
        }
        match (profile, model, memory) {
            (Some(profile), None, None) => Ok(Self::Mig { profile, count }),
            (Some(_), ..) => refuse("a slice has neither a model nor a memory beside its profile".to_owned()),
            (None, model, memory) => Ok(Self::Whole { count, model, memory_mib_min: memory.unwrap_or(0) }),
        }
    }

    /// Reads what stands under `gpu_memory`.
    pub fn parse_share(text: &str) -> Result<Self, GpuAskError> {
        let (model, amount) = match text.split_once(':') {
            Some((model, amount)) => (Some(model.trim()), amount.trim()),
            None => (None, text.trim()),
        };
        let try_ = "write for example `6GiB`, or `H100:6GiB`".to_owned();
        let refuse = |what: String| GpuAskError { what, try_: try_.clone() };
        if let Some(model) = model.filter(|model| !is_model(model)) {
            return Err(refuse(format!("`{model}` is not the name of a model")));
        }
        let mib = memory_of(amount).map_err(refuse)?;
        Ok(Self::Memory { mib, model: model.map(str::to_owned) })
    }

    /// Says what is out of range in an ask, however it was made.
    pub fn problem(&self) -> Option<String> {
        let memory = |mib: u64| (mib > GPU_MEMORY_MIB_MAX).then(|| format!("{mib} MiB of device memory are absurd"));
        let devices =
            |count: u32| (!(1..=GPUS_MAX).contains(&count)).then(|| format!("{count} devices are out of range"));
        match self {
            Self::None => None,
            Self::Whole { count, memory_mib_min, .. } => devices(*count).or_else(|| memory(*memory_mib_min)),
            Self::Memory { mib: 0, .. } => Some("a share of nothing".to_owned()),
            Self::Memory { mib, .. } => memory(*mib),
            Self::Mig { count, profile } if is_profile(profile) => devices(*count),
            Self::Mig { profile, .. } => Some(format!("`{profile}` is not a MIG profile")),
        }
    }
}

/// What can be written, for whoever wrote something else.
const FORMS: &str = "write `2`, `H100:4`, `24GiB..`, `A10:24GiB..:2` or `2x1g.10gb`";

/// One part of an ask.
enum Part {
    Count(u32),
    Memory(u64),
    Model(String),
    Slices(Option<u32>, String),
}

// === impl Part ===

impl Part {
    fn of(text: &str) -> Result<Self, GpuAskError> {
        let refuse = |what: String, try_: String| Err(GpuAskError { what, try_ });
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits(text) {
            // What does not fit is far beyond the limit, and told as such.
            return Ok(Self::Count(text.parse().unwrap_or(u32::MAX)));
        }
        let (slices, profile) = match text.split_once('x') {
            Some((slices, profile)) if digits(slices) => (Some(slices.parse().unwrap_or(u32::MAX)), profile),
            _ => (None, text),
        };
        if is_profile(profile) {
            return Ok(Self::Slices(slices, profile.to_owned()));
        }
        if let Some(amount) = text.strip_suffix("..") {
            return match memory_of(amount) {
                Ok(mib) => Ok(Self::Memory(mib)),
                Err(what) => refuse(what, "write for example `24GiB..`: at least that much memory each".to_owned()),
            };
        }
        if parse_mib(text).is_ok() {
            let what = format!("`{text}` could be a share of a device or the least a device must have");
            return refuse(what, format!("`gpu_memory: {text}` for a share, `gpu: {text}..` for whole devices"));
        }
        let is_near = text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('g');
        if slices.is_some() || is_near {
            let near = nearest(profile, PROFILES.iter().copied());
            let what = format!("`{}` is not a MIG profile", clip(profile));
            return refuse(what, near.map_or_else(|| "such as `1g.10gb`".to_owned(), |near| format!("`{near}`")));
        }
        if is_model(text) {
            return Ok(Self::Model(text.to_owned()));
        }
        refuse(format!("`{}` is not a GPU request", clip(text)), FORMS.to_owned())
    }
}

fn memory_of(text: &str) -> Result<u64, String> {
    let mib = parse_mib(text).map_err(|error| error.to_string())?;
    match mib {
        0 => Err(format!("`{}` is no memory at all", clip(text))),
        mib if mib > GPU_MEMORY_MIB_MAX => Err(format!("`{}` is more than any device has", clip(text))),
        mib => Ok(mib),
    }
}

/// Returns whether a text names a model: letters first, so that an amount is never taken for one.
fn is_model(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(is_part)
}

/// Returns whether a text has the form of a MIG profile: `1g.10gb`, `1c.3g.20gb`, `1g.10gb+me`.
fn is_profile(text: &str) -> bool {
    let body = text.split_once('+').map_or(text, |(body, _)| body);
    let unit = |part: &str, unit: &str| {
        part.strip_suffix(unit)
            .is_some_and(|count| matches!(count.len(), 1..=4) && count.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match body.split('.').collect::<Vec<_>>().as_slice() {
        [compute, memory] => unit(compute, "g") && unit(memory, "gb"),
        [inner, compute, memory] => unit(inner, "c") && unit(compute, "g") && unit(memory, "gb"),
        _ => false,
    }
}

fn clip(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(count: u32, model: Option<&str>, gib: u64) -> Option<GpuAsk> {
        Some(GpuAsk::Whole { count, model: model.map(str::to_owned), memory_mib_min: gib * 1_024 })
    }

    fn mig(count: u32, profile: &str) -> Option<GpuAsk> {
        Some(GpuAsk::Mig { profile: profile.to_owned(), count })
    }

    #[test]
    fn an_ask_is_read_as_documented() {
        for (text, expected) in [
            ("2", whole(2, None, 0)),
            ("0", Some(GpuAsk::None)),
            ("H100", whole(1, Some("H100"), 0)),
            ("H100:4", whole(4, Some("H100"), 0)),
            ("4:H100", whole(4, Some("H100"), 0)),
            ("24GiB..", whole(1, None, 24)),
            ("24GB..:2", whole(2, None, 24)),
            ("A10:24GiB..:2", whole(2, Some("A10"), 24)),
            ("1g.10gb", mig(1, "1g.10gb")),
            ("2x1g.10gb", mig(2, "1g.10gb")),
            ("1g.10gb:2", mig(2, "1g.10gb")),
            ("1c.3g.20gb", mig(1, "1c.3g.20gb")),
            ("1g.10gb+me", mig(1, "1g.10gb+me")),
            ("", None),
            ("-1", None),
            ("65", None),
            ("99999999999999999999", None),
            ("H100:0", None),
            ("0x1g.10gb", None),
            ("2x1g.10gb:3", None),
            ("H100:A100", None),
            ("H100:1g.10gb", None),
            ("24GiB", None),
            ("0GiB..", None),
            ("900TiB..", None),
            ("1g10gb", None),
            ("2xlarge", None),
            ("H 100", None),
            ("é", None),
        ] {
            assert_eq!(GpuAsk::parse(text).ok(), expected, "{text}: {:?}", GpuAsk::parse(text));
            assert_eq!(expected.and_then(|ask| ask.problem()), None, "{text}");
        }
    }

    #[test]
    fn a_share_is_read_as_documented() {
        let share =
            |gib: u64, model: Option<&str>| Some(GpuAsk::Memory { mib: gib * 1_024, model: model.map(str::to_owned) });
        for (text, expected) in [
            ("6GiB", share(6, None)),
            ("6144", share(6, None)),
            ("H100:6GiB", share(6, Some("H100"))),
            ("0", None),
            ("-1GiB", None),
            ("900TiB", None),
            ("lots", None),
            ("6GiB:H100", None),
            (":6GiB", None),
        ] {
            assert_eq!(GpuAsk::parse_share(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_near_miss_is_helped() {
        for (text, help) in
            [("1g.10g", "1g.10gb"), ("2x1g10gb", "`1g.10gb`"), ("24GiB", "`gpu_memory: 24GiB`"), ("-2", "`2`")]
        {
            let error = GpuAsk::parse(text).unwrap_err();
            assert!(error.try_.contains(help), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_no_text_made_is_judged_too() {
        for ask in [
            GpuAsk::Whole { count: 0, model: None, memory_mib_min: 0 },
            GpuAsk::Whole { count: 65, model: None, memory_mib_min: 0 },
            GpuAsk::Whole { count: 1, model: None, memory_mib_min: u64::MAX },
            GpuAsk::Memory { mib: 0, model: None },
            GpuAsk::Memory { mib: u64::MAX, model: None },
            GpuAsk::Mig { profile: "large".into(), count: 1 },
            GpuAsk::Mig { profile: "1g.10gb".into(), count: 0 },
        ] {
            assert!(ask.problem().is_some(), "{ask:?}");
        }
    }
}
