//! What the screens show: the cluster as it was last told, and how figures moved.
//!
//! The coordinators tell the whole first and then what changed ([`Board::take`]); the board is the sum. Everything is
//! shared (`Arc`) and sorted as it is listed, so that a list of ten thousand replicas is ten thousand pointers.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use berth_client::api::{
    BoardUpdate, CardLoad, CardPoint, ClusterInfo, Deployment, DeploymentLoad, Endpoint, Event, LoadPoint, Member,
    Node, Replica, Slot,
};
use berth_client::store::Resources;

/// Events that are kept: more than any screen shows, few enough to filter between two key strokes.
pub(crate) const EVENTS_MAX: usize = 2_000;

/// Points of a load that are kept: two minutes of two seconds.
const POINTS_MAX: usize = 60;

/// The cluster as it was last told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) info: ClusterInfo,
    pub(crate) members: Vec<Member>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) deployments: Vec<Arc<Deployment>>,
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) nodes: Vec<Arc<Node>>,
    /// Newest last, at most [`EVENTS_MAX`].
    pub(crate) events: VecDeque<Arc<Event>>,
    /// The state that was looked at.
    pub(crate) index: u64,
    /// Counts up whenever something a list shows is another thing than before.
    pub(crate) revision: u64,
    loads: BTreeMap<(String, String), VecDeque<LoadPoint>>,
    cards: BTreeMap<(String, String), VecDeque<CardPoint>>,
    newest_point: u64,
    point_ms: u32,
    /// Parts of a look whose last has not come yet.
    parts: Vec<BoardUpdate>,
    in_flight: BTreeMap<String, u64>,
    held_in_reserve: BTreeMap<String, Resources>,
    cards_in_reserve_mib: BTreeMap<String, u64>,
}

/// What was answered within a point's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) p50_us: u64,
    pub(crate) p95_us: u64,
}

// === impl Answered ===

impl Answered {
    /// Adds what others answered at the same time: requests add up, the slowest latency stands for all.
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.p50_us = self.p50_us.max(other.p50_us);
        self.p95_us = self.p95_us.max(other.p95_us);
    }

    /// Returns how long nearly all took; where nothing was answered, nobody knows.
    pub(crate) fn p95(&self) -> Option<u64> {
        (self.requests > 0).then_some(self.p95_us)
    }
}

impl From<&LoadPoint> for Answered {
    fn from(point: &LoadPoint) -> Self {
        Self { requests: point.requests, failed: point.failed, p50_us: point.p50_us, p95_us: point.p95_us }
    }
}

// === impl Board ===

impl Board {
    /// Takes a part of a look and returns whether that was its last: then the board shows it.
    pub(crate) fn take(&mut self, update: BoardUpdate) -> bool {
        if update.whole {
            // A look that broke off half way.
            self.parts.clear();
        }
        let more = update.more;
        self.parts.push(update);
        if more {
            return false;
        }
        let parts = std::mem::take(&mut self.parts);
        if parts.iter().any(|part| part.whole) {
            *self = Self { events: std::mem::take(&mut self.events), revision: self.revision + 1, ..Self::default() };
        }
        for part in parts {
            self.merge(part);
        }
        true
    }

    fn merge(&mut self, part: BoardUpdate) {
        self.index = part.index;
        (self.newest_point, self.point_ms) = (part.newest_point, part.point_ms);
        let lists = part.endpoints.len()
            + part.deployments.len()
            + part.replicas.len()
            + part.slots.len()
            + part.nodes.len()
            + part.gone.len();
        if lists > 0 || part.members.is_some() {
            self.revision += 1;
        }
        if let Some(info) = part.info {
            self.info = info;
        }
        if let Some(members) = part.members {
            self.members = members.members;
        }
        let moved = (!part.replicas.is_empty(), !part.slots.is_empty());
        // What is gone first: a name may have come back within one look.
        let mut gone: [HashSet<String>; 5] = Default::default();
        for it in part.gone {
            let (of, name) = match (it.replica, it.slot, it.node, it.deployment) {
                (name, ..) if !name.is_empty() => (0, name),
                (_, name, ..) if !name.is_empty() => (1, name),
                (_, _, name, _) if !name.is_empty() => (2, name),
                (_, _, _, name) if !name.is_empty() => (3, format!("{}/{name}", it.endpoint)),
                _ => (4, it.endpoint),
            };
            gone[of].insert(name);
        }
        let [replicas, slots, nodes, deployments, endpoints] = gone;
        let is_moved = moved.0 || moved.1 || !replicas.is_empty() || !slots.is_empty();
        if !replicas.is_empty() {
            self.replicas.retain(|it| !replicas.contains(&it.replica));
        }
        if !slots.is_empty() {
            self.slots.retain(|it| !slots.contains(&it.slot));
        }
        if !nodes.is_empty() {
            self.nodes.retain(|it| !nodes.contains(&it.node));
        }
        if !deployments.is_empty() {
            self.deployments.retain(|it| !deployments.contains(&format!("{}/{}", it.endpoint, it.name)));
        }
        if !endpoints.is_empty() {
            self.endpoints.retain(|it| !endpoints.contains(&it.name));
        }
        put(&mut self.endpoints, part.endpoints, |a, b| a.name.cmp(&b.name));
        put(&mut self.deployments, part.deployments, |a, b| (&a.endpoint, &a.name).cmp(&(&b.endpoint, &b.name)));
        put(&mut self.replicas, part.replicas, |a, b| {
            (&a.endpoint, &a.deployment, a.placed_at_ms, &a.replica).cmp(&(
                &b.endpoint,
                &b.deployment,
                b.placed_at_ms,
                &b.replica,
            ))
        });
        put(&mut self.slots, part.slots, |a, b| {
            (&a.endpoint, &a.deployment, &a.slot).cmp(&(&b.endpoint, &b.deployment, &b.slot))
        });
        put(&mut self.nodes, part.nodes, |a, b| super::list::natural(&a.node, &b.node));
        for load in part.loads {
            self.take_load(load);
        }
        let oldest = self.newest_point.saturating_sub(POINTS_MAX as u64);
        self.loads.retain(|_, points| points.back().is_some_and(|point| point.number > oldest));
        for card in part.cards {
            self.take_card(card);
        }
        self.cards.retain(|_, points| points.back().is_some_and(|point| point.number > oldest));
        if is_moved {
            self.sum_up();
        }
    }

    fn take_card(&mut self, card: CardLoad) {
        let points = self.cards.entry((card.node, card.uuid)).or_default();
        for point in card.points {
            if points.back().is_none_or(|last| last.number < point.number) {
                points.push_back(point);
            }
        }
        while points.len() > POINTS_MAX {
            points.pop_front();
        }
    }

    fn take_load(&mut self, load: DeploymentLoad) {
        let points = self.loads.entry((load.endpoint, load.deployment)).or_default();
        for point in load.points {
            // The newest one grows: what was told of it before no longer counts.
            while points.back().is_some_and(|last| last.number >= point.number) {
                points.pop_back();
            }
            points.push_back(point);
        }
        while points.len() > POINTS_MAX {
            points.pop_front();
        }
    }

    fn sum_up(&mut self) {
        self.in_flight.clear();
        for replica in self.replicas.iter().filter(|replica| replica.in_flight > 0) {
            *self.in_flight.entry(replica.endpoint.clone()).or_default() += replica.in_flight;
        }
        self.held_in_reserve.clear();
        self.cards_in_reserve_mib.clear();
        // A grant without an amount is all of its device.
        let devices = self.nodes.iter().flat_map(|node| node.devices.iter().map(move |device| (&node.node, device)));
        let whole: BTreeMap<_, _> =
            devices.map(|(node, device)| ((node.as_str(), device.uuid.as_str()), device.memory_mib)).collect();
        for slot in &self.slots {
            let held = self.held_in_reserve.entry(slot.node.clone()).or_default();
            let one = slot.resources.unwrap_or_default();
            held.cpu_milli += one.cpu_milli;
            held.memory_mib += one.memory_mib;
            held.gpus += one.gpus;
            let mib = slot.devices.iter().map(|grant| {
                let all = whole.get(&(slot.node.as_str(), grant.uuid.as_str()));
                grant.memory_mib.or(all.copied()).unwrap_or(0)
            });
            *self.cards_in_reserve_mib.entry(slot.node.clone()).or_default() += mib.sum::<u64>();
        }
    }

    /// Takes events, oldest first. What was seen before is dropped, what is missing between is said; a stream that
    /// began `anew` and knows other events under the same numbers is another history, which replaces this one.
    pub(crate) fn take_events(&mut self, events: Vec<Event>, anew: bool) {
        if anew && events.first().is_some_and(|first| self.is_other_history(first)) {
            self.events.clear();
        }
        for event in events {
            let newest = self.events.back().map(|newest| newest.seq);
            if newest.is_some_and(|newest| event.seq <= newest) {
                continue;
            }
            let missing = newest.map_or(0, |newest| event.seq - newest - 1);
            if missing > 0 {
                self.push_event(Event {
                    seq: event.seq - 1,
                    at_ms: event.at_ms,
                    severity: "warning".to_owned(),
                    kind: "screen.gap".to_owned(),
                    text: format!("{} passed while this screen could not read them", Passed(missing)),
                    ..Event::default()
                });
            }
            self.push_event(event);
        }
        self.revision += 1;
    }

    fn is_other_history(&self, first: &Event) -> bool {
        let same = self.events.iter().find(|kept| kept.seq == first.seq);
        let newest = self.events.back().map_or(0, |newest| newest.seq);
        match same {
            Some(same) => same.at_ms != first.at_ms,
            None => first.seq <= newest && self.events.front().is_some_and(|oldest| oldest.seq <= first.seq),
        }
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Arc::new(event));
    }

    pub(crate) fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        let at = self.endpoints.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
        self.endpoints.get(at)
    }

    pub(crate) fn deployment(&self, endpoint: &str, name: &str) -> Option<&Arc<Deployment>> {
        let key = |it: &Arc<Deployment>| (it.endpoint.as_str(), it.name.as_str()).cmp(&(endpoint, name));
        self.deployments.get(self.deployments.binary_search_by(key).ok()?)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|it| it.node == name)
    }

    pub(crate) fn deployments_of(&self, endpoint: &str) -> &[Arc<Deployment>] {
        within(&self.deployments, |it| it.endpoint.as_str().cmp(endpoint))
    }

    pub(crate) fn replicas_of(&self, endpoint: &str, deployment: &str) -> &[Arc<Replica>] {
        within(&self.replicas, |it| (it.endpoint.as_str(), it.deployment.as_str()).cmp(&(endpoint, deployment)))
    }

    /// Counts the requests that the replicas of an endpoint work on.
    pub(crate) fn in_flight(&self, endpoint: &str) -> u64 {
        self.in_flight.get(endpoint).copied().unwrap_or(0)
    }

    /// Returns what reserve slots hold on a node.
    pub(crate) fn reserve_on(&self, node: &str) -> Resources {
        self.held_in_reserve.get(node).copied().unwrap_or_default()
    }

    /// Returns how much memory of a node's cards reserve slots hold, in MiB.
    pub(crate) fn cards_in_reserve_on(&self, node: &str) -> u64 {
        self.cards_in_reserve_mib.get(node).copied().unwrap_or(0)
    }

    /// Names the alerts that fire: `fraud error-rate`.
    pub(crate) fn firing(&self) -> Vec<String> {
        let rules = self.endpoints.iter().flat_map(|it| it.firing.iter().map(|rule| format!("{} {rule}", it.name)));
        rules.collect()
    }

    /// Counts the ready nodes.
    pub(crate) fn nodes_ready(&self) -> usize {
        self.nodes.iter().filter(|node| node.state == "ready").count()
    }

    /// Returns what an endpoint, or one of its deployments, answered: a point of time each, oldest first. The newest,
    /// which still grows, is left out. Latencies of an endpoint are those of its slowest deployment.
    pub(crate) fn answered(&self, endpoint: &str, deployment: Option<&str>) -> Vec<Answered> {
        let mut sums = vec![Answered::default(); POINTS_MAX];
        // Of point `oldest + 1` to the one before the newest.
        let oldest = self.newest_point.saturating_sub(POINTS_MAX as u64 + 1);
        let from = (endpoint.to_owned(), String::new());
        let own = self.loads.range(from..).take_while(|((of, _), _)| of == endpoint);
        for ((_, name), points) in own {
            if deployment.is_some_and(|deployment| deployment != name) {
                continue;
            }
            for point in points {
                let at = point.number.checked_sub(oldest + 1).and_then(|at| usize::try_from(at).ok());
                let Some(sum) = at.and_then(|at| sums.get_mut(at)) else { continue };
                sum.add(point.into());
            }
        }
        sums
    }

    /// Returns how a card did, oldest first, since it was first heard of: a point of time each, and nothing for a time in
    /// which nothing was measured.
    pub(crate) fn card(&self, node: &str, uuid: &str) -> Vec<CardPoint> {
        let Some(points) = self.cards.get(&(node.to_owned(), uuid.to_owned())) else { return Vec::new() };
        let Some(first) = points.front() else { return Vec::new() };
        let from = first.number.max(self.newest_point.saturating_sub(POINTS_MAX as u64));
        let mut line: Vec<_> =
            (from..self.newest_point).map(|number| CardPoint { number, ..CardPoint::default() }).collect();
        for point in points {
            let at = point.number.checked_sub(from).and_then(|at| usize::try_from(at).ok());
            if let Some(place) = at.and_then(|at| line.get_mut(at)) {
                *place = *point;
            }
        }
        line
    }

    /// Returns the number of the newest point, which moves every two seconds while anybody leads.
    pub(crate) fn newest_point(&self) -> u64 {
        self.newest_point
    }

    /// Returns how many seconds a point stands for.
    pub(crate) fn point_seconds(&self) -> f64 {
        f64::from(self.point_ms.max(1)) / 1e3
    }
}

/// Puts what is new or changed where it belongs.
fn put<T>(list: &mut Vec<Arc<T>>, changed: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) {
    // Many at once, as in a whole: sorted together instead of one by one.
    if list.is_empty() {
        list.extend(changed.into_iter().map(Arc::new));
        list.sort_by(|a, b| order(a, b));
        return;
    }
    for it in changed {
        match list.binary_search_by(|known| order(known, &it)) {
            Ok(at) => list[at] = Arc::new(it),
            Err(at) => list.insert(at, Arc::new(it)),
        }
    }
}

/// Returns the part of a sorted list that compares as equal.
fn within<T>(list: &[T], order: impl Fn(&T) -> std::cmp::Ordering) -> &[T] {
    let begin = list.partition_point(|it| order(it).is_lt());
    let end = list.partition_point(|it| order(it).is_le());
    &list[begin..end]
}

/// Writes how many events passed.
struct Passed(u64);

impl std::fmt::Display for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        berth_core::units::Count(self.0, "event").fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use berth_client::api::Gone;

    use super::*;

    fn node(name: &str, replicas: u64) -> Node {
        Node { node: name.into(), replicas, ..Node::default() }
    }

    fn names(board: &Board) -> Vec<(&str, u64)> {
        board.nodes.iter().map(|it| (it.node.as_str(), it.replicas)).collect()
    }

    #[test]
    fn updates_add_up_and_a_whole_begins_anew() {
        let mut board = Board::default();
        let whole = BoardUpdate { whole: true, nodes: vec![node("n10", 1), node("n9", 1)], ..Default::default() };
        assert!(board.take(whole));
        assert_eq!(names(&board), [("n9", 1), ("n10", 1)], "as people count");
        let gone = Gone { node: "n9".into(), ..Gone::default() };
        assert!(board.take(BoardUpdate { nodes: vec![node("n10", 2)], gone: vec![gone], ..Default::default() }));
        assert_eq!(names(&board), [("n10", 2)]);
        let revision = board.revision;
        assert!(board.take(BoardUpdate::default()));
        assert_eq!(board.revision, revision, "a pulse without news lays nothing out again");
        assert!(board.take(BoardUpdate { whole: true, nodes: vec![node("n1", 0)], ..Default::default() }));
        assert_eq!(names(&board), [("n1", 0)], "what is not in the whole is gone");
    }

    #[test]
    fn a_look_in_parts_shows_at_its_end_and_one_that_broke_never() {
        let mut board = Board::default();
        let part =
            |name: &str, whole, more| BoardUpdate { whole, more, nodes: vec![node(name, 0)], ..Default::default() };
        assert!(!board.take(part("a", true, true)));
        assert_eq!(names(&board), []);
        assert!(!board.take(part("b", true, true)), "another stream, which began anew");
        assert!(board.take(part("c", false, false)));
        assert_eq!(names(&board), [("b", 0), ("c", 0)]);
    }

    #[test]
    fn points_that_grow_are_not_counted_twice() {
        let mut board = Board::default();
        let load = |deployment: &str, points: &[(u64, u64, u64)]| DeploymentLoad {
            endpoint: "fraud".into(),
            deployment: deployment.into(),
            points: points
                .iter()
                .map(|(number, requests, p95_us)| LoadPoint {
                    number: *number,
                    requests: *requests,
                    p95_us: *p95_us,
                    ..Default::default()
                })
                .collect(),
        };
        let update = |newest_point, loads| BoardUpdate { newest_point, point_ms: 2_000, loads, ..Default::default() };
        board.take(update(100, vec![load("blue", &[(99, 5, 10), (100, 1, 10)]), load("green", &[(99, 1, 40)])]));
        board.take(update(101, vec![load("blue", &[(100, 7, 20), (101, 1, 10)])]));
        let all = board.answered("fraud", None);
        let tail: Vec<_> = all[POINTS_MAX - 2..].iter().map(|point| (point.requests, point.p95_us)).collect();
        assert_eq!(tail, [(6, 40), (7, 20)], "the newest point still grows and is left out");
        assert_eq!(board.answered("fraud", Some("green"))[POINTS_MAX - 2].requests, 1);
        assert_eq!(board.answered("other", None).iter().map(|point| point.requests).sum::<u64>(), 0);
    }

    #[test]
    fn events_say_what_is_missing_and_another_history_replaces_this_one() {
        let event = |seq, at_ms| Event { seq, at_ms, ..Event::default() };
        let seqs = |board: &Board| board.events.iter().map(|event| event.seq).collect::<Vec<_>>();
        let mut board = Board::default();
        board.take_events(vec![event(5, 1), event(6, 2)], true);
        board.take_events(vec![event(5, 1), event(6, 2), event(7, 3)], true);
        assert_eq!(seqs(&board), [5, 6, 7], "a stream that begins anew repeats");
        board.take_events(vec![event(10, 9)], true);
        assert_eq!(seqs(&board), [5, 6, 7, 9, 10]);
        assert_eq!(board.events[3].text, "2 events passed while this screen could not read them");
        board.take_events(vec![event(6, 90)], true);
        assert_eq!(seqs(&board), [6], "a cluster that was made anew");
    }
}
