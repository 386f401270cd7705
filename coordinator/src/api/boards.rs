//! The board: everything a screen shows, the whole first and then what changed.
//!
//! Whoever follows it is told what differs from what they were told before, whatever led from one to the other: a slow
//! reader misses steps on the way, never the outcome. The leader answers, because loads and usage are its own; another
//! member hands the stream through. A leadership that ends, ends the stream, and the next one begins with the whole.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use berth_core::{
    error::{Code, Error},
    id::NodeId,
    model::{Node as NodeRecord, Replica, ReserveSlot},
    time::LogTime,
};
use berth_proto::{
    api::{
        deployment_message, endpoint_message, replica_message,
        v1::{
            self, BoardUpdate, CardPoint, ClusterInfo, FollowBoardRequest, Gone, ListMembersResponse,
            boards_client::BoardsClient, boards_server::Boards,
        },
    },
    status::{from_status, to_status},
};
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, answer},
    deployments::Answers,
    forward::{Leader, handed_on},
    replicas::shown_slot,
};
use crate::{
    clock::wall,
    controller::{Lead, Loads, NodeUse, POINT_MS},
};

/// How often what no log entry tells is looked at: loads, usage, cards.
const PULSE: Duration = Duration::from_secs(1);

/// The least time between two looks: well below what a person sees as a delay, and the screen adds its own.
const PACE: Duration = Duration::from_millis(20);

/// A look that took long is followed by a pause this many times as long, so that followers of a large fleet cost a part
/// of one core at most.
const REST: u32 = 4;

/// Objects in one message.
const TOGETHER_MAX: usize = 512;

/// Messages on their way to one follower: beyond that, looks wait for it.
const ON_THE_WAY: usize = 4;

/// How long the controller may take to say what a drain waits for.
const WAITS: Duration = Duration::from_millis(500);

#[tonic::async_trait]
impl Boards for Api {
    type FollowStream = Answers<BoardUpdate>;

    async fn follow(&self, request: Request<FollowBoardRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Boards/Follow", async {
            let lead = match self.leader(&call)? {
                Leader::Here(lead) => lead,
                Leader::There(channel) => {
                    let mut handed = handed_on(&call, request);
                    // A board is followed for as long as somebody looks at it.
                    handed.metadata_mut().remove("grpc-timeout");
                    let answered = BoardsClient::new(channel).follow(handed).await;
                    return Ok(Box::pin(answered.map_err(|status| from_status(&status))?.into_inner()) as _);
                }
            };
            self.context.proposer.barrier(call.deadline).await?;
            let (out, updates) = mpsc::channel(ON_THE_WAY);
            let follower = Follower { api: self.clone(), lead, told: Told::default(), out, points_from: 0 };
            tokio::spawn(follower.run(request.once));
            Ok(Box::pin(ReceiverStream::new(updates)) as Self::FollowStream)
        })
        .await
    }
}

/// Somebody who follows the board.
struct Follower {
    api: Api,
    lead: Arc<Lead>,
    told: Told,
    out: mpsc::Sender<Result<BoardUpdate, Status>>,
    /// The newest point that was told, which may have grown since.
    points_from: u64,
}

/// What a follower was told: a digest of each thing.
#[derive(Debug, Default)]
struct Told {
    things: BTreeMap<Name, Digest>,
    looks: u64,
}

/// The digest of a thing as it was told last, and the look that saw it.
#[derive(Clone, Copy, Debug)]
struct Digest {
    of: u64,
    look: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Info,
    Members,
    Endpoint(String),
    Deployment(String, String),
    Replica(String),
    Slot(String),
    Node(String),
}

/// A look at everything.
struct Look {
    index: u64,
    info: ClusterInfo,
    members: ListMembersResponse,
    endpoints: Vec<v1::Endpoint>,
    deployments: Vec<v1::Deployment>,
    replicas: Vec<v1::Replica>,
    slots: Vec<v1::Slot>,
    nodes: Vec<v1::Node>,
    cards: Vec<v1::CardLoad>,
    at: LogTime,
}

// === impl Follower ===

impl Follower {
    async fn run(mut self, once: bool) {
        let (stop, lead) = (self.api.context.stop.clone(), self.lead.clone());
        tokio::select! {
            () = stop.cancelled() => {}
            () = lead.over.cancelled() => {
                let gone = Error::new(Code::NoLeader, "the coordinator that answered no longer leads");
                // Somebody who reads nothing any more finds the stream ended all the same.
                let _ = self.out.try_send(Err(to_status(&gone)));
            }
            () = self.follow(once) => {}
        }
    }

    async fn follow(&mut self, once: bool) {
        let mut applied = self.api.context.machine.watch();
        let mut is_first = true;
        loop {
            applied.mark_unchanged();
            let begun = Instant::now();
            let look = self.look().await;
            let took = begun.elapsed();
            let updates = self.updates(look, is_first);
            for update in updates {
                if self.out.send(Ok(update)).await.is_err() {
                    return;
                }
            }
            if once {
                return;
            }
            is_first = false;
            // Whoever is told at once still leaves the state to those who change it.
            sleep_until(begun + PACE.max(took * REST)).await;
            tokio::select! {
                // Without any change it is the pulse that looks again.
                changed = timeout_at(begun + PULSE, applied.changed()) => if matches!(changed, Ok(Err(_))) { return },
                () = self.out.closed() => return,
            }
        }
    }

    async fn look(&self) -> Look {
        let (api, lead) = (&self.api, &self.lead);
        let (info, members) = (api.info_here(), api.members_here());
        let at = wall();
        let points = lead.with_cards(|cards| cards.since(at, self.points_from));
        let (mut look, draining) = api.context.machine.read(|state| {
            let uses: BTreeMap<NodeId, Arc<NodeUse>> =
                state.nodes.keys().filter_map(|id| Some((*id, lead.use_of(*id)?))).collect();
            let load = |replica: &Replica| uses.get(&replica.node)?.in_flight.get(&replica.id).copied();
            let shown = |replica: &Replica| {
                let mut message = replica_message(state, replica, load(replica));
                message.progress = uses.get(&replica.node).and_then(|used| used.progress_of(replica));
                message
            };
            let slot = |slot: &ReserveSlot| shown_slot(state, slot, uses.get(&slot.node).map(|used| &**used));
            let card = |(node, uuid, points): (NodeId, String, Vec<CardPoint>)| {
                let node = state.nodes.get(&node)?.profile.name.to_string();
                Some(v1::CardLoad { node, uuid, points })
            };
            let is_draining = |node: &&NodeRecord| node.wish() == Some("draining");
            let draining: Vec<_> =
                state.nodes.values().filter(is_draining).map(|node| (node.id, node.profile.name.to_string())).collect();
            let look = Look {
                index: state.applied.0,
                info,
                members,
                endpoints: state.endpoints.values().map(|it| endpoint_message(state, it)).collect(),
                deployments: state.deployments.values().map(|it| deployment_message(state, it)).collect(),
                replicas: state.replicas.values().map(shown).collect(),
                slots: state.slots.values().map(slot).collect(),
                nodes: state.nodes.values().map(|it| api.shown(state, it)).collect(),
                cards: points.into_iter().filter_map(card).collect(),
                at,
            };
            (look, draining)
        });
        for (id, name) in draining {
            // What it waits for is worth a moment, not the board.
            let Ok(waits) = lead.inbox.drain_waits(id, Instant::now() + WAITS).await else { continue };
            let shown = look.nodes.iter_mut().find(|node| node.node == name);
            if let Some(drain) = shown.and_then(|node| node.drain.as_mut()) {
                drain.waits_for = waits;
            }
        }
        look
    }

    /// Tells what differs, in messages of a bearable size.
    fn updates(&mut self, look: Look, whole: bool) -> Vec<BoardUpdate> {
        let now = look.at;
        let loads = self.lead.with_loads(|loads| loads.since(now, self.points_from));
        self.points_from = Loads::newest(now);
        let mut parts = Parts::default();
        let told = &mut self.told;
        told.looks += 1;
        let mut info = look.info;
        // It moves with every entry; the update itself says how far the state is.
        info.applied = 0;
        let info = told.take(Name::Info, &info).then_some(info);
        let members = told.take(Name::Members, &look.members).then_some(look.members);
        for it in look.endpoints {
            if told.take(Name::Endpoint(it.name.clone()), &it) {
                parts.part().endpoints.push(it);
            }
        }
        for it in look.deployments {
            if told.take(Name::Deployment(it.endpoint.clone(), it.name.clone()), &it) {
                parts.part().deployments.push(it);
            }
        }
        for it in look.replicas {
            if told.take(Name::Replica(it.replica.clone()), &it) {
                parts.part().replicas.push(it);
            }
        }
        for it in look.slots {
            if told.take(Name::Slot(it.slot.clone()), &it) {
                parts.part().slots.push(it);
            }
        }
        for it in look.nodes {
            if told.take(Name::Node(it.node.clone()), &it) {
                parts.part().nodes.push(it);
            }
        }
        for load in loads {
            parts.part().loads.push(load);
        }
        for card in look.cards {
            parts.part().cards.push(card);
        }
        for name in told.gone() {
            parts.part().gone.push(name.into());
        }
        let mut updates = parts.updates;
        if updates.is_empty() {
            updates.push(BoardUpdate::default());
        }
        let last = updates.len() - 1;
        for (at, update) in updates.iter_mut().enumerate() {
            (update.index, update.more, update.whole) = (look.index, at < last, whole && at == 0);
            (update.newest_point, update.point_ms) = (self.points_from, POINT_MS);
        }
        updates[0].info = info;
        updates[0].members = members;
        updates
    }
}

// === impl Told ===

impl Told {
    /// Takes note of a thing and returns whether it is new or changed.
    fn take(&mut self, name: Name, thing: &impl Message) -> bool {
        let mut hasher = DefaultHasher::new();
        thing.encode_to_vec().hash(&mut hasher);
        let digest = Digest { of: hasher.finish(), look: self.looks };
        self.things.insert(name, digest).is_none_or(|before| before.of != digest.of)
    }

    /// Lists what the last look did not see any more, and forgets it.
    fn gone(&mut self) -> Vec<Name> {
        let looks = self.looks;
        let gone: Vec<_> =
            self.things.iter().filter(|(_, it)| it.look != looks).map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.things.remove(name);
        }
        gone
    }
}

// === impl Name ===

impl From<Name> for Gone {
    fn from(name: Name) -> Self {
        match name {
            Name::Info | Name::Members => Self::default(),
            Name::Endpoint(endpoint) => Self { endpoint, ..Self::default() },
            Name::Deployment(endpoint, deployment) => Self { endpoint, deployment, ..Self::default() },
            Name::Replica(replica) => Self { replica, ..Self::default() },
            Name::Slot(slot) => Self { slot, ..Self::default() },
            Name::Node(node) => Self { node, ..Self::default() },
        }
    }
}

/// The messages of one look.
#[derive(Default)]
struct Parts {
    updates: Vec<BoardUpdate>,
    in_last: usize,
}

// === impl Parts ===

impl Parts {
    /// Returns the message that the next thing goes into.
    fn part(&mut self) -> &mut BoardUpdate {
        if self.updates.is_empty() || self.in_last == TOGETHER_MAX {
            self.updates.push(BoardUpdate::default());
            self.in_last = 0;
        }
        self.in_last += 1;
        let last = self.updates.len() - 1;
        &mut self.updates[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told_and_what_is_gone_once() {
        let mut told = Told::default();
        let node = |name: &str, replicas| v1::Node { node: name.into(), replicas, ..Default::default() };
        let mut look = |nodes: &[v1::Node]| {
            told.looks += 1;
            let changed: Vec<_> = nodes
                .iter()
                .filter(|it| told.take(Name::Node(it.node.clone()), *it))
                .map(|it| it.node.clone())
                .collect();
            (changed, told.gone())
        };
        assert_eq!(look(&[node("a", 1), node("b", 1)]), (vec!["a".into(), "b".into()], vec![]));
        assert_eq!(look(&[node("a", 1), node("b", 2)]), (vec!["b".into()], vec![]));
        assert_eq!(look(&[node("a", 1)]), (vec![], vec![Name::Node("b".into())]));
        assert_eq!(look(&[node("a", 1)]), (vec![], vec![]));
        assert_eq!(look(&[node("a", 1), node("b", 2)]), (vec!["b".into()], vec![]), "it came back as it was");
    }

    #[test]
    fn a_large_board_comes_in_parts() {
        let mut parts = Parts::default();
        for _ in 0..=2 * TOGETHER_MAX {
            parts.part().gone.push(Gone::default());
        }
        let sizes: Vec<_> = parts.updates.iter().map(|update| update.gone.len()).collect();
        assert_eq!(sizes, [TOGETHER_MAX, TOGETHER_MAX, 1]);
    }
}
