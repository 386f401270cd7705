//! Logs of replicas, read through the leader's sessions with their nodes.
//!
//! Nothing of a log is kept here. Following asks again from where the last read ended, at a bounded rate, and only as
//! fast as the caller reads.

use std::sync::Arc;

use berth_core::{
    error::{Code, Error},
    id::{NodeId, ReplicaId},
    model::DeploymentKey,
    state::ClusterState,
};
use berth_proto::{
    api::v1::{LogLines, LogsRequest, deployments_client::DeploymentsClient},
    status::{from_status, to_status},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Api,
    call::Call,
    deployments::{Answers, key},
    forward::{Leader, handed_on},
};
use crate::{
    context::Context,
    controller::Lead,
    session::{LogAsk, LogEnd, LogFrom, LogPiece},
};

/// A node answers within this or is passed over.
const ANSWER: Duration = Duration::from_secs(5);

/// Pause between two looks at a log that is followed: quick for a reader, nothing for a node.
const FOLLOW: Duration = Duration::from_millis(500);

/// Lines shown of a log nobody said how much of.
const TAIL_LINES: u64 = 100;

/// Most lines of one log at once.
const TAIL_LINES_MAX: u64 = 10_000;

/// Messages on their way to one caller.
const ON_THE_WAY: usize = 4;

/// One replica whose log is read.
struct Source {
    replica: ReplicaId,
    node: NodeId,
    node_name: String,
    from: LogFrom,
    /// Whether a failure to read it was told already.
    told: bool,
}

// === impl Source ===

impl Source {
    fn new(state: &ClusterState, replica: ReplicaId, node: NodeId, from: LogFrom) -> Self {
        let node_name = state.nodes.get(&node).map(|node| node.profile.name.to_string()).unwrap_or_default();
        Self { replica, node, node_name, from, told: false }
    }
}

// === impl Api ===

impl Api {
    pub(super) async fn read_logs(&self, call: &Call, request: LogsRequest) -> Result<Answers<LogLines>, Error> {
        let key = key(&request.endpoint, &request.deployment)?;
        let only = match request.replica.as_str() {
            "" => None,
            text => Some(text.parse::<ReplicaId>().map_err(|_| {
                Error::new(Code::Invalid, format!("`{text}` is no replica id"))
                    .try_("sixteen hex digits, as `get replicas -o json` shows them")
            })?),
        };
        let lead = match self.leader(call)? {
            Leader::Here(lead) => lead,
            Leader::There(channel) => {
                let mut handed = handed_on(call, request);
                // A log is followed for as long as its reader likes.
                handed.metadata_mut().remove("grpc-timeout");
                let answered = DeploymentsClient::new(channel).logs(handed).await;
                return Ok(Box::pin(answered.map_err(|status| from_status(&status))?.into_inner()));
            }
        };
        self.context.proposer.barrier(call.deadline).await?;
        let LogsRequest { since_ms, within_ms, .. } = request;
        let lines = match request.tail_lines {
            0 if since_ms == 0 && within_ms == 0 => TAIL_LINES,
            lines => lines.min(TAIL_LINES_MAX),
        };
        let end = LogEnd { lines, since_ms, within_ms };
        let sources = self.sources(&key, only, request.previous, end)?;
        let (out, lines) = mpsc::channel(ON_THE_WAY);
        let reader = Reader { context: self.context.clone(), lead, key, only, prepare: request.prepare, out };
        // What is over has nothing to follow.
        let follow = request.follow && !request.previous;
        tokio::spawn(async move {
            let (stop, over) = (reader.context.stop.clone(), reader.lead.over.clone());
            tokio::select! {
                () = stop.cancelled() => {}
                () = over.cancelled() => {
                    let moved = Error::new(Code::NoLeader, "the coordinator that read the logs no longer leads");
                    let _ = reader.out.try_send(Err(to_status(&moved.try_("the same call again"))));
                }
                () = reader.out.closed() => {}
                () = reader.read(sources, follow) => {}
            }
        });
        Ok(Box::pin(ReceiverStream::new(lines)))
    }

    /// Lists what is read: the replicas there are, or, when it is asked for or nothing else is there, the one that failed last
    /// or else ended last.
    fn sources(
        &self,
        key: &DeploymentKey,
        only: Option<ReplicaId>,
        previous: bool,
        end: LogEnd,
    ) -> Result<Vec<Source>, Error> {
        let from = LogFrom::End(end);
        // One look: between two of them the last replica may end, and neither would tell of it.
        let sources = self.context.machine.read(|state| {
            let mut sources = if previous { Vec::new() } else { there(state, key, only, from)? };
            if sources.is_empty() {
                sources.extend(last_failed(state, key, only, from)?);
            }
            if sources.is_empty() {
                let ended = state.events.last_ended(key, only);
                sources.extend(ended.map(|(replica, node)| Source::new(state, replica, node, from)));
            }
            Ok::<_, Error>(sources)
        })?;
        match only {
            Some(replica) if sources.is_empty() => {
                Err(Error::new(Code::ReplicaNotFound, format!("deployment `{key}` has no replica {replica}"))
                    .try_("`berth get replicas` lists those there are, `berth events` tells of those that ended"))
            }
            None if sources.is_empty() && previous => {
                Err(Error::new(Code::ReplicaNotFound, format!("no replica of `{key}` has failed or ended"))
                    .why("what the cluster's kept events do not tell of is not found"))
            }
            _ => Ok(sources),
        }
    }
}

/// Lists the replicas there are.
fn there(
    state: &ClusterState,
    key: &DeploymentKey,
    only: Option<ReplicaId>,
    from: LogFrom,
) -> Result<Vec<Source>, Error> {
    state.deployment(key)?;
    let asked = state.replicas_of(key).filter(|replica| only.is_none_or(|only| replica.id == only));
    Ok(asked.map(|replica| Source::new(state, replica.id, replica.node, from)).collect())
}

/// Finds the replica that failed last: its node keeps the log when nothing else is left of it.
fn last_failed(
    state: &ClusterState,
    key: &DeploymentKey,
    only: Option<ReplicaId>,
    from: LogFrom,
) -> Result<Option<Source>, Error> {
    let failed = state.deployment(key)?.last_failed.filter(|last| only.is_none_or(|only| only == last.replica));
    Ok(failed.map(|failed| Source::new(state, failed.replica, failed.node, from)))
}

/// The caller reads no more.
struct Gone;

/// Reads logs for one caller.
struct Reader {
    context: Arc<Context>,
    lead: Arc<Lead>,
    key: DeploymentKey,
    only: Option<ReplicaId>,
    prepare: bool,
    out: mpsc::Sender<Result<LogLines, Status>>,
}

// === impl Reader ===

impl Reader {
    async fn read(&self, mut sources: Vec<Source>, follow: bool) {
        loop {
            let mut quiet = true;
            for source in &mut sources {
                match self.catch_up(source).await {
                    Ok(some) => quiet &= !some,
                    Err(Gone) => return,
                }
            }
            if !follow {
                return;
            }
            if quiet {
                tokio::time::sleep(FOLLOW).await;
            }
            // Replicas come and go while a deployment is followed; a new one is read from its beginning.
            let Ok(now) = sources_now(self) else { return };
            sources.retain(|source| now.iter().any(|other| other.replica == source.replica));
            sources.extend(
                now.into_iter().filter(|new| !sources.iter().any(|old| old.replica == new.replica)).collect::<Vec<_>>(),
            );
        }
    }

    /// Hands on what one replica has written, up to where its log ended at the first look: who writes faster than is read
    /// keeps nobody from the others. Returns whether there was anything.
    async fn catch_up(&self, source: &mut Source) -> Result<bool, Gone> {
        let (mut some, mut end) = (false, None);
        loop {
            let (data, times, more) = match self.ask(source).await {
                Ok(piece) => {
                    source.from = LogFrom::Offset(piece.next_offset);
                    source.told = false;
                    let more = !piece.data.is_empty() && piece.next_offset < *end.get_or_insert(piece.end_offset);
                    (piece.data, piece.times, more)
                }
                // One node that does not answer must not hide what the others say.
                Err(error) if !source.told => {
                    source.told = true;
                    (format!("{error}\n").into(), Vec::new(), false)
                }
                Err(_) => return Ok(some),
            };
            if !data.is_empty() {
                some = true;
                let (replica, node) = (source.replica.to_string(), source.node_name.clone());
                self.out.send(Ok(LogLines { replica, node, data, times })).await.map_err(|_| Gone)?;
            }
            if !more {
                return Ok(some);
            }
        }
    }

    async fn ask(&self, source: &Source) -> Result<LogPiece, Error> {
        let (answer, answered) = oneshot::channel();
        let ask = LogAsk { replica: source.replica, prepare: self.prepare, from: source.from, answer };
        self.lead.sessions.ask_log(source.node, ask)?;
        let silent = || Error::new(Code::Timeout, format!("node `{}` did not answer in time", source.node_name));
        timeout_at(Instant::now() + ANSWER, answered).await.map_err(|_| silent())?.map_err(|_| silent())?
    }
}

fn sources_now(reader: &Reader) -> Result<Vec<Source>, Error> {
    reader.context.machine.read(|state| there(state, &reader.key, reader.only, LogFrom::Offset(0)))
}
