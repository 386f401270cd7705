//! Holds every rule against what is measured, and says what began and what is over.
//!
//! What fires is in the log, so a new leader neither fires it again nor forgets its end; how long something has been bad
//! is known to the leader alone, and a new one counts anew. Figures that are missing neither fire anything nor end it
//! at once: a leader that hears nobody knows nothing, and an endpoint without callers is not well because nobody
//! complains.

use std::collections::{BTreeMap, BTreeSet};

use super::tally::{Tallies, WINDOW_MAX, WINDOW_MIN};
use crate::{
    id::ReplicaId,
    model::{Alert, AlertKey, AlertRule, AlertState, DeploymentKey, EndpointName, Measure, Side},
    reserve,
    state::{AlertChange, ClusterState},
    time::{Instant, Millis},
    units::Count,
};

/// Something that fires is over when it was well for as long as the rule waited, within these bounds: not by one good
/// second, and not only after hours.
const CALM_MIN: Millis = Millis::from_secs(10);
const CALM_MAX: Millis = Millis::from_secs(60);

/// Something that fires and is not measured any more is over after this: whoever was told of it must not wait for ever.
const SILENCE_MAX: Millis = Millis::from_secs(600);

/// Changes in one entry.
const TOGETHER_MAX: usize = 100;

/// What is measured beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// What ingresses answered.
    pub tallies: &'a Tallies,
    /// Requests in the gate of each replica, from nodes that are heard.
    pub in_flight: &'a BTreeMap<ReplicaId, u64>,
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stand {
    /// Well.
    Ok,
    /// Bad, and not for long enough yet.
    Pending,
    /// It fires.
    Firing,
    /// Nothing is measured: no requests, or no node that is heard.
    Unknown,
}

/// One rule, how it stands and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub key: AlertKey,
    /// The rule.
    pub rule: AlertRule,
    /// How it stands.
    pub stand: Stand,
    /// What is measured now.
    pub value: Option<u64>,
    /// How long it has stood so, as far as this leader knows.
    pub held: Millis,
}

/// Holds rules against figures.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    lines: BTreeMap<AlertKey, Line>,
}

/// What is remembered of one rule.
#[derive(Clone, Debug)]
struct Line {
    rule: AlertRule,
    value: Option<u64>,
    bad_since: Option<Instant>,
    good_since: Option<Instant>,
    silent_since: Option<Instant>,
    stand: Stand,
    stood_since: Instant,
}

// === impl Stand ===

impl Stand {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// Names the endpoints whose answers are to be counted.
    pub fn watch(state: &ClusterState, tallies: &mut Tallies) {
        let with_rules = state.endpoints.values().filter(|endpoint| !endpoint.spec.alerts.is_empty());
        let names: BTreeSet<EndpointName> = with_rules.map(|endpoint| endpoint.name.clone()).collect();
        tallies.watch(names);
    }

    /// Looks at every rule once and returns what the log should know. What is returned and does not get there is returned
    /// again.
    pub fn step(&mut self, state: &ClusterState, figures: Figures<'_>, now: Instant) -> Vec<AlertChange> {
        self.lines.retain(|key, line| {
            let endpoint = state.endpoints.get(&key.endpoint);
            endpoint.is_some_and(|endpoint| endpoint.spec.alerts.contains(&line.rule))
        });
        let mut changes = Vec::new();
        for endpoint in state.endpoints.values() {
            for rule in &endpoint.spec.alerts {
                let key = AlertKey { endpoint: endpoint.name.clone(), rule: rule.name.clone() };
                let value = measure(state, figures, &key.endpoint, rule, now);
                let fires = state.alerts.get(&key).is_some_and(Alert::is_firing);
                let line = self.lines.entry(key.clone()).or_insert_with(|| Line::new(rule, now));
                if let Some((to, text)) = line.look(&key, value, fires, now)
                    && changes.len() < TOGETHER_MAX
                {
                    changes.push(AlertChange { key, rule: rule.clone(), to, value, text });
                }
            }
        }
        changes
    }

    /// Lists every rule as it stands, those that fire first.
    pub fn standings(&self, state: &ClusterState, now: Instant) -> Vec<Standing> {
        let standing = |(key, line): (&AlertKey, &Line)| {
            let fires = state.alerts.get(key).is_some_and(Alert::is_firing);
            let stand = if fires { Stand::Firing } else { line.stand };
            let held = now.since(line.stood_since);
            Standing { key: key.clone(), rule: line.rule.clone(), stand, value: line.value, held }
        };
        let mut all: Vec<_> = self.lines.iter().map(standing).collect();
        let urgency = |stand| match stand {
            Stand::Firing => 0,
            Stand::Pending => 1,
            Stand::Unknown => 2,
            Stand::Ok => 3,
        };
        all.sort_by(|a, b| (urgency(a.stand), &a.key).cmp(&(urgency(b.stand), &b.key)));
        all
    }
}

// === impl Line ===

impl Line {
    fn new(rule: &AlertRule, now: Instant) -> Self {
        let rule = rule.clone();
        let stand = Stand::Unknown;
        Self { rule, value: None, bad_since: None, good_since: None, silent_since: None, stand, stood_since: now }
    }

    /// Takes one figure; returns what has to change.
    fn look(&mut self, key: &AlertKey, value: Option<u64>, fires: bool, now: Instant) -> Option<(AlertState, String)> {
        let when = self.rule.when;
        self.value = value;
        let is = |is: bool, since: &mut Option<Instant>| *since = if is { since.or(Some(now)) } else { None };
        is(value.is_some_and(|value| when.is_bad(value)), &mut self.bad_since);
        is(value.is_some_and(|value| when.is_good(value)), &mut self.good_since);
        is(value.is_none(), &mut self.silent_since);
        let lasts = |since: Option<Instant>, span: Millis| since.is_some_and(|since| now.since(since) >= span);
        let stand = match (fires, value, self.bad_since) {
            (true, ..) => Stand::Firing,
            (false, None, _) => Stand::Unknown,
            (false, Some(_), Some(_)) => Stand::Pending,
            (false, Some(_), None) => Stand::Ok,
        };
        if stand != self.stand {
            (self.stand, self.stood_since) = (stand, now);
        }
        let told = |value: u64| {
            let of = self
                .rule
                .deployment
                .as_ref()
                .map_or_else(|| key.endpoint.to_string(), |deployment| format!("{}/{deployment}", key.endpoint));
            (of, when.measure.amount(value))
        };
        if !fires && lasts(self.bad_since, when.lasting) {
            let (of, amount) = told(value?);
            let side = if when.side == Side::Over { "over" } else { "under" };
            let limit = when.measure.amount(when.limit);
            let lasting = if when.lasting.0 == 0 { String::new() } else { format!(", for {}", when.lasting) };
            let text = match when.measure {
                Measure::ReplicasShort if when.limit == 0 => {
                    format!("{of} lacks {}{lasting}", Count(value?, "replica"))
                }
                Measure::ReserveShort if when.limit == 0 => {
                    format!("{of} lacks {} of its reserve{lasting}", Count(value?, "place"))
                }
                measure => format!("{measure} of {of} is {amount}, {side} {limit}{lasting}"),
            };
            return Some((AlertState::Firing, text));
        }
        let calm = Millis(when.lasting.0.clamp(CALM_MIN.0, CALM_MAX.0));
        if fires && lasts(self.good_since, calm) {
            let (of, amount) = told(value?);
            return Some((AlertState::Resolved, format!("{} of {of} is {amount} again", when.measure)));
        }
        if fires && lasts(self.silent_since, SILENCE_MAX) {
            let text = format!("{} of {key} was not measured for {SILENCE_MAX}: nobody knows", when.measure);
            return Some((AlertState::Resolved, text));
        }
        None
    }
}

/// Returns what a rule looks at; nothing where nobody knows.
fn measure(
    state: &ClusterState,
    figures: Figures<'_>,
    endpoint: &EndpointName,
    rule: &AlertRule,
    now: Instant,
) -> Option<u64> {
    let measure = rule.when.measure;
    if measure.needs_requests() {
        let window = Millis(rule.when.lasting.0.clamp(WINDOW_MIN.0, WINDOW_MAX.0));
        let sum = figures.tallies.within(now, window, endpoint, rule.deployment.as_ref());
        if sum.requests < rule.min_requests {
            return None;
        }
        return match measure {
            Measure::ErrorRate => sum.ppm(sum.failed),
            Measure::ShedRate => sum.ppm(sum.shed),
            Measure::P50 => sum.quantile_us(500),
            Measure::P95 => sum.quantile_us(950),
            Measure::P99 => sum.quantile_us(990),
            Measure::Queue | Measure::ReplicasShort | Measure::ReserveShort => None,
        };
    }
    let keys: Vec<DeploymentKey> = match &rule.deployment {
        Some(name) => vec![DeploymentKey::new(endpoint.clone(), name.clone())],
        None => state.deployments_of(endpoint).map(|deployment| deployment.key.clone()).collect(),
    };
    let known = keys.iter().filter_map(|key| state.deployments.get(key)).filter(|deployment| !deployment.deleting);
    let parts = known.filter_map(|deployment| match measure {
        Measure::Queue => {
            let slots = u64::from(deployment.spec.request_settings.max_concurrent_requests_per_instance);
            let gates = state.replicas_of(&deployment.key).filter_map(|replica| figures.in_flight.get(&replica.id));
            gates.map(|count| count.saturating_sub(slots)).reduce(u64::saturating_add)
        }
        Measure::ReplicasShort => {
            let status = state.deployment_status(&deployment.key).ok()?;
            Some(status.desired.saturating_sub(status.ready))
        }
        Measure::ReserveShort => {
            if !deployment.spec.reserve {
                return Some(0);
            }
            let status = reserve::status(state, deployment);
            Some(status.wanted.saturating_sub(status.held + status.in_use))
        }
        Measure::ErrorRate | Measure::ShedRate | Measure::P50 | Measure::P95 | Measure::P99 => None,
    });
    parts.reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> (AlertKey, Line) {
        let rule = AlertRule::new(text.parse().expect("a condition"));
        let key = AlertKey { endpoint: EndpointName::new("fraud").expect("a name"), rule: rule.name.clone() };
        (key, Line::new(&rule, Instant::from_millis(0)))
    }

    /// A figure each second, `.` where there is none, and what becomes of it: `p` pending, `F` the moment it fires, `f`
    /// fires, `R` the moment it is over, `?` unknown, `o` well.
    #[test]
    fn rules_fire_after_their_time_and_end_when_it_was_calm() {
        let calm = "9 ".repeat(11);
        for (rule, figures, expected, why) in [
            ("queue > 9 for 3s", "0 5 20 20 20 20 20", "ooppp F f", "bad for three seconds"),
            ("queue > 9 for 3s", "20 20 20 0 20 20 20 20", "pppoppp F", "a break begins it anew"),
            ("queue > 9 for 3s", "20 20 . 20 20 20 20", "pp?ppp F", "so does a figure that is missing"),
            ("queue > 9 for 0s", "9 10 10", "o F f", "at once where the rule says so"),
            ("queue > 10 for 0s", "11 0 0 0 0 0 0 0 0 0 0 0", "F ffffffffff R", "over after ten good seconds"),
            ("queue > 10 for 0s", "11 0 0 0 0 0 10 0 0 0 0 0 0 0 0 0 0", "F ffffffffffffffff", "near it is not good"),
            ("queue > 10 for 0s", &format!("11 {calm}11 11"), "F ffffffffff R F f", "it may begin again"),
            ("queue > 10 for 0s", "11 . . . 11 0", "F fffff", "silence ends nothing at once"),
        ] {
            let (key, mut line) = line(rule);
            let (mut fires, mut seen) = (false, String::new());
            for (secs, figure) in figures.split_whitespace().enumerate() {
                let now = Instant::from_millis(secs as u64 * 1_000);
                let change = line.look(&key, figure.parse().ok(), fires, now);
                seen.push_str(match change {
                    Some((AlertState::Firing, _)) => " F ",
                    Some((AlertState::Resolved, _)) => " R ",
                    None => match line.stand {
                        Stand::Ok => "o",
                        Stand::Pending => "p",
                        Stand::Firing => "f",
                        Stand::Unknown => "?",
                    },
                });
                if let Some((to, _)) = change {
                    fires = to == AlertState::Firing;
                }
            }
            let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeeze(&seen), squeeze(expected), "{rule}: {why}");
        }
    }

    #[test]
    fn what_nobody_measures_any_more_is_over_in_the_end() {
        let (key, mut line) = line("p99 > 1 ms for 1s");
        let mut over = None;
        for secs in 0..=SILENCE_MAX.0 / 1_000 {
            let now = Instant::from_millis(secs * 1_000);
            if let Some((to, text)) = line.look(&key, None, true, now) {
                over.get_or_insert((secs, to, text));
            }
        }
        let (secs, to, text) = over.expect("it ends");
        assert_eq!((secs, to), (600, AlertState::Resolved));
        assert_eq!(text, "p99 of fraud/p99 was not measured for 10m00s: nobody knows");
    }

    #[test]
    fn the_sentence_says_what_is_wrong_in_the_units_of_the_rule() {
        for (rule, value, text) in [
            ("error rate > 1 % for 5m", 25_000, "error rate of fraud is 2.5 %, over 1 %, for 5m00s"),
            ("p99 > 800 ms for 0s", 1_200_000, "p99 of fraud is 1200 ms, over 800 ms"),
            ("replicas short for 1m", 2, "fraud lacks 2 replicas, for 1m00s"),
            ("reserve short for 1m", 1, "fraud lacks 1 place of its reserve, for 1m00s"),
        ] {
            let (key, mut line) = line(rule);
            assert!(line.look(&key, Some(value), false, Instant::from_millis(0)).is_none() || rule.ends_with("0s"));
            let later = Instant::from_millis(600_000);
            assert_eq!(line.look(&key, Some(value), false, later), Some((AlertState::Firing, text.to_owned())));
        }
    }
}
