//! Alert rules: what of an endpoint somebody wants to be told about, in the words of its file.
//!
//! A rule is kept as the text people write, `error rate > 1 % for 5 m`: whoever reads a spec reads the rule, and there is
//! one reader of it. Amounts are integers in the smallest unit that is worth telling apart.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{DeploymentName, EndpointName};
use crate::{
    error::{Problems, nearest},
    id::LogIndex,
    time::{LogTime, Millis},
};

/// Rules of one endpoint: every one is looked at each second.
const RULES_MAX: usize = 16;

/// Receivers that one rule names.
const RECEIVERS_MAX: usize = 8;

/// A rule waits at most this long before it fires. Longer is a report, not an alert.
const FOR_MAX: Millis = Millis::from_secs(24 * 3_600);

/// What is written where the time is left out: long enough that a restart of one replica wakes nobody.
const FOR_DEFAULT: Millis = Millis::from_secs(60);

/// Parts of a whole that shares count in.
const WHOLE_PPM: u64 = 1_000_000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Share of answers that the caller could not have prevented: 408, 424, 429 and 500 or above. In millionths.
    ErrorRate,
    /// Share of requests that were refused because there was too much to do: 429. In millionths.
    ShedRate,
    /// What half of the requests took at most, in microseconds.
    P50,
    /// What nineteen of twenty took at most, in microseconds.
    P95,
    /// What ninety-nine of a hundred took at most, in microseconds.
    P99,
    /// Requests that wait at the gates for a replica to be free.
    Queue,
    /// Instances that are asked for and do not serve.
    ReplicasShort,
    /// Places of the reserve that are neither held nor in use.
    ReserveShort,
}

/// On which side of its limit a measure is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Above it.
    Over,
    /// Below it.
    Under,
}

/// `error rate > 1 % for 5 m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// What is measured.
    pub measure: Measure,
    /// On which side it is bad.
    pub side: Side,
    /// The limit, in the measure's unit.
    pub limit: u64,
    /// How long it has to be bad without a break.
    pub lasting: Millis,
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// Someone should look when there is time.
    Warning,
    /// Someone should look now.
    #[default]
    Critical,
}

/// One rule of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertRule {
    /// Its name, unique within the endpoint.
    pub name: String,
    /// When it is bad.
    pub when: Condition,
    /// The deployment it is about; all of the endpoint's together when absent.
    pub deployment: Option<DeploymentName>,
    /// How much it matters.
    pub severity: AlertSeverity,
    /// Who is told: names of receivers that the coordinators know. All of them when empty.
    pub notify: Vec<String>,
    /// A share or a latency of fewer requests than this says nothing.
    pub min_requests: u64,
}

/// An endpoint and one of its rules: `fraud/error-rate`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertKey {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The rule's name.
    pub rule: String,
}

/// Whether an alert is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It is bad, and has been for as long as the rule says.
    Firing,
    /// It was, and is over; kept until whoever was told of the one is told of the other.
    Resolved,
}

/// An alert that fires, or that receivers have to hear the end of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Which.
    pub key: AlertKey,
    /// The rule as it was then.
    pub rule: AlertRule,
    /// Whether it is on.
    pub state: AlertState,
    /// When it began to fire.
    pub fired_at: LogTime,
    /// When it changed last.
    pub since: LogTime,
    /// What was measured then; absent when nothing was.
    pub value: Option<u64>,
    /// One sentence for people.
    pub text: String,
    /// The entry that changed it: what tells one firing from the next.
    pub revision: LogIndex,
    /// Whether everybody who is to know was told, or given up on.
    pub told: bool,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ConditionError {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub try_: String,
}

/// Every measure with the words for it, the proper one first.
const MEASURES: &[(Measure, &[&str])] = &[
    (Measure::ErrorRate, &["error rate", "error-rate", "errors"]),
    (Measure::ShedRate, &["shed rate", "shed-rate", "shed"]),
    (Measure::P50, &["p50", "p50 latency", "latency p50", "median"]),
    (Measure::P95, &["p95", "p95 latency", "latency p95"]),
    (Measure::P99, &["p99", "p99 latency", "latency p99"]),
    (Measure::Queue, &["queue", "queue depth", "queued"]),
    (Measure::ReplicasShort, &["replicas short", "replicas-short"]),
    (Measure::ReserveShort, &["reserve short", "reserve-short"]),
];

// === impl Measure ===

impl Measure {
    /// Lists every measure.
    pub fn all() -> impl Iterator<Item = Self> {
        MEASURES.iter().map(|(measure, _)| *measure)
    }

    /// Returns the words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::ErrorRate => "error rate",
            Self::ShedRate => "shed rate",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Queue => "queue",
            Self::ReplicasShort => "replicas short",
            Self::ReserveShort => "reserve short",
        }
    }

    /// Writes an amount of it as people do: `1.5 %`, `800 ms`, `3`.
    pub fn amount(self, value: u64) -> String {
        match self {
            Self::ErrorRate | Self::ShedRate => format!("{} %", decimal(value, 10_000)),
            Self::P50 | Self::P95 | Self::P99 => format!("{} ms", decimal(value, 1_000)),
            Self::Queue | Self::ReplicasShort | Self::ReserveShort => value.to_string(),
        }
    }

    /// Returns whether it is read from requests, and is unknown without any.
    pub fn needs_requests(self) -> bool {
        matches!(self, Self::ErrorRate | Self::ShedRate | Self::P50 | Self::P95 | Self::P99)
    }

    /// Reads an amount with its unit.
    fn parse_amount(self, text: &str) -> Result<u64, ConditionError> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || matches!(c, '%' | 'µ' | ' '));
        let unit = text[digits.len()..].trim();
        let (scale, try_) = match (self, unit) {
            (Self::ErrorRate | Self::ShedRate, "%") => (Some(10_000), ""),
            (Self::ErrorRate | Self::ShedRate, _) => (None, "a share, such as `1 %`"),
            (Self::P50 | Self::P95 | Self::P99, "ms") => (Some(1_000), ""),
            (Self::P50 | Self::P95 | Self::P99, "s") => (Some(1_000_000), ""),
            (Self::P50 | Self::P95 | Self::P99, _) => (None, "a time, such as `800 ms` or `2 s`"),
            (Self::Queue | Self::ReplicasShort | Self::ReserveShort, "") => (Some(1), ""),
            (Self::Queue | Self::ReplicasShort | Self::ReserveShort, _) => (None, "a number, such as `10`"),
        };
        let wrong = |try_: &str| ConditionError {
            what: format!("`{}` is no limit of {}", clip(text), self.words()),
            try_: try_.to_owned(),
        };
        let scale = scale.ok_or_else(|| wrong(try_))?;
        let value = parse_decimal(digits, scale).ok_or_else(|| wrong("a number from 0 on, such as `1` or `0.5`"))?;
        if scale == 10_000 && value > WHOLE_PPM {
            return Err(wrong("a share up to `100 %`"));
        }
        Ok(value)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

// === impl Condition ===

impl Condition {
    /// Returns whether a value is bad.
    pub fn is_bad(&self, value: u64) -> bool {
        match self.side {
            Side::Over => value > self.limit,
            Side::Under => value < self.limit,
        }
    }

    /// Returns whether a value is well on the good side: a tenth away from the limit, so that one that swings about it does
    /// not ring all day.
    pub fn is_good(&self, value: u64) -> bool {
        let tenth = self.limit / 10;
        match self.side {
            Side::Over => value <= self.limit - tenth,
            Side::Under => value >= self.limit.saturating_add(tenth),
        }
    }
}

impl fmt::Display for Condition {
    /// Writes it so that it is read as the same again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.side {
            Side::Over => '>',
            Side::Under => '<',
        };
        write!(f, "{} {sign} {} for {}", self.measure, self.measure.amount(self.limit), span(self.lasting))
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    /// Reads `error rate > 1 % for 5 m`, `p99 > 800ms`, `replicas short for 2m`.
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let lower = text.to_ascii_lowercase();
        let text = lower.split_whitespace().collect::<Vec<_>>().join(" ");
        let (judged, lasting) = match text.rsplit_once(" for ") {
            Some((judged, lasting)) => (judged, parse_span(lasting)?),
            None => (text.as_str(), FOR_DEFAULT),
        };
        let signs = judged.char_indices().find(|(_, c)| matches!(c, '<' | '>'));
        let Some((at, sign)) = signs else {
            // What is short is short from one on.
            let measure = parse_measure(judged)?;
            if !matches!(measure, Measure::ReplicasShort | Measure::ReserveShort) {
                return Err(ConditionError {
                    what: format!("`{}` has no limit", clip(judged)),
                    try_: format!("{measure} > LIMIT for TIME, such as `{}`", example(measure)),
                });
            }
            return Ok(Self { measure, side: Side::Over, limit: 0, lasting });
        };
        let measure = parse_measure(judged[..at].trim())?;
        let limit = measure.parse_amount(&judged[at + 1..])?;
        let side = if sign == '>' { Side::Over } else { Side::Under };
        Ok(Self { measure, side, limit, lasting })
    }
}

// === impl AlertRule ===

impl AlertRule {
    /// Creates a rule with every default, named after what it measures.
    pub fn new(when: Condition) -> Self {
        Self {
            name: when.measure.words().replace(' ', "-"),
            when,
            deployment: None,
            severity: AlertSeverity::default(),
            notify: Vec::new(),
            min_requests: 1,
        }
    }
}

/// Notes every broken rule of an endpoint's alerts.
pub(super) fn check(rules: &[AlertRule], problems: &mut Problems) {
    if rules.len() > RULES_MAX {
        problems.add("alerts", format!("more than {RULES_MAX} rules"));
    }
    for (at, rule) in rules.iter().enumerate() {
        let field = |name: &str| format!("alerts[{at}]{name}");
        if !is_word(&rule.name) {
            problems.add_try(field(".name"), "is no name", "1 to 63 letters, digits, dashes, dots and underscores");
        }
        if rules[..at].iter().any(|other| other.name == rule.name) {
            let try_ = "give each of them a `name`";
            problems.add_try(field(".name"), format!("another rule is called `{}`", clip(&rule.name)), try_);
        }
        if rule.when.lasting > FOR_MAX {
            problems.add_try(field(".when"), "lasts longer than a day", "use 1s to 24h");
        }
        if rule.notify.len() > RECEIVERS_MAX {
            problems.add(field(".notify"), format!("more than {RECEIVERS_MAX} receivers"));
        }
        if let Some(wrong) = rule.notify.iter().find(|name| !is_word(name)) {
            let try_ = "the name of one that the coordinators know";
            problems.add_try(field(".notify"), format!("`{}` is no receiver", clip(wrong)), try_);
        }
        if rule.min_requests == 0 {
            problems.add_try(field(".min_requests"), "is zero", "use 1 or more");
        }
    }
}

// === impl Alert ===

impl Alert {
    /// Returns whether it is on.
    pub fn is_firing(&self) -> bool {
        self.state == AlertState::Firing
    }
}

// === impl AlertKey ===

impl fmt::Display for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.rule)
    }
}

// === impl AlertState ===

impl AlertState {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

// === impl AlertSeverity ===

impl AlertSeverity {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Returns whether a text can be a rule's or a receiver's name.
pub fn is_word(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

fn parse_measure(text: &str) -> Result<Measure, ConditionError> {
    let all = || MEASURES.iter().flat_map(|(measure, words)| words.iter().map(|word| (*measure, *word)));
    all().find(|(_, word)| *word == text).map(|(measure, _)| measure).ok_or_else(|| {
        let try_ = match nearest(text, all().map(|(_, word)| word)) {
            Some(near) => format!("`{near}`"),
            None => format!("one of {}", Measure::all().map(Measure::words).collect::<Vec<_>>().join(", ")),
        };
        ConditionError { what: format!("`{}` is nothing that is measured", clip(text)), try_ }
    })
}

fn example(measure: Measure) -> &'static str {
    match measure {
        Measure::ErrorRate => "error rate > 1 % for 5m",
        Measure::ShedRate => "shed rate > 1 % for 5m",
        Measure::P50 => "p50 > 200 ms for 5m",
        Measure::P95 => "p95 > 500 ms for 5m",
        Measure::P99 => "p99 > 800 ms for 5m",
        Measure::Queue => "queue > 10 for 2m",
        Measure::ReplicasShort => "replicas short for 5m",
        Measure::ReserveShort => "reserve short for 10m",
    }
}

/// Reads `5m`, `5 m`, `90s`, `1h`, `500ms`.
fn parse_span(text: &str) -> Result<Millis, ConditionError> {
    let wrong = || ConditionError {
        what: format!("`{}` is no time", clip(text)),
        try_: "a time such as `90s`, `5m` or `1h`".to_owned(),
    };
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let scale = match text[digits.len()..].trim() {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(scale).map(Millis).ok_or_else(wrong)
}

/// Writes a time in the largest unit that holds it whole.
fn span(span: Millis) -> String {
    match span.0 {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// Writes `value / scale` without zeroes at the end.
fn decimal(value: u64, scale: u64) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{rest:0width$}").trim_end_matches('0').to_owned()
}

/// Reads a decimal number in units of `1 / scale`; more digits than that are no number.
fn parse_decimal(text: &str, scale: u64) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(rest.bytes()).all(|byte| byte.is_ascii_digit()) || rest.len() > scale.ilog10() as usize {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let tenths = scale / 10_u64.pow(u32::try_from(rest.len()).ok()?);
    let rest: u64 = if rest.is_empty() { 0 } else { rest.parse().ok()? };
    whole.checked_mul(scale)?.checked_add(rest.checked_mul(tenths)?)
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conditions_are_read_as_people_write_them() {
        for (text, canonical) in [
            ("error rate > 1 % for 5 m", "error rate > 1 % for 5m"),
            ("Error-Rate>0.5% for 90s", "error rate > 0.5 % for 90s"),
            ("p99 > 800ms for 2m", "p99 > 800 ms for 2m"),
            ("p99 latency > 1.5 s for 120 s", "p99 > 1500 ms for 2m"),
            ("latency p50 > 0.25 ms for 1h", "p50 > 0.25 ms for 1h"),
            ("shed > 2%", "shed rate > 2 % for 1m"),
            ("queue depth > 10 for 30s", "queue > 10 for 30s"),
            ("replicas short for 5 minutes", "replicas short > 0 for 5m"),
            ("replicas short > 2 for 0s", "replicas short > 2 for 0s"),
            ("reserve short for 1500ms", "reserve short > 0 for 1500ms"),
            ("p95 < 1 ms for 1m", "p95 < 1 ms for 1m"),
        ] {
            let read: Condition = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_told_with_what_would_be() {
        for (text, what, try_) in [
            ("", "`` is nothing that is measured", "one of "),
            ("eror rate > 1 % for 5m", "`eror rate` is nothing that is measured", "`error rate`"),
            ("error rate for 5m", "`error rate` has no limit", "error rate > 1 % for 5m"),
            ("error rate > 1 for 5m", "`1` is no limit of error rate", "a share, such as `1 %`"),
            ("error rate > 101 % for 5m", "`101 %` is no limit of error rate", "a share up to `100 %`"),
            ("error rate > 0.00001 % for 5m", "`0.00001 %` is no limit of error rate", "a number from 0 on"),
            ("p99 > 800 for 5m", "`800` is no limit of p99", "a time, such as `800 ms` or `2 s`"),
            ("p99 > -1 ms for 5m", "`-1 ms` is no limit of p99", "a number from 0 on"),
            ("queue > 10 ms for 5m", "`10 ms` is no limit of queue", "a number, such as `10`"),
            ("queue > 1.5 for 5m", "`1.5` is no limit of queue", "a number from 0 on"),
            ("queue > 10 for ever", "`ever` is no time", "a time such as `90s`, `5m` or `1h`"),
            ("queue > 99999999999999999999 for 5m", "is no limit of queue", "a number from 0 on"),
            ("p99 > 99999999999999999 s for 5m", "is no limit of p99", "a number from 0 on"),
        ] {
            let error = text.parse::<Condition>().expect_err(text);
            assert!(error.what.contains(what), "{text}: {}", error.what);
            assert!(error.try_.contains(try_), "{text}: {}", error.try_);
        }
    }

    #[test]
    fn a_value_near_the_limit_is_neither_bad_nor_good() {
        let over: Condition = "queue > 10 for 1m".parse().expect("a condition");
        let under: Condition = "queue < 10 for 1m".parse().expect("a condition");
        for (condition, value, bad, good) in [
            (over, 11, true, false),
            (over, 10, false, false),
            (over, 9, false, true),
            (under, 9, true, false),
            (under, 10, false, false),
            (under, 11, false, true),
        ] {
            assert_eq!((condition.is_bad(value), condition.is_good(value)), (bad, good), "{condition} at {value}");
        }
        let short: Condition = "replicas short for 1m".parse().expect("a condition");
        assert!(short.is_bad(1) && short.is_good(0), "nothing is missing any more");
    }

    #[test]
    fn all_problems_of_a_file_are_told_at_once() {
        let rule = |text: &str| AlertRule::new(text.parse().expect("a condition"));
        let wrong =
            AlertRule { name: "two words".into(), notify: vec!["a b".into()], min_requests: 0, ..rule("p99 > 1 s") };
        let long = AlertRule { name: "long".into(), ..rule("p99 > 1 s for 25h") };
        let mut problems = Problems::default();
        check(&[rule("p50 > 1 s"), rule("p50 > 2 s"), wrong, long], &mut problems);
        let error = problems.into_result(crate::error::Code::Invalid, "the endpoint").expect_err("refused");
        let fields: Vec<_> = error.problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            ["alerts[1].name", "alerts[2].name", "alerts[2].notify", "alerts[2].min_requests", "alerts[3].when"]
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(
            measure in proptest::sample::select(Measure::all().collect::<Vec<_>>()),
            over in any::<bool>(),
            limit in 0_u64..=1_000_000,
            lasting in 0_u64..=86_400_000,
        ) {
            let side = if over { Side::Over } else { Side::Under };
            let condition = Condition { measure, side, limit, lasting: Millis(lasting) };
            prop_assert_eq!(condition.to_string().parse(), Ok(condition));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = text.parse::<Condition>();
        }

        #[test]
        fn nothing_is_bad_and_good_at_once(limit in any::<u64>(), value in any::<u64>(), over in any::<bool>()) {
            let side = if over { Side::Over } else { Side::Under };
            let condition = Condition { measure: Measure::Queue, side, limit, lasting: Millis(0) };
            prop_assert!(!(condition.is_bad(value) && condition.is_good(value)) || limit == u64::MAX);
        }
    }
}
