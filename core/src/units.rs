//! Amounts: integers only, with one parser for what people write.

use std::{fmt, ops};

use serde::{Deserialize, Serialize};

/// An amount of the plain dimensions a node has and a replica asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
    /// Whole GPU devices.
    pub gpus: u64,
}

/// Refusal of text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an amount: expected {expected}")]
pub struct ParseAmountError {
    text: String,
    expected: &'static str,
}

// === impl Resources ===

impl Resources {
    /// Nothing at all.
    pub const ZERO: Self = Self { cpu_milli: 0, memory_mib: 0, disk_mib: 0, gpus: 0 };

    /// Returns whether every dimension of `self` fits into `free`.
    pub fn fits(&self, free: &Self) -> bool {
        self.cpu_milli <= free.cpu_milli
            && self.memory_mib <= free.memory_mib
            && self.disk_mib <= free.disk_mib
            && self.gpus <= free.gpus
    }

    /// Subtracts per dimension, stopping at zero.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            disk_mib: self.disk_mib.saturating_sub(other.disk_mib),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }

    /// Multiplies every dimension.
    #[must_use]
    pub fn times(&self, count: u64) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_mul(count),
            memory_mib: self.memory_mib.saturating_mul(count),
            disk_mib: self.disk_mib.saturating_mul(count),
            gpus: self.gpus.saturating_mul(count),
        }
    }
}

impl ops::Add for Resources {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            disk_mib: self.disk_mib.saturating_add(other.disk_mib),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}

impl ops::AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu={} memory={} disk={}", Cores(self.cpu_milli), Mib(self.memory_mib), Mib(self.disk_mib))?;
        if self.gpus > 0 {
            write!(f, " gpu={}", self.gpus)?;
        }
        Ok(())
    }
}

/// Shows a number of things: `1 node`, `2 nodes`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = self;
        write!(f, "{number} {noun}{}", if *number == 1 { "" } else { "s" })
    }
}

/// Shows thousandths of a core as cores: `4`, `0.5`.
#[derive(Clone, Copy, Debug)]
pub struct Cores(pub u64);

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, milli) = (self.0 / 1_000, self.0 % 1_000);
        if milli == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{milli:03}").trim_end_matches('0'))
    }
}

/// Shows MiB as people read them: `512 MiB`, `14 GiB`, `1.5 GiB`.
#[derive(Clone, Copy, Debug)]
pub struct Mib(pub u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            mib if mib < 1_024 => write!(f, "{mib} MiB"),
            mib if mib % 1_024 == 0 => write!(f, "{} GiB", mib / 1_024),
            mib => write!(f, "{}.{} GiB", mib / 1_024, mib % 1_024 * 10 / 1_024),
        }
    }
}

/// Parses cores (`4`, `0.5`, `500m`) into thousandths.
pub fn parse_cpu_milli(text: &str) -> Result<u64, ParseAmountError> {
    let refuse = || ParseAmountError { text: text.to_owned(), expected: "cores such as `4`, `0.5` or `500m`" };
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse().map_err(|_| refuse());
    }
    parse_decimal(text, 1_000).ok_or_else(refuse)
}

/// Parses memory or disk (`8GiB`, `8Gi`, `8GB`, `512MiB`, plain MiB) into MiB, rounding up. A decimal unit counts as
/// the binary one of its letter, as every scheduler before this one does.
pub fn parse_mib(text: &str) -> Result<u64, ParseAmountError> {
    let refuse =
        || ParseAmountError { text: text.to_owned(), expected: "a size such as `8GiB`, `512MiB` or plain MiB" };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale_kib = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "k" | "kb" | "ki" | "kib" => 1,
        "" | "m" | "mb" | "mi" | "mib" => 1 << 10,
        "g" | "gb" | "gi" | "gib" => 1 << 20,
        "t" | "tb" | "ti" | "tib" => 1 << 30,
        _ => return Err(refuse()),
    };
    let kib = parse_decimal(digits.trim_end(), scale_kib).ok_or_else(refuse)?;
    Ok(kib.div_ceil(1 << 10))
}

/// Reads `12` or `1.25` and multiplies by `scale` without ever touching a float.
fn parse_decimal(text: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(scale);
    let part = if fraction.is_empty() { 0 } else { u128::from(fraction.parse::<u64>().ok()?) };
    let total = whole + part * u128::from(scale) / 10_u128.pow(fraction.len() as u32);
    u64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_written() {
        for (text, milli) in
            [("4", Some(4_000)), ("0.5", Some(500)), ("500m", Some(500)), ("-1", None), ("", None), ("1e3", None)]
        {
            assert_eq!(parse_cpu_milli(text).ok(), milli, "{text}");
        }
        for (text, mib) in [
            ("8GiB", Some(8_192)),
            ("8gb", Some(8_192)),
            ("1.5Gi", Some(1_536)),
            ("512", Some(512)),
            ("1KiB", Some(1)),
            ("8 GiB", Some(8_192)),
            ("99999999999999999999", None),
            ("18446744073709551615TiB", None),
            ("GiB", None),
            ("8 parsecs", None),
        ] {
            assert_eq!(parse_mib(text).ok(), mib, "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_as_people_read_them() {
        let amount = Resources { cpu_milli: 2_500, memory_mib: 14_336, disk_mib: 1_700, gpus: 0 };
        assert_eq!(amount.to_string(), "cpu=2.5 memory=14 GiB disk=1.6 GiB");
    }
}
