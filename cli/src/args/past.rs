//! How much of a log's past is shown: `--tail` and `--since`, as kubectl and docker read them.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// How many of the last lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    Lines(u64),
    All,
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now, by the clock of whoever wrote.
    Within(Duration),
    /// Milliseconds since the Unix epoch.
    At(u64),
}

const TAILS: &str = "write how many lines, or `all`";
const SINCE: &str = "write a time such as `90s`, `15m` or `1h30m`, or when: `2026-01-31T14:02:00Z`, `14:02` (UTC)";

// === impl Since ===

impl Since {
    /// Returns the point in time, for whoever has one clock for all.
    pub(crate) fn at_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(at_ms) => at_ms,
            Self::Within(span) => now_ms.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Reads `--tail`: kubectl's `-1` and docker's `all` are everything.
pub(crate) fn parse_tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "-1" => Ok(Tail::All),
        _ => text.parse().map(Tail::Lines).map_err(|_| TAILS.to_owned()),
    }
}

/// Reads `--since`.
pub(crate) fn parse_since(text: &str) -> Result<Since, String> {
    since(text, Utc::now())
}

fn since(text: &str, now: DateTime<Utc>) -> Result<Since, String> {
    if let Some(span) = span(text) {
        return Ok(Since::Within(span));
    }
    let at = point(text, now).ok_or_else(|| SINCE.to_owned())?;
    u64::try_from(at.timestamp_millis()).map(Since::At).map_err(|_| SINCE.to_owned())
}

/// Reads `90`, `90s` or `1h30m`: units from large to small, each once.
fn span(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut rest, mut units, mut total_ms) = (text, &UNITS[..], 0_u64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let unit = if rest.is_empty() && total_ms == 0 && units.len() == UNITS.len() { "s" } else { &rest[..letters] };
        let at = units.iter().position(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(number.checked_mul(units[at].1)?)?;
        (rest, units) = (&rest[letters..], &units[at + 1..]);
    }
    // A number of seconds that is a time of day in the calendar of Unix is no span.
    const YEARS: u64 = 10 * 366 * 86_400_000;
    (!text.is_empty() && total_ms < YEARS).then(|| Duration::from_millis(total_ms))
}

/// Reads a point in time; without a zone it is UTC, as everything is that Berth prints.
fn point(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, form) {
            return Some(at.and_utc());
        }
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.and_time(NaiveTime::MIN).and_utc());
    }
    let of_day = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok())?;
    let today = now.date_naive().and_time(of_day).and_utc();
    // Ten to midnight, asked at five past, was yesterday.
    if today > now { today.checked_sub_days(Days::new(1)) } else { Some(today) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_read_as_kubectl_docker_and_a_tired_hand_write_it() {
        let now: DateTime<Utc> = "2026-02-01T00:05:00Z".parse().expect("a time");
        let within = |ms| Some(Since::Within(Duration::from_millis(ms)));
        let at = |text: &str| Some(Since::At(text.parse::<DateTime<Utc>>().expect("a time").timestamp_millis() as u64));
        for (text, expected) in [
            ("90", within(90_000)),
            ("90s", within(90_000)),
            ("15m", within(900_000)),
            ("1h30m", within(5_400_000)),
            ("1m30s500ms", within(90_500)),
            ("30d", within(30 * 86_400_000)),
            ("0s", within(0)),
            ("2026-01-31T14:02:00Z", at("2026-01-31T14:02:00Z")),
            ("2026-01-31T14:02:00.25+02:00", at("2026-01-31T12:02:00.25Z")),
            ("2026-01-31T14:02:00", at("2026-01-31T14:02:00Z")),
            ("2026-01-31 14:02", at("2026-01-31T14:02:00Z")),
            ("2026-01-31", at("2026-01-31T00:00:00Z")),
            ("00:04", at("2026-02-01T00:04:00Z")),
            ("23:50:30", at("2026-01-31T23:50:30Z")),
            ("", None),
            ("-5m", None),
            ("m", None),
            ("5x", None),
            ("30m1h", None),
            ("5m5m", None),
            ("5m5", None),
            ("yesterday", None),
            ("1769868120", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(since(text, now).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn all_lines_have_two_words() {
        for (text, expected) in [
            ("20", Some(Tail::Lines(20))),
            ("0", Some(Tail::Lines(0))),
            ("all", Some(Tail::All)),
            ("-1", Some(Tail::All)),
            ("-2", None),
            ("some", None),
        ] {
            assert_eq!(parse_tail(text).ok(), expected, "{text}");
        }
    }
}
