//! What replicas say of their own load, when they are asked to (Open Request Cost Aggregation, ORCA).
//!
//! The gate knows how many requests a replica has, not how many of them it works on: a server that batches takes sixteen at
//! once as lightly as one, until its memory for them is full and the seventeenth waits inside it. Such servers tell with an
//! answer how many wait and how full they are. They are asked seldom, and those that do not know the question hardly ever.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Number;

use crate::time::{Instant, Millis};

/// Bytes of a report that are looked at; real ones have a tenth of it.
const REPORT_BYTES_MAX: usize = 4_096;

/// Requests that are taken to wait at most: beyond it a replica is as good as out of the choice already.
const WAITING_MAX: u32 = 10_000;

/// Age at which a report says nothing any more, as with the gate's own: only traffic brings a new one.
const REPORT_MAX_AGE_MS: u64 = 1_000;

/// How often a replica is asked that answers: each ages for a tenth of the time in which it counts.
const ASK_EVERY_MS: u64 = 100;

/// How often one is asked that never answers: it may be replaced by one that does, but most never will be.
const ASK_SELDOM_MS: u64 = 10_000;

/// Steps in which what is free counts. With finer ones noise would decide between replicas that are alike, and all routers
/// would choose the same one.
const STEPS: u32 = 8;

/// Metrics that count requests that wait inside the server: vLLM's and SGLang's names.
const WAITING: [&str; 2] = ["num_requests_waiting", "num_queue_reqs"];

/// Metrics that say how much of its memory for requests is taken: vLLM's (two of them), Triton's and SGLang's names.
const FULLNESS: [&str; 4] = ["kv_cache_usage_perc", "gpu_cache_usage_perc", "kv_cache_utilization", "token_usage"];

/// What a replica says of its load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests that wait inside it.
    pub waiting: u32,
    /// How much of what it can do is taken, in thousandths.
    pub taken_milli: u32,
}

/// The newest report of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    report: LoadReport,
    at: Instant,
}

/// When a replica is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    next: Instant,
    unanswered: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Json {
    application_utilization: Option<Number>,
    cpu_utilization: Option<Number>,
    named_metrics: BTreeMap<String, Number>,
}

/// What was read of a report so far.
#[derive(Default)]
struct Read {
    waiting: Option<u32>,
    application: Option<u32>,
    fullness: Option<u32>,
    cpu: Option<u32>,
}

// === impl LoadReport ===

impl LoadReport {
    /// Reads the header `endpoint-load-metrics`: `TEXT name=value,…` or `JSON {…}`, with or without the word. Nothing when
    /// it is none of these or tells nothing that is known here.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = str::from_utf8(value.get(..value.len().min(REPORT_BYTES_MAX + 1))?).ok()?.trim();
        if text.len() > REPORT_BYTES_MAX {
            return None;
        }
        let mut read = Read::default();
        let json = text.strip_prefix("JSON").map(str::trim_start).or(text.starts_with('{').then_some(text));
        match json {
            Some(json) => {
                let json: Json = serde_json::from_str(json).ok()?;
                for (name, value) in json.named_metrics {
                    read.metric(&name, &value.to_string());
                }
                let (application, cpu) = (json.application_utilization, json.cpu_utilization);
                for (name, value) in [("application_utilization", application), ("cpu_utilization", cpu)] {
                    value.into_iter().for_each(|value| read.metric(name, &value.to_string()));
                }
            }
            None => {
                let text = text.strip_prefix("TEXT").unwrap_or(text);
                for (name, value) in text.split(',').filter_map(|metric| metric.split_once('=')) {
                    read.metric(name.trim(), value.trim());
                }
            }
        }
        read.report()
    }

    /// Returns what a replica of this capacity may take beside what takes its memory. Never nothing: what it says may be
    /// wrong, and one that nobody asks says nothing new.
    pub fn left_of(self, capacity_milli: u64) -> u64 {
        let taken = (self.taken_milli / (1_000 / STEPS)).min(STEPS - 1);
        capacity_milli * u64::from(STEPS - taken) / u64::from(STEPS)
    }
}

// === impl Read ===

impl Read {
    /// Takes one metric; what is none of those that count, or no amount, says nothing.
    fn metric(&mut self, name: &str, value: &str) {
        let Some(milli) = milli(value) else { return };
        // `named_metrics.x` in a text, `vllm:x` where a server passes on the names of its own metrics.
        let name = name.rsplit(['.', ':']).next().unwrap_or(name);
        let most = |known: &mut Option<u32>, value: u32| *known = Some(known.map_or(value, |known| known.max(value)));
        match name {
            _ if WAITING.contains(&name) => most(&mut self.waiting, (milli / 1_000).min(WAITING_MAX)),
            _ if FULLNESS.contains(&name) => most(&mut self.fullness, milli),
            // Zero is how ORCA says that it is not told.
            "application_utilization" if milli > 0 => most(&mut self.application, milli),
            "cpu_utilization" if milli > 0 => most(&mut self.cpu, milli),
            _ => {}
        }
    }

    /// What the application says of itself counts first, as in gRPC's own balancing; its host's cores last.
    fn report(self) -> Option<LoadReport> {
        let taken = self.application.or(self.fullness).or(self.cpu);
        (self.waiting.is_some() || taken.is_some())
            .then(|| LoadReport { waiting: self.waiting.unwrap_or(0), taken_milli: taken.unwrap_or(0).min(1_000) })
    }
}

/// Reads a decimal number in thousandths, rounding down; nothing for what is none. A negative one is zero, and one beyond
/// what can be counted is the end of that.
fn milli(text: &str) -> Option<u32> {
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) => (text, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !digits.clone().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // As many digits as a number holds; the zeros before them are none, and those behind them shift the point.
    let (mut number, mut left_out) = (0_u64, 0_i64);
    for digit in digits {
        match number.checked_mul(10).and_then(|number| number.checked_add(u64::from(digit - b'0'))) {
            Some(next) if left_out == 0 => number = next,
            _ => left_out += 1,
        }
    }
    let shift = i64::from(exponent) + left_out - fraction.len() as i64 + 3;
    let power = u32::try_from(shift.unsigned_abs()).ok().and_then(|shift| 10_u64.checked_pow(shift));
    let milli = match power {
        _ if number == 0 || is_negative => 0,
        Some(power) if shift < 0 => number / power,
        Some(power) => number.saturating_mul(power),
        None if shift < 0 => 0,
        None => u64::MAX,
    };
    Some(u32::try_from(milli).unwrap_or(u32::MAX))
}

// === impl Heard ===

impl Heard {
    /// Notes a report.
    pub fn note(&mut self, report: LoadReport, now: Instant) {
        *self = Self { report, at: now };
    }

    /// Returns what was said lately; nothing to do and nothing taken when that is long ago.
    pub fn read(&self, now: Instant) -> LoadReport {
        if now.since(self.at).0 > REPORT_MAX_AGE_MS { LoadReport::default() } else { self.report }
    }
}

// === impl Asks ===

impl Asks {
    /// Returns whether the next request shall ask, which is then taken to do so.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.pause();
        }
        due
    }

    /// Notes whether an answer to a question said anything.
    pub fn answered(&mut self, said: bool, now: Instant) {
        self.unanswered = if said { 0 } else { self.unanswered.saturating_add(1) };
        self.next = now + self.pause();
    }

    fn pause(&self) -> Millis {
        Millis((ASK_EVERY_MS << self.unanswered.min(10)).min(ASK_SELDOM_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_servers_write_them() {
        let said = |waiting, taken_milli| Some(LoadReport { waiting, taken_milli });
        for (value, report, why) in [
            (
                "TEXT named_metrics.kv_cache_usage_perc=0.25,named_metrics.num_requests_waiting=3",
                said(3, 250),
                "vLLM, text",
            ),
            (
                r#"JSON {"named_metrics": {"kv_cache_usage_perc": 0.25, "num_requests_waiting": 3}}"#,
                said(3, 250),
                "vLLM, JSON",
            ),
            (
                "TEXT named_metrics.kv_cache_utilization=0.5, named_metrics.max_token_capacity=4096",
                said(0, 500),
                "Triton",
            ),
            (r#"{"named_metrics":{"kv_cache_utilization":0.5}}"#, said(0, 500), "JSON without the word"),
            (
                "sglang:num_queue_reqs=2,sglang:token_usage=0.1",
                said(2, 100),
                "the names of metrics, text without the word",
            ),
            ("TEXT cpu_utilization=0.9,application_utilization=0.4", said(0, 400), "the application's word first"),
            ("TEXT cpu_utilization=0.9,named_metrics.token_usage=0.2", said(0, 200), "the cores last"),
            ("TEXT cpu_utilization=0.9,application_utilization=0", said(0, 900), "zero is untold"),
            ("TEXT application_utilization=1.7", said(0, 1_000), "over what it should take"),
            ("TEXT named_metrics.num_requests_waiting=1e30", said(10_000, 0), "no more than that counts"),
            ("TEXT named_metrics.num_requests_waiting=-4", said(0, 0), "no amount"),
            (
                "TEXT named_metrics.kv_cache_usage_perc=NaN,named_metrics.num_requests_waiting=1",
                said(1, 0),
                "no amount",
            ),
            ("TEXT rps_fractional=12,eps=1", None, "nothing that is known here"),
            ("TEXT named_metrics.num_requests_waiting=many", None, "no number"),
            (r#"JSON {"named_metrics": 7}"#, None, "no report"),
            (r#"JSON {"named_metrics":"#, None, "cut short"),
            ("", None, "nothing"),
        ] {
            assert_eq!(LoadReport::parse(value.as_bytes()), report, "{why}");
        }
        let long = format!("TEXT {}cpu_utilization=0.9", "x=1,".repeat(REPORT_BYTES_MAX / 4));
        assert_eq!(LoadReport::parse(long.as_bytes()), None, "too long");
        assert_eq!(LoadReport::parse(b"TEXT cpu_utilization=0.9,\xff"), None, "no text");
    }

    #[test]
    fn numbers_are_read_as_python_and_c_write_them() {
        for (text, thousandths) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("3", Some(3_000)),
            ("3.", Some(3_000)),
            (".5", Some(500)),
            ("0.1234567", Some(123)),
            ("1.5e-2", Some(15)),
            ("1e-05", Some(0)),
            ("2.5E+1", Some(25_000)),
            ("0.0000000000000000000000000000012e30", Some(1_200)),
            ("123456789012345678901234567890e-29", Some(1_234)),
            ("99999999999999999999999", Some(u32::MAX)),
            ("1e2000000000", Some(u32::MAX)),
            ("1e-2000000000", Some(0)),
            ("0e2000000000", Some(0)),
            ("-7", Some(0)),
            ("", None),
            (".", None),
            ("-", None),
            ("+1", None),
            ("1e", None),
            ("1e99999999999", None),
            ("0x10", None),
            ("inf", None),
            ("NaN", None),
        ] {
            assert_eq!(milli(text), thousandths, "{text}");
        }
    }

    #[test]
    fn what_is_taken_takes_off_the_capacity_in_steps() {
        for (taken_milli, left, why) in [
            (0, 8_000, "all of it"),
            (124, 8_000, "what is less than a step is noise"),
            (125, 7_000, "one step"),
            (500, 4_000, "half"),
            (1_000, 1_000, "never nothing"),
            (u32::MAX, 1_000, "never nothing"),
        ] {
            assert_eq!(LoadReport { waiting: 0, taken_milli }.left_of(8_000), left, "{why}");
        }
    }

    #[test]
    fn a_report_is_forgotten_when_nothing_new_comes() {
        let at = Instant::from_millis;
        let report = LoadReport { waiting: 3, taken_milli: 900 };
        let mut heard = Heard::default();
        heard.note(report, at(5_000));
        assert_eq!((heard.read(at(6_000)), heard.read(at(6_001))), (report, LoadReport::default()));
    }

    /// Each row: when a request comes, whether it asks, and whether the answer says anything.
    #[test]
    fn who_does_not_answer_is_asked_ever_more_seldom() {
        let mut asks = Asks::default();
        for (at, due, said) in [
            (1_000, true, true),
            (1_099, false, true),
            (1_100, true, true),
            (1_200, true, false),
            (1_300, false, false),
            (1_400, true, false),
            (1_799, false, false),
            (1_800, true, true),
            (1_900, true, true),
        ] {
            let now = Instant::from_millis(at);
            assert_eq!(asks.is_due(now), due, "at {at}");
            assert!(!asks.is_due(now), "one request asks, not each that comes meanwhile");
            if due {
                asks.answered(said, now);
            }
        }
        (0..100).for_each(|_| asks.answered(false, Instant::from_millis(2_000)));
        assert!(!asks.is_due(Instant::from_millis(11_999)) && asks.is_due(Instant::from_millis(12_000)));
    }
}
