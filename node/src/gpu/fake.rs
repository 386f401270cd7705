//! A host that pretends to have GPUs: the stand-in library in a folder, with a script beside it.
//!
//! The library is carried inside this program and written out where it is wanted, so `berth dev --fake-gpus` needs
//! nothing but the program. Its form is told in `nvml-stub/src/script.rs`; the file may be edited while it is used.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use berth_core::{
    error::{Code, Error, Problems},
    model::mig_memory_mib,
    units::parse_mib,
};

/// The stand-in for `libnvidia-ml.so`.
const LIBRARY: &[u8] = include_bytes!(env!("BERTH_NVML_STUB"));
/// The library's file.
const LIBRARY_FILE: &str = "libnvidia-ml.so";
/// The script's file, where the library looks for it.
const SCRIPT_FILE: &str = "gpus.ini";
/// The driver it pretends to be. The word is what every screen tells simulated devices by.
const DRIVER: &str = "550.90.07 simulated";
/// Cards of one host at most: what a host holds today, twice over.
const CARDS_MAX: u64 = 16;
/// Slices of a card at most, as on every card with MIG.
const SLICES_MAX: u64 = 7;

/// What cards may draw, as their makers have it; what no list names is in between.
const WATTS: [(&str, u32); 7] =
    [("H200", 700), ("H100", 700), ("A100", 400), ("V100", 300), ("A10", 150), ("L4", 72), ("T4", 70)];
const WATTS_ELSE: u32 = 300;

/// What a host pretends to have: `2x80GiB:H100,1x24GiB:A10`, with slices `1x80GiB:H100/7x1g.10gb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeGpus {
    groups: Vec<Group>,
}

/// Cards that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    count: u64,
    memory_mib: u64,
    model: String,
    /// How many slices of which profile each is cut into.
    slices: Option<(u64, String)>,
}

/// A folder with the library and its script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeHost {
    folder: PathBuf,
}

// === impl FakeGpus ===

impl FakeGpus {
    /// Writes the script of a host. `salt` keeps the UUIDs of several hosts apart.
    pub fn script(&self, salt: &str) -> String {
        let mut text = format!("[driver]\nversion = {DRIVER}\ncuda = 12040\n");
        let mut at = 0;
        for group in &self.groups {
            for _ in 0..group.count {
                text.push_str(&group.section(salt, at));
                at += 1;
            }
        }
        text.push_str("\n[events]\n");
        text
    }
}

impl FromStr for FakeGpus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut problems = Problems::default();
        let mut groups = Vec::new();
        for part in text.split(',').map(str::trim) {
            match Group::parse(part) {
                Ok(group) => groups.push(group),
                Err(why) => problems.add_try(part, why, "write for example `2x80GiB:H100`"),
            }
        }
        let cards: u64 = groups.iter().map(|group| group.count).sum();
        if cards > CARDS_MAX {
            problems.add("cards", format!("{cards} are more than the {CARDS_MAX} a host may pretend to have"));
        }
        problems.into_result(Code::Invalid, "the fake GPUs")?;
        Ok(Self { groups })
    }
}

impl fmt::Display for FakeGpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.groups.iter().map(|group| format!("{}×{}", group.count, group.model)).collect();
        f.write_str(&shown.join(", "))
    }
}

// === impl Group ===

impl Group {
    fn parse(text: &str) -> Result<Self, String> {
        let (cards, slices) = match text.split_once('/') {
            Some((cards, slices)) => (cards, Some(slices)),
            None => (text, None),
        };
        let (amount, model) = cards.split_once(':').ok_or("names no model")?;
        let (count, memory) = amount.split_once('x').ok_or("does not say how many of what size")?;
        let count = count.parse().ok().filter(|count| (1..=CARDS_MAX).contains(count));
        let count = count.ok_or_else(|| format!("has no count from 1 to {CARDS_MAX}"))?;
        let memory_mib = parse_mib(memory).map_err(|error| error.to_string())?;
        if !(1_024..=1 << 20).contains(&memory_mib) {
            return Err("a card has between 1 GiB and 1 TiB".to_owned());
        }
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_word(model) {
            return Err("a model is letters and digits".to_owned());
        }
        let slices = slices.map(|slices| parse_slices(slices, memory_mib)).transpose()?;
        Ok(Self { count, memory_mib, model: model.to_owned(), slices })
    }

    fn section(&self, salt: &str, at: u64) -> String {
        let Self { memory_mib, model, .. } = self;
        let watts = WATTS.iter().find(|(known, _)| known == model).map_or(WATTS_ELSE, |(_, watts)| *watts);
        let mut text = format!(
            "\n[device GPU-{salt}-{at}]\nname = NVIDIA {model}\nmemory_mib = {memory_mib}\ntemperature = 30\n\
             power_mw = 60000\npower_limit_mw = {watts}000\necc_corrected = 0\necc_uncorrected = 0\n"
        );
        if let Some((count, profile)) = &self.slices {
            let mib = mig_memory_mib(profile).unwrap_or(0);
            for slice in 0..*count {
                text.push_str(&format!("mig = MIG-{salt}-{at}-{slice} {profile} {mib}\n"));
            }
        }
        text
    }
}

fn parse_slices(text: &str, memory_mib: u64) -> Result<(u64, String), String> {
    let (count, profile) = text.split_once('x').ok_or("slices are written `7x1g.10gb`")?;
    let count = count.parse().ok().filter(|count| (1..=SLICES_MAX).contains(count));
    let count: u64 = count.ok_or_else(|| format!("a card has 1 to {SLICES_MAX} slices"))?;
    let mib = mig_memory_mib(profile).ok_or("a profile is written `1g.10gb`")?;
    if mib.checked_mul(count).is_none_or(|all| all > memory_mib) {
        return Err(format!("{count} slices of {profile} are more than the card has"));
    }
    Ok((count, profile.to_owned()))
}

// === impl FakeHost ===

impl FakeHost {
    /// Writes the library and its script into a folder.
    pub fn install(folder: &Path, script: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let host = Self { folder: fs::canonicalize(folder)? };
        // Written beside and moved: whoever has the old one loaded keeps it whole.
        let fresh = host.folder.join(format!("{LIBRARY_FILE}.new"));
        fs::write(&fresh, LIBRARY)?;
        fs::rename(fresh, host.library())?;
        host.rewrite(script)?;
        Ok(host)
    }

    /// Returns the library.
    pub fn library(&self) -> PathBuf {
        self.folder.join(LIBRARY_FILE)
    }

    /// Returns the script.
    pub fn script(&self) -> PathBuf {
        self.folder.join(SCRIPT_FILE)
    }

    /// Puts another script in place, whole: a call reads the old one or the new one.
    pub fn rewrite(&self, script: &str) -> io::Result<()> {
        let fresh = self.folder.join(format!("{SCRIPT_FILE}.new"));
        fs::write(&fresh, script)?;
        fs::rename(fresh, self.script())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_pretends_is_read_as_written() {
        for (text, cards) in [
            ("2x80GiB:H100", Some(2)),
            ("2x80GiB:H100, 1x24GiB:A10", Some(3)),
            ("1x80GiB:H100/7x1g.10gb", Some(1)),
            ("", None),
            ("2x80GiB", None),
            ("0x80GiB:H100", None),
            ("-1x80GiB:H100", None),
            ("99999999999999999999x80GiB:H100", None),
            ("17x80GiB:H100", None),
            ("9x80GiB:H100,9x80GiB:H100", None),
            ("1x0GiB:H100", None),
            ("1x99999TiB:H100", None),
            ("1x80GiB:H100/8x1g.10gb", None),
            ("1x16GiB:A30/4x1g.10gb", None),
            ("1x80GiB:H100/2xlarge", None),
            ("1x80GiB:H 100", None),
        ] {
            let parsed = text.parse::<FakeGpus>();
            let got = parsed.as_ref().ok().map(|fake| fake.script("s").matches("[device ").count());
            assert_eq!(got, cards, "{text}: {parsed:?}");
        }
    }
}
