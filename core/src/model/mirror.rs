//! Mirror rules: what of two answers has to be the same, and what is kept of those that are not.

use serde::{Deserialize, Serialize};

use crate::{
    error::Problems,
    id::Digest,
    traffic::compare::path::{PATH_BYTES_MAX, Pattern},
};

/// Parts of an answer that may be left out; each is tried at every place of every answer.
const IGNORED_MAX: usize = 32;

/// How an endpoint's mirrors are judged. Integers, because it is stored: a tolerance counts in billionths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MirrorRules {
    /// Whether answers are compared at all; copies are sent either way.
    pub compare: bool,
    /// How far a number may be off, in billionths of the one expected.
    pub rtol_ppb: u64,
    /// How far a number may be off beside that, in billionths.
    pub atol_ppb: u64,
    /// Places of an answer that do not count, such as `id` or `predictions[*].took_ms`.
    pub ignore: Vec<String>,
    /// Whether examples tell only the place and the kind of a difference, not what was there.
    pub redact: bool,
    /// Whether requests that name their deployment are copied too.
    pub pinned: bool,
}

// === impl MirrorRules ===

impl Default for MirrorRules {
    /// The tolerances are those of NumPy's `allclose`, which people check models with.
    fn default() -> Self {
        Self { compare: true, rtol_ppb: 10_000, atol_ppb: 10, ignore: Vec::new(), redact: false, pinned: false }
    }
}

impl MirrorRules {
    /// Notes every broken rule.
    pub fn check(&self, problems: &mut Problems) {
        if self.rtol_ppb > 1_000_000_000 {
            problems.add_try("mirror_settings.rtol", "is more than 1", "use a share of the number, such as 1e-5");
        }
        if self.ignore.len() > IGNORED_MAX {
            problems.add("mirror_settings.ignore", format!("more than {IGNORED_MAX} places"));
        }
        for (at, path) in self.ignore.iter().enumerate() {
            if path.len() > PATH_BYTES_MAX || Pattern::parse(path).is_none() {
                problems.add_try(
                    format!("mirror_settings.ignore[{at}]"),
                    "is not the path of a place",
                    "write it as `id`, `usage.*`, `predictions[0].score` or `predictions[*].took_ms`",
                );
            }
        }
    }

    /// Returns a number that is the same for rules that judge the same.
    pub fn fingerprint(&self) -> u64 {
        let Self { compare, rtol_ppb, atol_ppb, ignore, redact: _, pinned: _ } = self;
        let mut text = format!("{compare} {rtol_ppb} {atol_ppb}");
        for path in ignore {
            text.push('\n');
            text.push_str(path);
        }
        u64::from_le_bytes(Digest::of(text.as_bytes()).0[..8].try_into().unwrap_or_default())
    }
}
