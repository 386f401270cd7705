//! The session with the leader: found, kept, and opened again for ever.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use berth_core::{
    agent::PrefetchReport,
    error::{Code, Error},
    health::DeviceSign,
    id::{NodeEpoch, NodeId, ReplicaId, Term},
    model::NodeProfile,
    rng::SeedTree,
};
use berth_proto::node::{
    acks_to_wire, assignments_from_wire, device_sign_to_wire, prefetch_to_wire, profile_to_wire, report_to_wire,
    v1::{
        self as wire, DeviceProcess, DeviceReport, DeviceSample, FromNode, Heartbeat, Hello, MirrorsTold, ReplicaLoad,
        ReplicaReports, RequestFound, ToNode, Usage, Welcome, from_node::Message as Up, to_node::Message as Down,
    },
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    Backoff, MESSAGE_DEADLINE, Members, Outbox, SessionStatus, members::transport_error, outbox::Batch, reader,
    served::Served,
};
use crate::{
    actor::AgentLink,
    gpu::{GpuMonitor, GpuView},
    identity,
    leave::Leaving,
    mesh::MeshHandle,
    metrics::NodeHolds,
    options::Secret,
    runtime::Progresses,
};

/// Messages that may wait to be sent. More than these mean that the leader does not read.
const WAITING_MAX: usize = 64;
/// How long reports may stay unacknowledged before they are sent again.
const RESEND_AFTER: Duration = Duration::from_secs(2);
/// Wait after a refusal: an operator has to do something first.
const REFUSED_WAIT: Duration = Duration::from_secs(5);
/// Redirects in a row that are followed at once; after these the members contradict each other.
const REDIRECTS_MAX: u32 = 4;
/// Logs that are read at once.
const READS_MAX: usize = 4;
/// How often replicas that empty are looked at: a drain and a step of a rollout wait for the last request to end.
const EMPTYING_LOOK: Duration = Duration::from_millis(20);
/// Bounds for the pace of heartbeats, whatever a coordinator says.
const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 50..=10_000;

/// What a session needs.
#[derive(Debug)]
pub(crate) struct SessionOptions {
    pub(crate) node: NodeId,
    pub(crate) home: PathBuf,
    pub(crate) profile: watch::Receiver<NodeProfile>,
    pub(crate) members: Arc<Members>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) mesh: MeshHandle,
    pub(crate) agent: AgentLink,
    pub(crate) status: watch::Sender<SessionStatus>,
    pub(crate) usage: watch::Receiver<Usage>,
    pub(crate) leaving: Leaving,
    pub(crate) gpus: Arc<GpuMonitor>,
    pub(crate) prefetches: watch::Receiver<Vec<PrefetchReport>>,
    pub(crate) progress: Arc<Progresses>,
    pub(crate) holds: Arc<NodeHolds>,
    pub(crate) seed: SeedTree,
    /// Whether this process took over from one that ran.
    pub(crate) takes_over: bool,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// Another member leads.
    Redirect(Option<String>),
    /// The cluster does not take this node.
    Refused(Error),
    /// It broke.
    Broken(Error),
    /// The node has something else to say of itself.
    Changed,
}

/// A session that is open.
struct Session<'a> {
    options: &'a SessionOptions,
    up: mpsc::Sender<FromNode>,
    epoch: NodeEpoch,
    heartbeat_seq: u64,
    /// Replicas that were said to have requests, though none is sent to them any more.
    emptying: BTreeSet<ReplicaId>,
    /// Outlives the session: what was counted between two is told by the next.
    served: &'a mut Served,
    reads: Arc<Semaphore>,
}

/// Keeps a session for ever; ends by being dropped.
pub(crate) async fn keep_session(options: SessionOptions) {
    let mut backoff = Backoff::new(&options.seed);
    let mut epoch = NodeEpoch(0);
    let mut served = Served::default();
    let (mut turn, mut redirects) = (0_usize, 0_u32);
    loop {
        let addresses = options.members.addresses();
        let Some(address) = addresses.get(turn % addresses.len().max(1)).cloned() else {
            sleep(REFUSED_WAIT).await;
            continue;
        };
        let end = open(&options, &address, &mut epoch, &mut served, &mut backoff).await;
        options.agent.tell(berth_core::agent::Input::SessionEnded);
        options.outbox.clear();
        match end {
            End::Redirect(Some(leader)) if redirects < REDIRECTS_MAX => {
                tracing::debug!(%address, %leader, "redirected to the leader");
                options.members.leads(Some(&leader));
                (turn, redirects) = (0, redirects + 1);
                continue;
            }
            End::Changed => {
                tracing::info!("the node says anew what it has");
                continue;
            }
            End::Redirect(_) => {
                say(&options.status, format!("{address} knows no leader"));
                options.members.leads(None);
            }
            End::Refused(error) => {
                tracing::error!(%address, %error, "the cluster does not take this node");
                let code = error.code.word().to_owned();
                options.status.send_replace(SessionStatus::Refused { code, text: error.to_string() });
                sleep(REFUSED_WAIT).await;
            }
            End::Broken(error) => {
                // Which does not pass by itself, as a member that is away does.
                match error.code {
                    Code::Tls => tracing::error!(%address, %error, "no session with this member"),
                    _ => tracing::info!(%address, %error, "no session with this member"),
                }
                say(&options.status, error.to_string());
                options.members.leads(None);
            }
        }
        redirects = 0;
        turn = turn.wrapping_add(1);
        sleep(backoff.take()).await;
    }
}

fn say(status: &watch::Sender<SessionStatus>, why: String) {
    status.send_replace(SessionStatus::Connecting { why });
}

/// Opens a session and runs it until it ends.
async fn open(
    options: &SessionOptions,
    address: &str,
    epoch: &mut NodeEpoch,
    served: &mut Served,
    backoff: &mut Backoff,
) -> End {
    let (mut replaced, mut profile) = (options.agent.replaced(), options.profile.clone());
    let said = profile.borrow_and_update().clone();
    let (up, queue) = mpsc::channel(WAITING_MAX);
    let opened = async {
        let hello = hello(options, &said, *epoch).await?;
        up.send(FromNode { message: Some(Up::Hello(hello)) }).await.map_err(|_| broken("the stream ended"))?;
        let mut client = options.members.client(address)?;
        let answer = timeout(MESSAGE_DEADLINE, client.session(ReceiverStream::new(queue))).await;
        let answer = answer.map_err(|_| broken("no answer to the call"))?;
        let mut down = answer.map_err(|status| transport_error(&status))?.into_inner();
        let first = timeout(MESSAGE_DEADLINE, down.message()).await.map_err(|_| broken("no answer to the hello"))?;
        let first = first.map_err(|status| transport_error(&status))?;
        Ok::<_, Error>((down, first))
    };
    let (down, first) = match opened.await {
        Ok(opened) => opened,
        Err(error) if error.code == Code::Unauthenticated => {
            // What is to be done the coordinator knows, unless something before it refused.
            let is_told = !error.try_.is_empty();
            return End::Refused(if is_told {
                error
            } else {
                error.try_("give the node the coordinators' present `node.token`")
            });
        }
        Err(error) => return End::Broken(error),
    };
    let welcome = match first.and_then(|message| message.message) {
        Some(Down::Welcome(welcome)) => welcome,
        Some(Down::Redirect(redirect)) => {
            return End::Redirect(Some(redirect.leader_address).filter(|leader| !leader.is_empty()));
        }
        Some(Down::Refused(refused)) => return End::Refused(refusal(&refused)),
        _ => return End::Broken(broken("the first answer was no welcome")),
    };
    if let Err(end) = greet(options, address, &welcome).await {
        return end;
    }
    *epoch = NodeEpoch(welcome.epoch);
    backoff.reset();
    let mut session = Session {
        options,
        up,
        epoch: *epoch,
        heartbeat_seq: 0,
        emptying: BTreeSet::new(),
        served,
        reads: Arc::new(Semaphore::new(READS_MAX)),
    };
    let heartbeat = Duration::from_millis(welcome.heartbeat_ms.clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end()));
    tokio::select! {
        end = session.run(down, heartbeat) => end,
        // What the agent was told, the one in its place was not: begin anew.
        _ = replaced.changed() => End::Broken(broken("the agent was started again")),
        // The session begins with it, so that nobody has to wonder whether it was heard.
        Ok(()) = profile.changed() => End::Changed,
    }
}

async fn hello(options: &SessionOptions, said: &NodeProfile, epoch: NodeEpoch) -> Result<Hello, Error> {
    let standing = options.agent.standing().await?;
    Ok(Hello {
        node_id: options.node.0,
        profile: Some(profile_to_wire(said)),
        replicas: standing.reports.iter().map(report_to_wire).collect(),
        term_seen: standing.fence.term.0,
        revision_seen: standing.fence.revision.0,
        cluster_id: standing.cluster_id,
        epoch: epoch.0,
        epoch_seen: standing.fence.epoch.0,
        takes_over: options.takes_over && epoch == NodeEpoch(0),
    })
}

/// Takes a welcome: the cluster must be this node's own, and the agent must accept its term.
async fn greet(options: &SessionOptions, address: &str, welcome: &Welcome) -> Result<(), End> {
    let own = options.agent.cluster_id();
    if !own.is_empty() && own != welcome.cluster_id {
        return Err(End::Refused(
            Error::new(Code::ForeignCluster, format!("{address} belongs to another cluster"))
                .why(format!("this node belongs to {own}, that coordinator to {}", welcome.cluster_id))
                .try_("name its own coordinators, or empty the node's `--data-dir`"),
        ));
    }
    if own.is_empty() {
        identity::keep_cluster_id(&options.home, &welcome.cluster_id).map_err(End::Broken)?;
        options.agent.joined(&welcome.cluster_id);
    }
    if let Some(nonce) = options.members.joins_with().filter(|_| !welcome.node_token.is_empty()) {
        // On disk before it is shown: a restart after the join token ran out must find it.
        identity::keep_token(&options.home, &nonce, &welcome.node_token).map_err(End::Broken)?;
        options.members.show(Secret::new(&welcome.node_token)).map_err(End::Broken)?;
    }
    options.members.learn(welcome.coordinators.clone());
    options.members.leads(Some(address));
    options.mesh.set_gate_token(&welcome.gate_token);
    let (epoch, term) = (NodeEpoch(welcome.epoch), Term(welcome.term));
    options.agent.registered(epoch, term).await.map_err(End::Broken)?;
    tracing::info!(leader = %address, %epoch, %term, "session open");
    options.status.send_replace(SessionStatus::Open { leader: address.to_owned(), epoch, term });
    Ok(())
}

// === impl Session ===

impl Session<'_> {
    async fn run(&mut self, mut down: Streaming<ToNode>, heartbeat: Duration) -> End {
        let mut pace = interval(heartbeat);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut acks = self.options.mesh.watch_acks();
        let mut leaving = self.options.leaving.clone();
        let mut faults = self.options.gpus.faults();
        let mut resend = interval(RESEND_AFTER);
        resend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut emptying = interval(EMPTYING_LOOK);
        emptying.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent_at = Instant::now();
        loop {
            let outcome = tokio::select! {
                biased;
                message = down.message() => match message {
                    Ok(Some(message)) => match self.take(message).await {
                        Ok(None) => Ok(()),
                        Ok(Some(end)) => return end,
                        Err(error) => Err(error),
                    },
                    Ok(None) => Err(broken("the leader ended the session")),
                    Err(status) => Err(transport_error(&status)),
                },
                _ = pace.tick() => self.heartbeat().await,
                // A step of a rollout waits for this number, so it does not wait for the pace.
                Ok(()) = acks.changed() => self.heartbeat().await,
                Ok(()) = leaving.changed() => self.heartbeat().await,
                // Neither does what takes traffic off a broken device.
                Ok(()) = faults.changed() => self.heartbeat().await,
                // Nor what ends a drain: the last request of a replica that gets no more.
                _ = emptying.tick(), if !self.emptying.is_empty() => match self.has_emptied() {
                    true => self.heartbeat().await,
                    false => Ok(()),
                },
                () = self.options.outbox.changed() => match self.options.outbox.take() {
                    Some(batch) => {
                        sent_at = Instant::now();
                        self.report(batch).await
                    }
                    None => Ok(()),
                },
                _ = resend.tick() => match self.options.outbox.unacknowledged() {
                    Some(batch) if sent_at.elapsed() >= RESEND_AFTER => {
                        sent_at = Instant::now();
                        self.report(batch).await
                    }
                    _ => Ok(()),
                },
            };
            if let Err(error) = outcome {
                return End::Broken(error);
            }
        }
    }

    async fn send(&self, message: Up) -> Result<(), Error> {
        let sent = timeout(MESSAGE_DEADLINE, self.up.send(FromNode { message: Some(message) })).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(broken("the stream ended")),
            Err(_) => Err(broken("the leader does not read")),
        }
    }

    async fn heartbeat(&mut self) -> Result<(), Error> {
        let mesh = &self.options.mesh;
        // Read in this order: what is in flight after an acknowledgement was sent under the table it names, or newer.
        let acks = acks_to_wire(mesh.acks());
        let loads = mesh.in_flight();
        self.emptying = mesh.unrouted(loads.keys().copied().collect());
        let carried: BTreeSet<_> = mesh.carried();
        let usage = *self.options.usage.borrow();
        let left = self.options.leaving.borrow().map(|until| until.saturating_duration_since(Instant::now()));
        let leaving_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let prefetch = |report: &PrefetchReport| wire::PrefetchReport {
            progress: self.options.progress.of_slots(&report.key),
            ..prefetch_to_wire(report)
        };
        self.heartbeat_seq += 1;
        let heartbeat = Heartbeat {
            epoch: self.epoch.0,
            seq: self.heartbeat_seq,
            acks: Some(acks),
            loads: loads.into_iter().map(|(id, in_flight)| ReplicaLoad { replica: id.0, in_flight }).collect(),
            uses: self.options.holds.uses(),
            carried: carried.iter().map(ToString::to_string).collect(),
            usage: Some(usage),
            leaving_ms,
            devices: device_reports(&self.options.gpus.view()),
            prefetches: self.options.prefetches.borrow().iter().map(prefetch).collect(),
            progress: self.options.progress.of_replicas(),
            served: self.served.since(Instant::now(), || mesh.counters()),
        };
        self.send(Up::Heartbeat(heartbeat)).await
    }

    /// Returns whether a replica that empties has ended its last request since the leader was told.
    fn has_emptied(&self) -> bool {
        let loads = self.options.mesh.in_flight();
        self.emptying.iter().any(|replica| !loads.contains_key(replica))
    }

    async fn report(&self, batch: Batch) -> Result<(), Error> {
        let reports = batch.reports.iter().map(report_to_wire).collect();
        self.send(Up::Reports(ReplicaReports { epoch: self.epoch.0, seq: batch.seq, reports })).await
    }

    /// Takes a message of the leader; some end the session.
    async fn take(&mut self, message: ToNode) -> Result<Option<End>, Error> {
        match message.message {
            Some(Down::Assignments(orders)) => {
                self.options.agent.ordered(assignments_from_wire(orders)?).await?;
            }
            Some(Down::ReportsTaken(taken)) => self.options.outbox.taken(taken.seq),
            Some(Down::LogRequest(request)) => {
                let Ok(permit) = Arc::clone(&self.reads).try_acquire_owned() else {
                    let chunk = berth_proto::node::v1::LogChunk {
                        request: request.request,
                        error_code: Code::Limit.word().to_owned(),
                        error: "this node reads enough logs already".to_owned(),
                        ..Default::default()
                    };
                    self.send(Up::LogChunk(chunk)).await?;
                    return Ok(None);
                };
                let (home, up) = (self.options.home.clone(), self.up.clone());
                tokio::spawn(async move {
                    let chunk = tokio::task::spawn_blocking(move || reader::answer(&home, &request)).await;
                    if let Ok(chunk) = chunk {
                        // A session that ended meanwhile has nobody who waits for it.
                        drop(timeout(MESSAGE_DEADLINE, up.send(FromNode { message: Some(Up::LogChunk(chunk)) })).await);
                    }
                    drop(permit);
                });
            }
            Some(Down::FindRequest(find)) => {
                // The memory of the ingress is looked through at once: it is small, and asked by people.
                let report = self.options.mesh.find_request(&find.id);
                self.send(Up::RequestFound(Box::new(RequestFound { question: find.question, report }))).await?;
            }
            Some(Down::TellMirrors(tell)) => {
                let tallies = self.options.mesh.mirror_verdicts(&tell.endpoint);
                self.send(Up::MirrorsTold(MirrorsTold { question: tell.question, tallies })).await?;
            }
            Some(Down::Redirect(redirect)) => {
                return Ok(Some(End::Redirect(Some(redirect.leader_address).filter(|leader| !leader.is_empty()))));
            }
            Some(Down::Refused(refused)) => return Ok(Some(End::Refused(refusal(&refused)))),
            Some(Down::Welcome(_)) => return Err(broken("a second welcome")),
            // A newer coordinator may say what this node does not know yet.
            None => {}
        }
        Ok(None)
    }
}

/// Writes what is known of every card.
fn device_reports(view: &GpuView) -> Vec<DeviceReport> {
    let report = |sign: &DeviceSign| {
        let card = view.look.cards.iter().find(|card| card.uuid == sign.card && card.fault.is_none());
        let sample = card.map(|card| DeviceSample {
            used_mib: card.used_mib,
            utilization_percent: card.utilization_percent,
            temperature_celsius: card.temperature_celsius,
            power_milliwatt: card.power_milliwatt,
            power_limit_milliwatt: card.power_limit_milliwatt,
            ecc_corrected: card.ecc_corrected,
            ecc_uncorrected: card.ecc_uncorrected,
            processes: card.processes.iter().map(|(pid, mib)| DeviceProcess { pid: *pid, used_mib: *mib }).collect(),
        });
        device_sign_to_wire(sign, sample)
    };
    view.signs.iter().map(report).collect()
}

fn refusal(refused: &berth_proto::node::v1::Refused) -> Error {
    let code = Code::from_word(&refused.code).unwrap_or(Code::Forbidden);
    Error::new(code, refused.what.clone()).why(refused.why.clone()).try_(refused.r#try.clone())
}

fn broken(what: &str) -> Error {
    Error::new(Code::Unavailable, what)
}
