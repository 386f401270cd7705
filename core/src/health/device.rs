//! Devices: what a node makes of what it sees of a card, and what a leader makes of what nodes say.
//!
//! A node counts faults and how long a card has passed its self-test since the last one; both go with every heartbeat.
//! The self-test is one round of questions that the card's driver answers from the card itself: handle, memory, error
//! counters. It passes when every answer comes, no uncorrected memory error is new and no XID of the device came
//! meanwhile. The leader compares this with what the log says of the card, so it needs no memory of its own: after a
//! failover the next heartbeat says everything again.

use std::collections::BTreeSet;

use crate::{
    health::{XidClass, xid_class, xid_text},
    id::NodeEpoch,
    model::{DeviceCondition, DeviceState, Settings},
    time::{Instant, LogTime, Millis},
};

/// What a node says of a card, with every heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSign {
    /// The card's UUID.
    pub card: String,
    /// Faults of the card since the agent started.
    pub faults: u64,
    /// The last one, for people.
    pub last_fault: String,
    /// How long it has passed its self-test without a break; nothing while it does not.
    pub passing: Option<Millis>,
    /// How old the last look at it is.
    pub silent: Millis,
    /// XIDs that condemn nothing, since the agent started.
    pub notes: u64,
    /// The last of them.
    pub last_note: String,
}

/// What a node knows of one of its cards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardWatch {
    faults: u64,
    last_fault: String,
    passing_since: Option<Instant>,
    looked_at: Option<Instant>,
    uncorrected: Option<u64>,
    notes: u64,
    last_note: String,
    /// Processes on it, by id, that the last look could not find on the host.
    unfound: BTreeSet<u32>,
    /// Whether it was said that some of them cannot be found.
    is_unfound_noted: bool,
}

/// How long a card must pass its self-test after this many faults in a row, before it takes work again.
pub fn probation_of(settings: &Settings, strikes: u32) -> Millis {
    if u64::from(strikes) >= settings.device_strikes_max {
        return settings.device_failed;
    }
    // Each fault in a row quadruples it: a card that faults every hour should not serve in between.
    let factor = 1u64 << (2 * strikes.saturating_sub(1)).min(16);
    Millis(settings.device_probation.0.saturating_mul(factor)).min(settings.device_failed)
}

/// Says what becomes of a card, if anything: the state it enters and why.
pub fn judge_device(
    settings: &Settings,
    condition: Option<&DeviceCondition>,
    epoch: NodeEpoch,
    sign: &DeviceSign,
) -> Option<(DeviceState, String)> {
    let known = condition.cloned().unwrap_or_default();
    if sign.faults > 0 && (known.epoch, known.faults) < (epoch, sign.faults) {
        return Some((DeviceState::Probation, sign.last_fault.clone()));
    }
    let is_silent = sign.silent >= settings.device_silent;
    match known.state {
        DeviceState::Healthy if is_silent => {
            Some((DeviceState::Unknown, format!("the driver has not answered for {}", sign.silent)))
        }
        DeviceState::Unknown if !is_silent && sign.passing.is_some() => {
            Some((DeviceState::Healthy, "the driver answers again".to_owned()))
        }
        DeviceState::Probation | DeviceState::Failed if !is_silent => {
            let needed = probation_of(settings, known.strikes);
            let passed = sign.passing.filter(|passing| *passing >= needed)?;
            Some((DeviceState::Healthy, format!("passed its self-test for {passed}")))
        }
        _ => None,
    }
}

// === impl CardWatch ===

impl CardWatch {
    /// Expects a card at `now`: one that was there before the agent started. Until a look finds it, its silence grows.
    pub fn expected(now: Instant) -> Self {
        Self { looked_at: Some(now), ..Self::default() }
    }

    /// Takes what a look at the card found: its count of uncorrected memory errors, if it counts them, or why it could
    /// not be looked at. Says whether this is a new fault.
    pub fn looked(&mut self, answer: Result<Option<u64>, String>, now: Instant) -> bool {
        self.looked_at = Some(now);
        match answer {
            Ok(uncorrected) => match (std::mem::replace(&mut self.uncorrected, uncorrected), uncorrected) {
                (Some(before), Some(after)) if after > before => {
                    self.fault(format!("{} new memory errors that could not be corrected", after - before))
                }
                _ => {
                    self.passing_since.get_or_insert(now);
                    false
                }
            },
            Err(why) => self.fault(why),
        }
    }

    /// Takes an XID; says whether it is a new fault of the card.
    pub fn xid(&mut self, xid: u32) -> bool {
        let class = xid_class(xid);
        if class == XidClass::Device {
            return self.fault(xid_text(xid));
        }
        self.note(match class {
            XidClass::Application => format!("{}: the program's fault, not the device's", xid_text(xid)),
            XidClass::Device | XidClass::Other => xid_text(xid),
        });
        false
    }

    /// Takes what an operator should know of it and what is no fault.
    pub fn note(&mut self, text: String) {
        self.notes += 1;
        self.last_note = text;
    }

    /// Takes the processes with memory of the card that a look could not find on the host. One that just ended is found
    /// by the next look or not named any more; one that two looks in a row miss belongs to another view of process ids,
    /// and what it holds can be counted for nobody. That is said once, until a look finds all of them again.
    pub fn unfound(&mut self, processes: BTreeSet<u32>) {
        let before = std::mem::replace(&mut self.unfound, processes);
        if self.unfound.is_empty() {
            self.is_unfound_noted = false;
        }
        let Some(process) = self.unfound.intersection(&before).next().filter(|_| !self.is_unfound_noted) else {
            return;
        };
        let text = format!(
            "process {process} holds its memory and is not in the agent's view of process ids: its share is not enforced"
        );
        self.is_unfound_noted = true;
        self.note(text);
    }

    /// Counts a fault. A broken card says so in many ways at once: until it passes again, all of them are one fault.
    fn fault(&mut self, why: String) -> bool {
        let is_new = self.passing_since.take().is_some() || self.faults == 0;
        if is_new {
            self.faults += 1;
            self.last_fault = why;
        }
        is_new
    }

    /// Returns what to say of it at `now`.
    pub fn sign(&self, card: &str, now: Instant) -> DeviceSign {
        DeviceSign {
            card: card.to_owned(),
            faults: self.faults,
            last_fault: self.last_fault.clone(),
            passing: self.passing_since.map(|since| now.since(since)),
            silent: self.looked_at.map_or(Millis(0), |at| now.since(at)),
            notes: self.notes,
            last_note: self.last_note.clone(),
        }
    }
}

// === impl DeviceCondition ===

impl DeviceCondition {
    /// Enters a state. Faults add up unless a long time without one lies between them.
    pub fn enter(
        &mut self,
        settings: &Settings,
        to: DeviceState,
        reason: &str,
        (epoch, faults): (NodeEpoch, u64),
        now: LogTime,
    ) {
        if to == DeviceState::Probation {
            let is_old = self.state == DeviceState::Healthy && now.since(self.since) >= settings.device_failed;
            self.strikes = if is_old { 1 } else { self.strikes.saturating_add(1) };
        }
        self.state = match to {
            DeviceState::Probation if u64::from(self.strikes) >= settings.device_strikes_max => DeviceState::Failed,
            other => other,
        };
        reason.clone_into(&mut self.reason);
        self.since = now;
        (self.epoch, self.faults) = (self.epoch, self.faults).max((epoch, faults));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: NodeEpoch = NodeEpoch(3);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn sign(faults: u64, passing_s: Option<u64>, silent_s: u64) -> DeviceSign {
        DeviceSign {
            card: "GPU-1".into(),
            faults,
            last_fault: "XID 79".into(),
            passing: passing_s.map(Millis::from_secs),
            silent: Millis::from_secs(silent_s),
            ..DeviceSign::default()
        }
    }

    fn condition(state: DeviceState, strikes: u32, faults: u64) -> DeviceCondition {
        DeviceCondition { state, strikes, epoch: EPOCH, faults, ..DeviceCondition::default() }
    }

    #[test]
    fn a_leader_judges_by_what_the_log_and_the_node_say() {
        use DeviceState::{Failed, Healthy, Probation, Unknown};
        for (known, said, expected, why) in [
            (None, sign(0, Some(9), 0), None, "all is well"),
            (None, sign(1, None, 0), Some(Probation), "the first fault"),
            (Some(condition(Probation, 1, 1)), sign(1, Some(59), 0), None, "not quiet for long enough"),
            (Some(condition(Probation, 1, 1)), sign(1, Some(60), 0), Some(Healthy), "quiet for a minute"),
            (Some(condition(Probation, 1, 1)), sign(1, None, 0), None, "it still fails"),
            (Some(condition(Probation, 1, 1)), sign(2, None, 0), Some(Probation), "another fault meanwhile"),
            (Some(condition(Probation, 2, 2)), sign(2, Some(239), 0), None, "the second lasts four times as long"),
            (Some(condition(Probation, 2, 2)), sign(2, Some(240), 0), Some(Healthy), "and then ends"),
            (Some(condition(Failed, 4, 4)), sign(4, Some(86_399), 0), None, "a failed one waits for a day"),
            (Some(condition(Failed, 4, 4)), sign(4, Some(86_400), 0), Some(Healthy), "and is tried again"),
            (Some(condition(Healthy, 1, 1)), sign(1, Some(1), 0), None, "an old fault is not counted twice"),
            (None, sign(0, Some(30), 9), None, "a driver may be slow"),
            (None, sign(0, Some(30), 10), Some(Unknown), "or hang"),
            (Some(condition(Unknown, 0, 0)), sign(0, Some(40), 12), None, "it still hangs"),
            (Some(condition(Unknown, 0, 0)), sign(0, Some(40), 0), Some(Healthy), "it answers again"),
            (Some(condition(Probation, 1, 1)), sign(1, Some(80), 11), None, "silence is no self-test"),
        ] {
            let judged = judge_device(&Settings::default(), known.as_ref(), EPOCH, &said);
            assert_eq!(judged.map(|(state, _)| state), expected, "{why}");
        }
    }

    #[test]
    fn an_operator_sets_how_long_a_card_stays_out() {
        let settings = Settings {
            device_probation: Millis::from_secs(10),
            device_strikes_max: 2,
            device_failed: Millis::from_secs(100),
            device_silent: Millis::from_secs(3),
            ..Settings::default()
        };
        for (strikes, seconds) in [(1, 10), (2, 100), (3, 100)] {
            assert_eq!(probation_of(&settings, strikes), Millis::from_secs(seconds), "{strikes}");
        }
        let judged = judge_device(&settings, None, EPOCH, &sign(0, Some(30), 3));
        assert_eq!(judged.map(|(state, _)| state), Some(DeviceState::Unknown));
        let mut known = DeviceCondition::default();
        for fault in 1..=2 {
            known.enter(&settings, DeviceState::Probation, "XID 79", (EPOCH, fault), LogTime::from_millis(fault));
        }
        assert_eq!(known.state, DeviceState::Failed);
    }

    #[test]
    fn a_restarted_agent_begins_to_count_anew() {
        let known = condition(DeviceState::Probation, 1, 5);
        let again = judge_device(&Settings::default(), Some(&known), NodeEpoch(EPOCH.0 + 1), &sign(1, None, 0));
        assert_eq!(again.map(|(state, _)| state), Some(DeviceState::Probation));
        assert_eq!(judge_device(&Settings::default(), Some(&known), EPOCH, &sign(1, None, 0)), None);
    }

    #[test]
    fn a_card_that_is_expected_is_silent_until_it_is_seen() {
        let mut watch = CardWatch::expected(at(2));
        let unseen = watch.sign("G", at(13));
        assert_eq!((unseen.faults, unseen.passing, unseen.silent), (0, None, Millis(11_000)));
        let judged = judge_device(&Settings::default(), None, EPOCH, &unseen);
        assert_eq!(judged.map(|(state, _)| state), Some(DeviceState::Unknown), "no new work, and what runs stays");
        assert!(!watch.looked(Ok(Some(0)), at(14)));
        let known = condition(DeviceState::Unknown, 0, 0);
        let judged = judge_device(&Settings::default(), Some(&known), EPOCH, &watch.sign("G", at(15)));
        assert_eq!(judged.map(|(state, _)| state), Some(DeviceState::Healthy));
    }

    #[test]
    fn faults_in_a_row_add_up_and_a_quiet_day_forgives() {
        let (settings, mut known) = (Settings::default(), DeviceCondition::default());
        let mut now = LogTime::from_millis(1_000);
        let mut states = Vec::new();
        for fault in 1..=4 {
            known.enter(&settings, DeviceState::Probation, "XID 79", (EPOCH, fault), now);
            states.push((known.state, known.strikes));
            now = now + Millis::from_secs(3_600);
            known.enter(&settings, DeviceState::Healthy, "passed", (EPOCH, fault), now);
        }
        use DeviceState::{Failed, Probation};
        assert_eq!(states, [(Probation, 1), (Probation, 2), (Probation, 3), (Failed, 4)]);
        known.enter(&settings, Probation, "XID 79", (EPOCH, 5), now + settings.device_failed);
        assert_eq!((known.state, known.strikes, known.faults), (Probation, 1, 5));
    }

    #[test]
    fn a_card_passes_from_the_first_good_look_after_its_last_fault() {
        let mut watch = CardWatch::default();
        assert!(!watch.looked(Ok(Some(0)), at(1)));
        assert_eq!(watch.sign("G", at(5)).passing, Some(Millis(4_000)));
        assert!(!watch.xid(13) && !watch.xid(9_999), "no fault of the card");
        let sign = watch.sign("G", at(5));
        assert_eq!((sign.faults, sign.notes, sign.passing), (0, 2, Some(Millis(4_000))));
        assert!(watch.xid(79));
        assert_eq!((watch.sign("G", at(6)).passing, watch.sign("G", at(6)).faults), (None, 1));
        assert!(!watch.looked(Err("GPU is lost".into()), at(7)), "one fault shows itself in many ways");
        assert!(!watch.looked(Ok(Some(0)), at(9)));
        let sign = watch.sign("G", at(12));
        assert_eq!((sign.faults, sign.passing, sign.silent), (1, Some(Millis(3_000)), Millis(3_000)));
        assert!(watch.looked(Err("GPU is lost".into()), at(13)), "it passed in between");
        assert!(!watch.looked(Ok(Some(0)), at(14)));
        assert!(watch.looked(Ok(Some(2)), at(15)), "errors that could not be corrected");
        assert_eq!(watch.sign("G", at(13)).last_fault, "2 new memory errors that could not be corrected");
    }

    #[test]
    fn a_process_that_two_looks_miss_is_said_once() {
        let mut watch = CardWatch::default();
        let mut notes = |missed: &[u32]| {
            watch.unfound(missed.iter().copied().collect());
            watch.sign("G", at(1)).notes
        };
        for (missed, noted, why) in [
            (&[7][..], 0, "it may just have ended"),
            (&[8], 0, "another one"),
            (&[8, 9], 1, "missed twice"),
            (&[8, 9], 1, "said once"),
            (&[9], 1, "not for each of them"),
            (&[], 1, "all found"),
            (&[9], 1, "once again"),
            (&[9], 2, "missed twice again"),
        ] {
            assert_eq!(notes(missed), noted, "{why}");
        }
        assert!(watch.sign("G", at(1)).last_note.contains("process 9 "));
    }
}
