//! Settings: what an operator may set for the whole cluster while it runs.
//!
//! They are replicated, so that a new leader judges silence as the last one did. Numbers are checked together: two that
//! are sane alone may not be together, and all that is wrong is said at once.

use serde::{Deserialize, Serialize};

use crate::{
    defaults::DEFAULTS,
    error::{Code, Error, Problems},
    id::LogIndex,
    time::{LogTime, Millis},
};

/// The longest any span here may be: a node that is silent for an hour is not coming back by itself.
const SPAN_MAX: Millis = Millis::from_secs(3_600);
/// Looks at a device that its spans hold at least.
const LOOKS_MIN: u64 = 2;
/// The longest span of a device, or of what is remembered of a node, that anybody may set.
const DEVICE_SPAN_MAX: Millis = Millis::from_secs(90 * 24 * 3_600);
/// Heartbeats that may be missing before a node is suspected, at least: one may always be late.
const HEARTBEATS_MIN: u64 = 2;

/// What an operator may set for the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Silence after which a node gets no new replicas.
    pub suspect_after: Millis,
    /// Silence after which a node's replicas are replaced.
    pub lost_after: Millis,
    /// How long a crashed agent has to come back before its replicas are replaced.
    pub restart_grace: Millis,
    /// Share of nodes, in percent, that may fall silent within the window before the leader suspects itself.
    pub brake_percent: u64,
    /// Nodes that may always fall silent.
    pub brake_floor: u64,
    /// Window of the brake.
    pub brake_window: Millis,
    /// Returns of a node in a row after which it is no longer taken at its word: an operator at work makes a few.
    pub returns_free: u64,
    /// Time without a return after which the earlier ones are forgotten.
    pub returns_window: Millis,
    /// How long a node that returned too often must be heard without a break before anything new is placed on it; doubles with
    /// each further return.
    pub return_hold: Millis,
    /// The longest such wait: a node that was mended is of use again after it.
    pub return_hold_max: Millis,
    /// How long a GPU's driver may not answer before nothing new is placed on it.
    pub device_silent: Millis,
    /// How long a GPU must pass its self-test after a first fault; each fault in a row quadruples it.
    pub device_probation: Millis,
    /// Faults in a row after which a GPU has failed.
    pub device_strikes_max: u64,
    /// How long a failed GPU stays out, and how long without a fault makes the next one a first one.
    pub device_failed: Millis,
    /// The entry that last changed them; zero for the defaults.
    pub revision: LogIndex,
}

/// A change of settings; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// See [`Settings::suspect_after`].
    pub suspect_after: Option<Millis>,
    /// See [`Settings::lost_after`].
    pub lost_after: Option<Millis>,
    /// See [`Settings::restart_grace`].
    pub restart_grace: Option<Millis>,
    /// See [`Settings::brake_percent`].
    pub brake_percent: Option<u64>,
    /// See [`Settings::brake_floor`].
    pub brake_floor: Option<u64>,
    /// See [`Settings::brake_window`].
    pub brake_window: Option<Millis>,
    /// See [`Settings::returns_free`].
    pub returns_free: Option<u64>,
    /// See [`Settings::returns_window`].
    pub returns_window: Option<Millis>,
    /// See [`Settings::return_hold`].
    pub return_hold: Option<Millis>,
    /// See [`Settings::return_hold_max`].
    pub return_hold_max: Option<Millis>,
    /// See [`Settings::device_silent`].
    pub device_silent: Option<Millis>,
    /// See [`Settings::device_probation`].
    pub device_probation: Option<Millis>,
    /// See [`Settings::device_strikes_max`].
    pub device_strikes_max: Option<u64>,
    /// See [`Settings::device_failed`].
    pub device_failed: Option<Millis>,
    /// Whether what is absent goes back to its default instead.
    pub reset: bool,
}

/// Who walks the fleet to upgrade it, and until when nobody else may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeLock {
    /// Who.
    pub holder: String,
    /// Since when.
    pub taken_at: LogTime,
    /// Until when, unless it is renewed.
    pub expires_at: LogTime,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            suspect_after: DEFAULTS.suspect_after,
            lost_after: DEFAULTS.lost_after,
            restart_grace: DEFAULTS.restart_grace,
            brake_percent: DEFAULTS.brake_percent,
            brake_floor: DEFAULTS.brake_floor,
            brake_window: DEFAULTS.brake_window,
            returns_free: DEFAULTS.returns_free,
            returns_window: DEFAULTS.returns_window,
            return_hold: DEFAULTS.return_hold,
            return_hold_max: DEFAULTS.return_hold_max,
            device_silent: DEFAULTS.device_silent,
            device_probation: DEFAULTS.device_probation,
            device_strikes_max: DEFAULTS.device_strikes_max,
            device_failed: DEFAULTS.device_failed,
            revision: LogIndex(0),
        }
    }
}

impl Settings {
    /// Returns the settings after a change, or every reason why they cannot be.
    pub fn with(&self, change: &SettingsChange) -> Result<Self, Error> {
        let base = if change.reset { Self { revision: self.revision, ..Self::default() } } else { self.clone() };
        let next = Self {
            suspect_after: change.suspect_after.unwrap_or(base.suspect_after),
            lost_after: change.lost_after.unwrap_or(base.lost_after),
            restart_grace: change.restart_grace.unwrap_or(base.restart_grace),
            brake_percent: change.brake_percent.unwrap_or(base.brake_percent),
            brake_floor: change.brake_floor.unwrap_or(base.brake_floor),
            brake_window: change.brake_window.unwrap_or(base.brake_window),
            returns_free: change.returns_free.unwrap_or(base.returns_free),
            returns_window: change.returns_window.unwrap_or(base.returns_window),
            return_hold: change.return_hold.unwrap_or(base.return_hold),
            return_hold_max: change.return_hold_max.unwrap_or(base.return_hold_max),
            device_silent: change.device_silent.unwrap_or(base.device_silent),
            device_probation: change.device_probation.unwrap_or(base.device_probation),
            device_strikes_max: change.device_strikes_max.unwrap_or(base.device_strikes_max),
            device_failed: change.device_failed.unwrap_or(base.device_failed),
            revision: base.revision,
        };
        next.validate()?;
        Ok(next)
    }

    /// Checks every rule and reports all that are broken.
    pub fn validate(&self) -> Result<(), Error> {
        let mut problems = Problems::default();
        let quickest = Millis(DEFAULTS.heartbeat_interval.0 * HEARTBEATS_MIN);
        if self.suspect_after < quickest {
            problems.add_try(
                "suspect_after",
                format!(
                    "{} is less than {HEARTBEATS_MIN} heartbeats: one that is late would count",
                    self.suspect_after
                ),
                format!("use {quickest} or more"),
            );
        }
        if self.lost_after <= self.suspect_after {
            problems.add_try(
                "lost_after",
                format!("{} is no more than suspect_after, {}", self.lost_after, self.suspect_after),
                "a node is suspected before it is lost",
            );
        }
        for (field, span) in [
            ("suspect_after", self.suspect_after),
            ("lost_after", self.lost_after),
            ("restart_grace", self.restart_grace),
            ("brake_window", self.brake_window),
            ("return_hold", self.return_hold),
            ("return_hold_max", self.return_hold_max),
        ] {
            if span > SPAN_MAX {
                problems.add_try(field, format!("{span} is out of range"), format!("use at most {SPAN_MAX}"));
            }
        }
        if self.brake_window < self.lost_after {
            problems.add_try(
                "brake_window",
                format!("{} is less than lost_after, {}", self.brake_window, self.lost_after),
                "a window in which nobody can be lost brakes nothing",
            );
        }
        if !(1..=100).contains(&self.brake_percent) {
            problems.add_try("brake_percent", format!("{} is out of range", self.brake_percent), "use 1 to 100");
        }
        if !(1..=10_000).contains(&self.brake_floor) {
            problems.add_try("brake_floor", format!("{} is out of range", self.brake_floor), "use 1 to 10000");
        }
        if !(1..=1_000).contains(&self.returns_free) {
            problems.add_try("returns_free", format!("{} is out of range", self.returns_free), "use 1 to 1000");
        }
        if self.returns_window > DEVICE_SPAN_MAX {
            let what = format!("{} is out of range", self.returns_window);
            problems.add_try("returns_window", what, format!("use at most {DEVICE_SPAN_MAX}"));
        }
        if self.return_hold_max < self.return_hold {
            problems.add_try(
                "return_hold_max",
                format!("{} is less than return_hold, {}", self.return_hold_max, self.return_hold),
                "the longest wait is no shorter than the first",
            );
        }
        if self.returns_window < self.return_hold_max {
            problems.add_try(
                "returns_window",
                format!("{} is less than return_hold_max, {}", self.returns_window, self.return_hold_max),
                "what is forgotten while the node still waits holds nothing",
            );
        }
        let quickest = Millis(DEFAULTS.device_look_interval.0 * LOOKS_MIN);
        if self.device_silent < quickest {
            problems.add_try(
                "device_silent",
                format!(
                    "{} is less than {LOOKS_MIN} looks at a device: one that is late would count",
                    self.device_silent
                ),
                format!("use {quickest} or more"),
            );
        }
        if self.device_probation < quickest {
            problems.add_try(
                "device_probation",
                format!(
                    "{} is less than {LOOKS_MIN} looks at a device: a self-test has to pass more than once",
                    self.device_probation
                ),
                format!("use {quickest} or more"),
            );
        }
        if self.device_failed < self.device_probation {
            problems.add_try(
                "device_failed",
                format!("{} is less than device_probation, {}", self.device_failed, self.device_probation),
                "a failed device stays out for longer than one on probation",
            );
        }
        for (field, span) in [
            ("device_silent", self.device_silent),
            ("device_probation", self.device_probation),
            ("device_failed", self.device_failed),
        ] {
            if span > DEVICE_SPAN_MAX {
                problems.add_try(field, format!("{span} is out of range"), format!("use at most {DEVICE_SPAN_MAX}"));
            }
        }
        if !(1..=100).contains(&self.device_strikes_max) {
            problems.add_try(
                "device_strikes_max",
                format!("{} is out of range", self.device_strikes_max),
                "use 1 to 100",
            );
        }
        problems.into_result(Code::Invalid, "the settings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: a change of the defaults, and the fields that are complained about.
    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let change = SettingsChange::default;
        for (change, fields, why) in [
            (change(), vec![], "nothing changes nothing"),
            (SettingsChange { lost_after: Some(Millis(10_000)), ..change() }, vec![], "more patience"),
            (
                SettingsChange { suspect_after: Some(Millis(999)), ..change() },
                vec!["suspect_after"],
                "one late heartbeat",
            ),
            (SettingsChange { device_probation: Some(Millis(300_000)), ..change() }, vec![], "a longer self-test"),
            (
                SettingsChange { returns_free: Some(1), return_hold: Some(Millis(0)), ..change() },
                vec![],
                "no hold at all",
            ),
            (
                SettingsChange { returns_free: Some(0), return_hold: Some(Millis(400_000)), ..change() },
                vec!["returns_free", "return_hold_max"],
                "the first wait longer than the longest",
            ),
            (
                SettingsChange { returns_window: Some(Millis(299_999)), ..change() },
                vec!["returns_window"],
                "forgotten while it waits",
            ),
            (SettingsChange { device_silent: Some(Millis(1_999)), ..change() }, vec!["device_silent"], "one late look"),
            (
                SettingsChange {
                    device_probation: Some(Millis(1_000)),
                    device_failed: Some(Millis(500)),
                    device_strikes_max: Some(0),
                    ..change()
                },
                vec!["device_probation", "device_failed", "device_strikes_max"],
                "all of a device",
            ),
            (
                SettingsChange { lost_after: Some(Millis(1_500)), ..change() },
                vec!["lost_after"],
                "lost as it is suspected",
            ),
            (
                SettingsChange { lost_after: Some(Millis(u64::MAX)), brake_percent: Some(0), ..change() },
                vec!["lost_after", "brake_window", "brake_percent"],
                "three at once",
            ),
            (SettingsChange { brake_floor: Some(0), ..change() }, vec!["brake_floor"], "not one node may fail"),
        ] {
            let got = Settings::default().with(&change);
            let named: Vec<String> =
                got.err().map(|error| error.problems).into_iter().flatten().map(|problem| problem.field).collect();
            assert_eq!(named, fields, "{why}");
        }
    }

    #[test]
    fn a_reset_goes_back_to_the_defaults_and_takes_what_it_names() {
        let patient = SettingsChange { lost_after: Some(Millis(20_000)), brake_floor: Some(5), ..Default::default() };
        let patient = Settings::default().with(&patient).expect("sane");
        let reset = SettingsChange { reset: true, brake_floor: Some(3), ..Default::default() };
        let got = patient.with(&reset).expect("sane");
        assert_eq!(got, Settings { brake_floor: 3, ..Settings::default() });
    }
}
