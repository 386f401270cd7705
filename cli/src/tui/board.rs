//! What the screens show: the cluster as last read, and how a few figures moved since.

use std::collections::{BTreeMap, VecDeque};

use berth_client::api::{ClusterInfo, Deployment, Endpoint, Event, Member, Node, Replica};

/// Events that are kept: more than any screen shows, few enough to filter between two key strokes.
pub(crate) const EVENTS_MAX: usize = 2_000;

/// Points of a line of history: one a second, two minutes.
const POINTS_MAX: usize = 120;

/// The cluster as it was read, one look at everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) info: ClusterInfo,
    pub(crate) members: Vec<Member>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) nodes: Vec<Node>,
    /// Newest last, at most [`EVENTS_MAX`].
    pub(crate) events: VecDeque<Event>,
}

/// How the load of each endpoint moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    in_flight: BTreeMap<String, VecDeque<u64>>,
    events_seen: Option<u64>,
    events: VecDeque<u64>,
}

// === impl Board ===

impl Board {
    pub(crate) fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }

    pub(crate) fn deployment(&self, endpoint: &str, name: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.endpoint == endpoint && deployment.name == name)
    }

    pub(crate) fn deployments_of<'a>(&'a self, endpoint: &'a str) -> impl Iterator<Item = &'a Deployment> {
        self.deployments.iter().filter(move |deployment| deployment.endpoint == endpoint)
    }

    pub(crate) fn replicas_of<'a>(&'a self, deployment: &'a Deployment) -> impl Iterator<Item = &'a Replica> {
        let of =
            move |replica: &&Replica| replica.endpoint == deployment.endpoint && replica.deployment == deployment.name;
        self.replicas.iter().filter(of)
    }

    /// Counts the requests that the replicas of each endpoint work on.
    pub(crate) fn in_flight(&self) -> BTreeMap<&str, u64> {
        let mut sums: BTreeMap<&str, u64> = self.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), 0)).collect();
        for replica in &self.replicas {
            *sums.entry(&replica.endpoint).or_default() += replica.in_flight;
        }
        sums
    }

    /// Counts the ready nodes.
    pub(crate) fn nodes_ready(&self) -> usize {
        self.nodes.iter().filter(|node| node.state == "ready").count()
    }
}

// === impl History ===

impl History {
    /// Takes a point of every line.
    pub(crate) fn note(&mut self, board: &Board) {
        let now = board.in_flight();
        self.in_flight.retain(|name, _| now.contains_key(name.as_str()));
        for (name, count) in now {
            push(self.in_flight.entry(name.to_owned()).or_default(), count);
        }
        let newest = board.events.back().map_or(0, |event| event.seq);
        let before = self.events_seen.replace(newest).unwrap_or(newest);
        push(&mut self.events, newest.saturating_sub(before));
    }

    /// Returns the requests in flight at an endpoint, oldest first.
    pub(crate) fn in_flight(&self, endpoint: &str) -> Vec<u64> {
        self.in_flight.get(endpoint).into_iter().flatten().copied().collect()
    }

    /// Returns the events between two looks, oldest first.
    pub(crate) fn events(&self) -> Vec<u64> {
        self.events.iter().copied().collect()
    }
}

fn push(line: &mut VecDeque<u64>, point: u64) {
    if line.len() == POINTS_MAX {
        line.pop_front();
    }
    line.push_back(point);
}
