//! Prefetching: what the node of a reserve slot gets ready before anybody needs it.
//!
//! A slot is there for the hour in which a replica is missing. If its node first had to fetch some gigabytes of model and
//! build an environment, the reserve would be capacity and not time. So a node that holds a slot holds what an instance
//! needs as well: it fetches it in the background, never while a replica of its own waits for the same disk and line.

use std::{collections::BTreeMap, sync::Arc};

use super::{Effect, Fault, life::Cx};
use crate::{
    id::Generation,
    model::{DeploymentKey, DeploymentSpec},
    time::{Instant, Millis},
};

/// Prefetches at once. They share one line; more at once would only end later together.
const AT_ONCE_MAX: usize = 2;
/// Doublings after which the longest wait is surely reached; keeps the shift in range.
const MAX_DOUBLINGS: u32 = 16;

/// What a node shall have ready for the slots it holds of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefetchOrder {
    /// The deployment.
    pub key: DeploymentKey,
    /// The generation of `spec`.
    pub generation: Generation,
    /// What an instance would run.
    pub spec: DeploymentSpec,
}

/// How far a prefetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrefetchState {
    /// Others come first, or a failed one waits for its next try.
    Waiting,
    /// It is being fetched or built.
    Fetching,
    /// An instance would find everything here.
    Cached,
}

/// How far the prefetch for a deployment is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefetchReport {
    /// The deployment.
    pub key: DeploymentKey,
    /// The generation that is prefetched.
    pub generation: Generation,
    /// How far it is.
    pub state: PrefetchState,
    /// Why it is not further, where that needs saying.
    pub reason: String,
}

/// Every prefetch of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefetches {
    by_key: BTreeMap<DeploymentKey, Item>,
    said: Vec<PrefetchReport>,
}

#[derive(Clone, Debug)]
struct Item {
    order: Arc<PrefetchOrder>,
    stage: Stage,
    failures: u32,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may begin as soon as there is room.
    Due,
    /// A failed one rests.
    Resting {
        until: Instant,
    },
    Working,
    Cached,
}

// === impl PrefetchState ===

impl PrefetchState {
    /// Returns the word people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Cached => "cached",
        }
    }
}

// === impl Prefetches ===

impl Prefetches {
    /// Takes the full set of what is to be had. What is no longer wanted stops; what is there already stays so.
    pub(super) fn obey(&mut self, orders: BTreeMap<DeploymentKey, Arc<PrefetchOrder>>, out: &mut Vec<Effect>) {
        let is_same = |item: &Item| orders.get(&item.order.key).is_some_and(|order| *order == item.order);
        self.by_key.retain(|key, item| {
            let stays = is_same(item);
            if !stays && item.stage == Stage::Working {
                out.push(Effect::CancelPrefetch { key: key.clone() });
            }
            stays
        });
        for (key, order) in orders {
            let item = Item { order, stage: Stage::Due, failures: 0, reason: String::new() };
            self.by_key.entry(key).or_insert(item);
        }
    }

    /// Takes what came of one.
    pub(super) fn done(
        &mut self,
        key: &DeploymentKey,
        generation: Generation,
        answer: Result<(), Fault>,
        cx: &mut Cx<'_>,
    ) {
        let of_now = |item: &&mut Item| item.order.generation == generation && item.stage == Stage::Working;
        let Some(item) = self.by_key.get_mut(key).filter(of_now) else { return };
        match answer {
            Ok(()) => {
                item.stage = Stage::Cached;
                item.reason.clear();
            }
            Err(fault) => {
                let wait = cx.timing.restart_backoff.0 << item.failures.min(MAX_DOUBLINGS);
                let wait = Millis(wait.min(cx.timing.restart_backoff_max.0));
                item.failures = item.failures.saturating_add(1);
                item.stage = Stage::Resting { until: cx.now + wait };
                let first = fault.reason.lines().next().unwrap_or_default();
                item.reason = format!("{first}; tried again in {wait}");
            }
        }
    }

    /// Begins what is due, unless replicas of this node wait for theirs, and says what is new.
    pub(super) fn work(&mut self, replicas_prepare: bool, now: Instant, out: &mut Vec<Effect>) {
        let mut at_once = self.by_key.values().filter(|item| item.stage == Stage::Working).count();
        for item in self.by_key.values_mut() {
            if matches!(item.stage, Stage::Resting { until } if until <= now) {
                item.stage = Stage::Due;
            }
            if item.stage == Stage::Due && at_once < AT_ONCE_MAX && !replicas_prepare {
                at_once += 1;
                item.stage = Stage::Working;
                item.reason.clear();
                out.push(Effect::Prefetch { order: Arc::clone(&item.order) });
            }
        }
        let reports: Vec<_> = self.by_key.values().map(Item::report).collect();
        if reports != self.said {
            self.said.clone_from(&reports);
            out.push(Effect::ReportPrefetches(reports));
        }
    }

    /// Returns whether an instance of this generation finds everything here.
    pub(super) fn has(&self, key: &DeploymentKey, generation: Generation) -> bool {
        let item = self.by_key.get(key);
        item.is_some_and(|item| item.order.generation == generation && item.stage == Stage::Cached)
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        let rests = |item: &Item| match item.stage {
            Stage::Resting { until } => Some(until),
            _ => None,
        };
        self.by_key.values().filter_map(rests).min()
    }

    /// Lists what is wanted, for the ledger.
    pub(super) fn orders(&self) -> Vec<Arc<PrefetchOrder>> {
        self.by_key.values().map(|item| Arc::clone(&item.order)).collect()
    }
}

// === impl Item ===

impl Item {
    fn report(&self) -> PrefetchReport {
        PrefetchReport {
            key: self.order.key.clone(),
            generation: self.order.generation,
            state: match self.stage {
                Stage::Due | Stage::Resting { .. } => PrefetchState::Waiting,
                Stage::Working => PrefetchState::Fetching,
                Stage::Cached => PrefetchState::Cached,
            },
            reason: self.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::{Remedy, Timing},
        model::Runtime,
    };

    fn order(name: &str, generation: u64) -> Arc<PrefetchOrder> {
        let spec = DeploymentSpec::new(Runtime::Onnx);
        Arc::new(PrefetchOrder { key: name.parse().unwrap(), generation: Generation(generation), spec })
    }

    /// Tells orders, and lets what is due begin.
    fn told(prefetches: &mut Prefetches, orders: &[Arc<PrefetchOrder>], busy: bool) -> Vec<String> {
        let mut out = Vec::new();
        prefetches.obey(orders.iter().map(|order| (order.key.clone(), Arc::clone(order))).collect(), &mut out);
        prefetches.work(busy, Instant::from_millis(0), &mut out);
        shown(out)
    }

    fn done(prefetches: &mut Prefetches, of: &PrefetchOrder, answer: Result<(), Fault>, now_ms: u64) -> Vec<String> {
        let (mut out, now) = (Vec::new(), Instant::from_millis(now_ms));
        let mut cx = Cx { timing: &Timing::default(), now, out: &mut out };
        prefetches.done(&of.key, of.generation, answer, &mut cx);
        prefetches.work(false, now, &mut out);
        shown(out)
    }

    fn shown(out: Vec<Effect>) -> Vec<String> {
        let show = |effect| match effect {
            Effect::Prefetch { order } => format!("prefetch {}@{}", order.key, order.generation),
            Effect::CancelPrefetch { key } => format!("cancel {key}"),
            Effect::ReportPrefetches(reports) => {
                let one = |report: &PrefetchReport| format!("{} {}", report.key, report.state.word());
                reports.iter().map(one).collect::<Vec<_>>().join(", ")
            }
            other => format!("{other:?}"),
        };
        out.into_iter().map(show).collect()
    }

    #[test]
    fn few_at_once_and_none_while_a_replica_waits_for_the_same_line() {
        let mut all = Prefetches::default();
        let orders = [order("one/blue", 1), order("two/blue", 1), order("zoo/blue", 1)];
        assert_eq!(told(&mut all, &orders, true), ["one/blue waiting, two/blue waiting, zoo/blue waiting"]);
        assert_eq!(
            told(&mut all, &orders, false),
            ["prefetch one/blue@1", "prefetch two/blue@1", "one/blue fetching, two/blue fetching, zoo/blue waiting"]
        );
        assert_eq!(told(&mut all, &orders, false), [""; 0], "the same orders again change nothing");
        assert_eq!(
            done(&mut all, &orders[0], Ok(()), 0),
            ["prefetch zoo/blue@1", "one/blue cached, two/blue fetching, zoo/blue fetching"]
        );
    }

    #[test]
    fn a_new_generation_replaces_the_old_and_what_is_not_wanted_stops() {
        let mut all = Prefetches::default();
        told(&mut all, &[order("one/blue", 1), order("two/blue", 1)], false);
        assert_eq!(
            told(&mut all, &[order("one/blue", 2)], false),
            ["cancel one/blue", "cancel two/blue", "prefetch one/blue@2", "one/blue fetching"]
        );
        assert_eq!(done(&mut all, &order("one/blue", 1), Ok(()), 0), [""; 0], "an answer to what was cancelled");
        assert_eq!(done(&mut all, &order("one/blue", 2), Ok(()), 0), ["one/blue cached"]);
    }

    #[test]
    fn what_fails_rests_longer_each_time_and_says_why() {
        let (mut all, wanted) = (Prefetches::default(), order("one/blue", 1));
        told(&mut all, &[Arc::clone(&wanted)], false);
        let fault = || Err(Fault { remedy: Remedy::Wait, reason: "no coordinator answers\nmore".into() });
        assert_eq!(done(&mut all, &wanted, fault(), 0), ["one/blue waiting"]);
        let first = all.wake_at().expect("it is tried again");
        assert!(all.said[0].reason.starts_with("no coordinator answers; tried again in "), "{}", all.said[0].reason);
        let mut out = Vec::new();
        all.work(false, first, &mut out);
        assert_eq!(shown(out), ["prefetch one/blue@1", "one/blue fetching"]);
        done(&mut all, &wanted, fault(), first.millis());
        let second = all.wake_at().expect("again");
        assert_eq!(second.millis() - first.millis(), 2 * first.millis());
    }
}
