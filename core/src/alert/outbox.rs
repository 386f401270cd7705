//! Who is told of which alert, and when it is tried again.
//!
//! What has to be told is in the log: an alert whose `told` is not set. A new leader therefore tells what the one before
//! did not finish and nothing else; at worst a receiver hears one thing twice, under the same key. Everything that waits
//! for a receiver goes in one message, so that a fleet that falls over is one call and not a thousand.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::LogIndex,
    model::{Alert, AlertKey},
    state::AlertTold,
    time::{Instant, Millis},
};

/// Alerts in one message.
const TOGETHER_MAX: usize = 100;

/// Tries before a receiver is given up on for what it did not take.
const TRIES_MAX: u32 = 6;

/// Pause after the first failure; each further one doubles it.
const PAUSE: Millis = Millis::from_secs(1);

/// The longest pause: a receiver that is back hears within this.
const PAUSE_MAX: Millis = Millis::from_secs(30);

/// The names of the receivers that this coordinator knows.
pub type Receivers = BTreeSet<String>;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub receiver: String,
    /// What, in order of key.
    pub alerts: Vec<Alert>,
}

/// Who is told of what.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// What is not told to everybody, by key: only the newest of each counts.
    letters: BTreeMap<AlertKey, Letter>,
    lines: BTreeMap<String, Line>,
}

#[derive(Clone, Debug)]
struct Letter {
    alert: Alert,
    /// Who has not heard, with how often it was tried.
    to: BTreeMap<String, u32>,
    /// Who will not hear, and why.
    given_up: Vec<String>,
}

/// What is known of a receiver.
#[derive(Clone, Debug, Default)]
struct Line {
    /// What it is being told now.
    busy: Option<Vec<(AlertKey, LogIndex)>>,
    failures: u32,
    rests_until: Instant,
}

// === impl Outbox ===

impl Outbox {
    /// Takes what the log says is to be told.
    pub fn see<'a>(&mut self, untold: impl IntoIterator<Item = &'a Alert>, receivers: &Receivers) {
        let mut seen = BTreeSet::new();
        for alert in untold {
            seen.insert(alert.key.clone());
            if self.letters.get(&alert.key).is_none_or(|letter| letter.alert.revision != alert.revision) {
                self.letters.insert(alert.key.clone(), Letter::new(alert, receivers));
            }
        }
        self.letters.retain(|key, _| seen.contains(key));
    }

    /// Returns what is to be sent now: at most one message per receiver, and none to one that rests.
    pub fn due(&mut self, now: Instant) -> Vec<Outgoing> {
        let wanted: BTreeSet<&String> = self.letters.values().flat_map(|letter| letter.to.keys()).collect();
        let mut due = Vec::new();
        for receiver in wanted {
            let line = self.lines.entry(receiver.clone()).or_default();
            if line.busy.is_some() || now < line.rests_until {
                continue;
            }
            let letters = self.letters.values().filter(|letter| letter.to.contains_key(receiver));
            let alerts: Vec<Alert> = letters.take(TOGETHER_MAX).map(|letter| letter.alert.clone()).collect();
            line.busy = Some(alerts.iter().map(|alert| (alert.key.clone(), alert.revision)).collect());
            due.push(Outgoing { receiver: receiver.clone(), alerts });
        }
        due
    }

    /// Takes what became of a message.
    pub fn answered(&mut self, receiver: &str, outcome: Result<(), String>, now: Instant) {
        let Some(line) = self.lines.get_mut(receiver) else { return };
        let Some(sent) = line.busy.take() else { return };
        match &outcome {
            Ok(()) => line.failures = 0,
            Err(_) => {
                let pause = Millis((PAUSE.0 << line.failures.min(10)).min(PAUSE_MAX.0));
                line.failures = line.failures.saturating_add(1);
                line.rests_until = now + pause;
            }
        }
        for (key, revision) in sent {
            // What changed meanwhile is another letter, and goes out by itself.
            let Some(letter) = self.letters.get_mut(&key).filter(|letter| letter.alert.revision == revision) else {
                continue;
            };
            match &outcome {
                Ok(()) => {
                    letter.to.remove(receiver);
                }
                Err(why) => {
                    let Some(tries) = letter.to.get_mut(receiver) else { continue };
                    *tries += 1;
                    if *tries >= TRIES_MAX {
                        letter.to.remove(receiver);
                        letter.given_up.push(format!("{receiver}: {why}"));
                    }
                }
            }
        }
    }

    /// Lists what is told to everybody, or given up on: the log may know.
    pub fn done(&self) -> Vec<AlertTold> {
        let done = self.letters.iter().filter(|(_, letter)| letter.to.is_empty());
        let told = done.map(|(key, letter)| AlertTold {
            key: key.clone(),
            revision: letter.alert.revision,
            given_up: letter.given_up.clone(),
        });
        told.take(TOGETHER_MAX).collect()
    }

    /// Returns when the next receiver has rested enough; nothing while there is nothing to wait for.
    pub fn next_due(&self) -> Option<Instant> {
        let wanted: BTreeSet<&String> = self.letters.values().flat_map(|letter| letter.to.keys()).collect();
        let rests = wanted.into_iter().filter_map(|receiver| self.lines.get(receiver));
        rests.filter(|line| line.busy.is_none()).map(|line| line.rests_until).min()
    }
}

// === impl Letter ===

impl Letter {
    fn new(alert: &Alert, receivers: &Receivers) -> Self {
        let named = &alert.rule.notify;
        let (known, unknown): (Vec<_>, Vec<_>) =
            named.iter().cloned().partition(|receiver| receivers.contains(receiver));
        let to = if named.is_empty() { receivers.iter().cloned().collect() } else { known };
        Self {
            alert: alert.clone(),
            to: to.into_iter().map(|receiver| (receiver, 0)).collect(),
            given_up: unknown
                .into_iter()
                .map(|name| format!("{name}: the coordinators know no such receiver"))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{AlertRule, AlertState, EndpointName},
        time::LogTime,
    };

    fn alert(endpoint: &str, revision: u64, notify: &[&str]) -> Alert {
        let rule = AlertRule {
            notify: notify.iter().map(|name| (*name).to_owned()).collect(),
            ..AlertRule::new("queue > 1 for 1s".parse().expect("a condition"))
        };
        Alert {
            key: AlertKey { endpoint: EndpointName::new(endpoint).expect("a name"), rule: rule.name.clone() },
            rule,
            state: AlertState::Firing,
            fired_at: LogTime::default(),
            since: LogTime::default(),
            value: Some(2),
            text: "it queues".into(),
            revision: LogIndex(revision),
            told: false,
        }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    fn receivers(names: &[&str]) -> Receivers {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Writes messages as `pager: fraud@3 hello@4`.
    fn shown(due: &[Outgoing]) -> Vec<String> {
        let letters = |alerts: &[Alert]| {
            let parts: Vec<_> = alerts.iter().map(|it| format!("{}@{}", it.key.endpoint, it.revision.0)).collect();
            parts.join(" ")
        };
        due.iter().map(|it| format!("{}: {}", it.receiver, letters(&it.alerts))).collect()
    }

    #[test]
    fn everybody_hears_everything_once_and_together() {
        let mut outbox = Outbox::default();
        let known = receivers(&["chat", "pager"]);
        let untold = [alert("fraud", 3, &[]), alert("hello", 4, &["pager"])];
        outbox.see(&untold, &known);
        assert_eq!(shown(&outbox.due(at(0))), ["chat: fraud@3", "pager: fraud@3 hello@4"]);
        outbox.see(&untold, &known);
        assert_eq!(shown(&outbox.due(at(1))), [] as [&str; 0], "they are being told");
        outbox.answered("pager", Ok(()), at(1));
        assert_eq!(shown(&outbox.due(at(1))), [] as [&str; 0], "the one has heard, the other is being told");
        assert_eq!(outbox.done().len(), 1, "hello is told to all that it names");
        outbox.answered("chat", Ok(()), at(2));
        let done: Vec<_> = outbox.done().into_iter().map(|told| (told.revision.0, told.given_up)).collect();
        assert_eq!(done, [(3, vec![]), (4, vec![])]);
        outbox.see([], &known);
        assert_eq!(outbox.done(), [], "the log knows");
    }

    #[test]
    fn one_that_does_not_answer_is_tried_ever_more_rarely_and_given_up_on() {
        let mut outbox = Outbox::default();
        outbox.see([&alert("fraud", 3, &[])], &receivers(&["pager"]));
        let mut tried = Vec::new();
        for secs in 0..200 {
            if !outbox.due(at(secs)).is_empty() {
                tried.push(secs);
                outbox.answered("pager", Err("503".into()), at(secs));
            }
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31]);
        assert_eq!(outbox.done()[0].given_up, ["pager: 503"]);
        assert_eq!(outbox.next_due(), None);
    }

    #[test]
    fn what_changed_meanwhile_is_told_as_it_is_now() {
        let mut outbox = Outbox::default();
        let known = receivers(&["pager"]);
        outbox.see([&alert("fraud", 3, &[])], &known);
        assert_eq!(shown(&outbox.due(at(0))), ["pager: fraud@3"]);
        outbox.see([&alert("fraud", 9, &[])], &known);
        assert_eq!(outbox.done(), []);
        outbox.answered("pager", Ok(()), at(1));
        assert_eq!(outbox.done(), [], "what it was told is not what is so now");
        assert_eq!(shown(&outbox.due(at(1))), ["pager: fraud@9"]);
    }

    #[test]
    fn a_receiver_nobody_knows_is_no_reason_to_wait() {
        let mut outbox = Outbox::default();
        outbox.see([&alert("fraud", 3, &["nobody"]), &alert("hello", 4, &[])], &receivers(&[]));
        assert_eq!(shown(&outbox.due(at(0))), [] as [&str; 0]);
        let done: Vec<_> = outbox.done().into_iter().map(|told| told.given_up).collect();
        assert_eq!(done, [vec!["nobody: the coordinators know no such receiver".to_owned()], vec![]]);
    }

    #[test]
    fn a_storm_is_one_message_and_bounded() {
        let mut outbox = Outbox::default();
        let storm: Vec<_> = (0..250).map(|n| alert(&format!("e{n:03}"), n, &[])).collect();
        outbox.see(&storm, &receivers(&["pager"]));
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let due = outbox.due(at(0));
            sizes.extend(due.iter().map(|it| it.alerts.len()));
            outbox.answered("pager", Ok(()), at(0));
        }
        assert_eq!(sizes, [100, 100, 50]);
        assert_eq!(outbox.done().len(), TOGETHER_MAX);
    }
}
