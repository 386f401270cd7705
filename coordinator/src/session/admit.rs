//! How a session begins: Hello, a place in the registry of nodes, Welcome.

use std::sync::Arc;

use berth_core::{
    error::{Code, Error},
    id::{NodeEpoch, NodeId},
    model::{Node, NodeProfile, NodeState},
    state::{ClusterState, Command, RegisterNode, Reply},
};
use berth_proto::node::{
    profile_from_wire,
    v1::{FromNode, Hello, Redirect, Refused, ToNode, Welcome, from_node, to_node},
};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, timeout},
};
use tonic::{Status, Streaming};

use super::serve::Session;
use crate::{context::Context, controller::Lead, machine::unexpected, propose::Asker};

/// The first message must come within this; a connection that says nothing is closed.
const HELLO: Duration = Duration::from_secs(5);

/// Registering a node may take as long as an election.
const REGISTER: Duration = Duration::from_secs(5);

/// A member that was just elected takes this long, at most, to begin leading; a node is not sent away meanwhile.
const BEGIN: Duration = Duration::from_secs(2);

/// Messages on their way to one node. More is never built: see [`super::serve`].
const ON_THE_WAY: usize = 4;

/// Serves one session from its first message to its end. A node that `joins` is given the lasting token.
pub(crate) fn open(
    context: Arc<Context>,
    inbound: Streaming<FromNode>,
    joins: bool,
) -> mpsc::Receiver<Result<ToNode, Status>> {
    let (out, messages) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        let stop = context.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = session(context, inbound, out, joins) => {}
        }
    });
    messages
}

async fn session(
    context: Arc<Context>,
    mut inbound: Streaming<FromNode>,
    out: mpsc::Sender<Result<ToNode, Status>>,
    joins: bool,
) {
    let hello = match timeout(HELLO, inbound.message()).await {
        Ok(Ok(Some(FromNode { message: Some(from_node::Message::Hello(hello)) }))) => hello,
        Ok(Ok(Some(_))) => {
            let _ = out.send(Err(Status::invalid_argument("the first message of a session is Hello"))).await;
            return;
        }
        // Gone, or silent: there is nobody to tell.
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    let Some(lead) = leading(&context).await else {
        let _ = out.send(Ok(message(redirect(&context)))).await;
        return;
    };
    let (node, epoch) = match admit(&context, hello).await {
        Ok(admitted) => admitted,
        Err(error) if error.is_transient() => {
            // The node is fine and asks again; another member may lead by then.
            let _ = out.send(Ok(message(redirect(&context)))).await;
            tracing::info!(%error, "a node cannot be registered now");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "a node was refused");
            let _ = out.send(Ok(message(refusal(&error)))).await;
            return;
        }
    };
    let welcome = Welcome {
        cluster_id: context.raft.cluster_id().to_owned(),
        term: lead.term.0,
        epoch: epoch.0,
        gate_token: context.key.gate_token(),
        heartbeat_ms: berth_core::defaults::DEFAULTS.heartbeat_interval.0,
        coordinators: context.raft.status().members.iter().map(|member| member.address.clone()).collect(),
        node_token: if joins { context.key.node_token() } else { String::new() },
    };
    if out.send(Ok(message(to_node::Message::Welcome(welcome)))).await.is_err() {
        return;
    }
    Session::new(context, lead, node, epoch, inbound, out).serve().await;
}

/// Returns the leadership of this member, if it leads or is about to.
async fn leading(context: &Context) -> Option<Arc<Lead>> {
    let mut lead = context.lead.clone();
    if !context.raft.status().is_leader {
        return None;
    }
    let begun = timeout(BEGIN, lead.wait_for(Option::is_some)).await;
    begun.ok()?.ok()?.clone()
}

async fn admit(context: &Context, hello: Hello) -> Result<(NodeId, NodeEpoch), Error> {
    let ours = context.raft.cluster_id();
    if !hello.cluster_id.is_empty() && hello.cluster_id != ours {
        return Err(Error::new(Code::ForeignCluster, "the node belongs to another cluster")
            .why(format!("it was registered in {}, this is {ours}", hello.cluster_id))
            .try_("point it at its own coordinators, or give it an empty data directory"));
    }
    if hello.node_id == 0 {
        return Err(Error::new(Code::Invalid, "the node has no id"));
    }
    let node = NodeId(hello.node_id);
    let profile = hello.profile.ok_or_else(|| Error::new(Code::Invalid, "the node says nothing of itself"))?;
    let profile = profile_from_wire(profile)?;
    let deadline = Instant::now() + REGISTER;
    context.proposer.barrier(deadline).await?;
    let (held, takes_over) = (NodeEpoch(hello.epoch), hello.takes_over);
    let epoch_seen = NodeEpoch(hello.epoch_seen).max(held);
    if context.machine.read(|state| reconnects(state, node, held, &profile)) {
        return Ok((node, held));
    }
    let command = Command::NodeRegister(Box::new(RegisterNode { node, profile, epoch_seen, held, takes_over }));
    match context.proposer.propose(Asker::cluster("node"), command, deadline).await?.reply {
        Reply::Registered { epoch } => Ok((node, epoch)),
        Reply::Refused(error) => Err(error),
        other => Err(unexpected(&other)),
    }
}

/// Returns whether the node is the one the state knows, only back on another connection: nothing changes for anybody,
/// so nothing is written.
fn reconnects(state: &ClusterState, node: NodeId, held: NodeEpoch, profile: &NodeProfile) -> bool {
    let same = |known: &&Node| known.epoch == held && known.profile.is_of(profile) && known.state != NodeState::Lost;
    held != NodeEpoch(0) && state.nodes.get(&node).filter(same).is_some()
}

/// Wraps a message to a node.
pub(super) fn message(message: to_node::Message) -> ToNode {
    ToNode { message: Some(message) }
}

/// Sends a node on to the leader.
pub(super) fn redirect(context: &Context) -> to_node::Message {
    let status = context.raft.status();
    let elsewhere = status.leader.as_ref().filter(|leader| leader.id != status.member_id);
    let leader_address = elsewhere.map(|leader| leader.address.clone()).unwrap_or_default();
    to_node::Message::Redirect(Redirect { leader_address })
}

/// Tells a node why it is not wanted.
pub(super) fn refusal(error: &Error) -> to_node::Message {
    to_node::Message::Refused(Refused {
        code: error.code.word().to_owned(),
        what: error.what.clone(),
        why: error.why.clone(),
        r#try: error.try_.clone(),
    })
}
