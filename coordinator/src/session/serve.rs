//! The life of one session after its Welcome.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use berth_core::{
    alert::Sample,
    controller::{Heartbeat, Input},
    error::{Code, Error},
    id::{NodeEpoch, NodeId, ReplicaId},
    model::{DeploymentKey, DeploymentName, DrainBy, EndpointName},
    state::{Command, DrainWish, ReplicaReport},
    time::Millis,
    units::Resources,
};
use berth_proto::{
    api::v1::RequestReport,
    node::{
        acks_from_wire, assignments_to_wire, device_sign_from_wire, prefetch_from_wire, report_from_wire,
        v1::{
            self as wire, FindRequest, FromNode, LogChunk, LogRequest, LogStream, MirrorTally, ReportsTaken,
            TellMirrors, ToNode, from_node, to_node,
        },
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant},
};
use tonic::{Status, Streaming};

use super::{
    admit::{message, redirect, refusal},
    orders::Told,
    registry::{Ask, End, Ends, LogAsk, LogEnd, LogFrom, LogPiece, Opened},
    reports::Reports,
};
use crate::{
    clock::wall,
    context::Context,
    controller::{Lead, NodeUse},
    propose::Asker,
};

/// A session without any message for so long ends: twenty heartbeats. The controller has judged the node long before;
/// this only frees what a half-open connection holds.
const SILENCE: Duration = Duration::from_secs(10);

/// Acknowledgements and questions that may wait for a node that does not read. Its heartbeats are still taken.
const OUTGOING_MAX: usize = 64;

/// Questions that may be open with one node.
const ASKED_MAX: usize = 16;

/// Largest part of a log asked for at once, as the protocol allows.
const LOG_PIECE_BYTES: u64 = 256 << 10;

/// Bytes of a report's reason: the end of a stack trace, not a log.
const REASON_BYTES_MAX: usize = 4 << 10;

/// A node's wish to be emptied may take as long as an election to get into the log.
const WISH: Duration = Duration::from_secs(5);

/// Who waits for the answer to a question.
enum Asked {
    Log(oneshot::Sender<Result<LogPiece, Error>>),
    Request(oneshot::Sender<Option<RequestReport>>),
    Mirrors(oneshot::Sender<Vec<MirrorTally>>),
}

/// One session.
pub(super) struct Session {
    context: Arc<Context>,
    lead: Arc<Lead>,
    node: NodeId,
    epoch: NodeEpoch,
    opened: Arc<Opened>,
    ends: Ends,
    inbound: Streaming<FromNode>,
    out: mpsc::Sender<Result<ToNode, Status>>,
    told: Told,
    reports: Reports,
    outgoing: VecDeque<to_node::Message>,
    asked: BTreeMap<u64, Asked>,
    questions: u64,
    /// Whether the node's wish to be emptied is on its way into the log.
    leaving: Arc<AtomicBool>,
}

/// How a session ended.
enum Ended {
    /// The node went away or fell silent.
    Gone,
    /// This member no longer leads.
    Deposed,
    /// The node opened another session, or spoke under another epoch.
    Stale(Error),
    /// The controller wants another Hello.
    Closed(String),
}

// === impl Session ===

impl Session {
    pub(super) fn new(
        context: Arc<Context>,
        lead: Arc<Lead>,
        node: NodeId,
        epoch: NodeEpoch,
        inbound: Streaming<FromNode>,
        out: mpsc::Sender<Result<ToNode, Status>>,
    ) -> Self {
        let (opened, ends) = lead.sessions.enter(node, epoch);
        let reports = Reports::new(node, epoch, context.proposer.clone());
        let (told, outgoing, asked) = (Told::default(), VecDeque::new(), BTreeMap::new());
        let leaving = Arc::default();
        Self {
            context,
            lead,
            node,
            epoch,
            opened,
            ends,
            inbound,
            out,
            told,
            reports,
            outgoing,
            asked,
            questions: 0,
            leaving,
        }
    }

    pub(super) async fn serve(mut self) {
        self.lead.inbox.session(Input::SessionOpened { node: self.node, epoch: self.epoch }).await;
        tracing::info!(node = %self.node, epoch = self.epoch.0, "session opened");
        let ended = self.exchange().await;
        let farewell = match ended {
            Ended::Gone => None,
            Ended::Deposed => Some(redirect(&self.context)),
            Ended::Stale(error) => Some(refusal(&error)),
            Ended::Closed(reason) => {
                tracing::info!(node = %self.node, reason, "session closed");
                None
            }
        };
        if let Some(farewell) = farewell {
            // A node that does not read learns it from the closed connection.
            let _ = self.out.try_send(Ok(message(farewell)));
        }
        self.lead.closed(self.node, self.epoch, &self.opened).await;
        tracing::info!(node = %self.node, epoch = self.epoch.0, "session ended");
    }

    async fn exchange(&mut self) -> Ended {
        let mut applied = self.context.machine.watch();
        let mut established = self.lead.established();
        applied.mark_changed();
        // Whether the state may hold orders this node was not told.
        let mut stale = true;
        let mut heard = Instant::now();
        let out = self.out.clone();
        loop {
            let may_order = *established.borrow_and_update();
            let wants_out = !self.outgoing.is_empty() || (stale && may_order);
            let room = self.outgoing.len() < OUTGOING_MAX;
            tokio::select! {
                // What goes out comes first: a node that talks without end still gets its orders.
                biased;
                () = self.lead.over.cancelled() => return Ended::Deposed,
                ended = self.ends.end.changed() => match (ended, self.ends.end.borrow_and_update().clone()) {
                    (Ok(()), Some(End::Superseded)) => return Ended::Stale(superseded()),
                    (Ok(()), Some(End::Closed(reason))) => return Ended::Closed(reason),
                    (Ok(()), None) => {}
                    (Err(_), _) => return Ended::Gone,
                },
                permit = out.reserve(), if wants_out => {
                    let Ok(permit) = permit else { return Ended::Gone };
                    let next = self.outgoing.pop_front().or_else(|| {
                        stale = false;
                        applied.mark_unchanged();
                        let news = self.context.machine.read(|state| self.told.news(state, self.node));
                        news.map(|orders| to_node::Message::Assignments(assignments_to_wire(&orders)))
                    });
                    if let Some(next) = next {
                        permit.send(Ok(message(next)));
                    }
                }
                committed = self.reports.committed(), if room => match committed {
                    Ok(seqs) => self.outgoing.extend(
                        seqs.into_iter().map(|seq| to_node::Message::ReportsTaken(ReportsTaken { seq })),
                    ),
                    Err(error) => return Ended::Stale(error),
                },
                received = self.inbound.message() => match received {
                    Ok(Some(FromNode { message: Some(received) })) => {
                        heard = Instant::now();
                        if let Err(error) = self.take(received) {
                            return Ended::Stale(error);
                        }
                    }
                    Ok(Some(FromNode { message: None })) => {}
                    Ok(None) | Err(_) => return Ended::Gone,
                },
                asked = self.ends.asks.recv(), if room && self.asked.len() < ASKED_MAX => {
                    if let Some(ask) = asked {
                        self.ask(ask);
                    }
                }
                changed = applied.changed(), if !stale => match changed {
                    Ok(()) => stale = true,
                    Err(_) => return Ended::Gone,
                },
                changed = established.changed() => if changed.is_err() { return Ended::Gone },
                () = tokio::time::sleep_until(heard + SILENCE) => return Ended::Gone,
            }
        }
    }

    /// Takes a message of the node. An error ends the session.
    fn take(&mut self, received: from_node::Message) -> Result<(), Error> {
        match received {
            from_node::Message::Hello(_) => {
                return Err(Error::new(Code::Invalid, "a session has one Hello").try_("open another session"));
            }
            from_node::Message::Heartbeat(beat) if beat.epoch == self.epoch.0 => self.heartbeat(beat),
            from_node::Message::Reports(message) if message.epoch == self.epoch.0 => {
                let reports: Result<Vec<_>, Error> = message.reports.into_iter().map(report_from_wire).collect();
                self.reports.take(message.seq, reports?.into_iter().map(shortened).collect());
            }
            // Of another epoch: said before this session.
            from_node::Message::Heartbeat(_) | from_node::Message::Reports(_) => {}
            from_node::Message::LogChunk(chunk) => self.answered(chunk),
            from_node::Message::RequestFound(found) => {
                if let Some(Asked::Request(answer)) = self.asked.remove(&found.question) {
                    // Whoever asked may have given up.
                    let _ = answer.send(found.report);
                }
            }
            from_node::Message::MirrorsTold(told) => {
                if let Some(Asked::Mirrors(answer)) = self.asked.remove(&told.question) {
                    let _ = answer.send(told.tallies);
                }
            }
        }
        Ok(())
    }

    fn heartbeat(&self, beat: wire::Heartbeat) {
        if let Some(within_ms) = beat.leaving_ms {
            self.leaves(Millis(within_ms));
        }
        let acks = beat.acks.unwrap_or_default();
        let in_flight: BTreeMap<ReplicaId, u64> =
            beat.loads.iter().map(|load| (ReplicaId(load.replica), load.in_flight)).collect();
        let count = |in_flight: u64| u32::try_from(in_flight).unwrap_or(u32::MAX);
        let heartbeat = Heartbeat {
            node: self.node,
            epoch: self.epoch,
            acks: acks_from_wire(&acks),
            in_flight: in_flight.iter().map(|(replica, load)| (*replica, count(*load))).collect(),
            carried: beat.carried.iter().filter_map(|name| EndpointName::new(name).ok()).collect(),
            devices: beat.devices.iter().map(device_sign_from_wire).collect(),
        };
        let used = beat.usage.unwrap_or_default();
        let used =
            Resources { cpu_milli: used.cpu_milli, memory_mib: used.memory_mib, disk_mib: used.disk_mib, gpus: 0 };
        let prefetching = |report: &wire::PrefetchReport| {
            let key = DeploymentKey::new(
                EndpointName::new(&report.endpoint).ok()?,
                DeploymentName::new(&report.deployment).ok()?,
            );
            Some((key, report.progress.clone()?))
        };
        let prefetching = beat.prefetches.iter().filter_map(prefetching).collect();
        // What a newer node says in words this build does not know is left out.
        let prefetches = beat.prefetches.into_iter().filter_map(|report| prefetch_from_wire(report).ok());
        let prefetches = prefetches.map(|report| (report.key.clone(), report)).collect();
        if !beat.served.is_empty() {
            let now = wall();
            self.count_for_alerts(&beat.served);
            self.lead.with_loads(|loads| beat.served.iter().for_each(|served| loads.add(now, served)));
        }
        if !beat.devices.is_empty() {
            self.lead.with_cards(|cards| cards.add(wall(), self.node, &beat.devices));
        }
        let uses = beat.uses.into_iter().map(|used| (ReplicaId(used.replica), used)).collect();
        let progress = beat.progress.into_iter().filter_map(|it| Some((ReplicaId(it.replica), it.progress?))).collect();
        self.lead.set_use(
            self.node,
            NodeUse { used, in_flight, uses, progress, gpus: beat.devices, prefetches, prefetching },
        );
        self.lead.inbox.heartbeat(heartbeat);
    }

    /// Adds what endpoints with rules answered to what their rules look at.
    fn count_for_alerts(&self, served: &[wire::Served]) {
        let now = self.context.alerts.now();
        self.lead.alerts.with_tallies(|tallies| {
            for served in served.iter().filter(|served| tallies.watches(&served.endpoint)).collect::<Vec<_>>() {
                let Ok(endpoint) = EndpointName::new(&served.endpoint) else { continue };
                let deployment = DeploymentName::new(&served.deployment).ok();
                let mut sample =
                    Sample { requests: served.requests, failed: served.failed, shed: served.shed, ..Sample::default() };
                for (place, count) in sample.took.iter_mut().zip(&served.took) {
                    *place = *count;
                }
                tallies.add(now, &endpoint, deployment.as_ref(), &sample);
            }
        });
    }

    /// Hands the node's wish to be emptied on, once. Its heartbeats repeat it until the log has it.
    fn leaves(&self, within: Millis) {
        let asked = self.context.machine.read(|state| {
            let node = state.nodes.get(&self.node).filter(|node| node.drain.is_none())?;
            Some(node.profile.name.clone())
        });
        let Some(name) = asked.filter(|_| !self.leaving.swap(true, Ordering::Relaxed)) else { return };
        let wish =
            DrainWish { within, reason: "its agent is asked to end".to_owned(), force: false, by: DrainBy::Agent };
        let (leaving, proposer) = (self.leaving.clone(), self.context.proposer.clone());
        tokio::spawn(async move {
            let command = Command::NodeDrain { name, wish: Some(wish) };
            if let Err(error) = proposer.propose(Asker::cluster("node"), command, Instant::now() + WISH).await {
                tracing::info!(%error, "a node's wish to be emptied is not in the log yet");
            }
            leaving.store(false, Ordering::Relaxed);
        });
    }

    fn ask(&mut self, ask: Ask) {
        self.asked.retain(|_, asked| !asked.is_closed());
        match ask {
            Ask::Log(ask) if !ask.answer.is_closed() => self.ask_log(ask),
            Ask::Request(ask) if !ask.answer.is_closed() => {
                self.questions += 1;
                self.asked.insert(self.questions, Asked::Request(ask.answer));
                let find = FindRequest { question: self.questions, id: ask.id };
                self.outgoing.push_back(to_node::Message::FindRequest(find));
            }
            Ask::Mirrors(ask) if !ask.answer.is_closed() => {
                self.questions += 1;
                self.asked.insert(self.questions, Asked::Mirrors(ask.answer));
                let tell = TellMirrors { question: self.questions, endpoint: ask.endpoint };
                self.outgoing.push_back(to_node::Message::TellMirrors(tell));
            }
            Ask::Log(_) | Ask::Request(_) | Ask::Mirrors(_) => {}
        }
    }

    fn ask_log(&mut self, ask: LogAsk) {
        self.questions += 1;
        let stream = if ask.prepare { LogStream::Prepare } else { LogStream::Output };
        let (end, offset) = match ask.from {
            LogFrom::End(end) => (end, 0),
            LogFrom::Offset(offset) => (LogEnd::default(), offset),
        };
        self.asked.insert(self.questions, Asked::Log(ask.answer));
        self.outgoing.push_back(to_node::Message::LogRequest(LogRequest {
            request: self.questions,
            replica: ask.replica.0,
            stream: stream.into(),
            tail_lines: end.lines,
            offset,
            max_bytes: LOG_PIECE_BYTES,
            since_ms: end.since_ms,
            within_ms: end.within_ms,
        }));
    }

    fn answered(&mut self, chunk: LogChunk) {
        let Some(Asked::Log(answer)) = self.asked.remove(&chunk.request) else {
            return;
        };
        let piece = if chunk.error.is_empty() {
            let LogChunk { data, next_offset, end_offset, times, .. } = chunk;
            Ok(LogPiece { data, next_offset, end_offset, times })
        } else {
            Err(Error::new(Code::from_word(&chunk.error_code).unwrap_or(Code::Internal), chunk.error))
        };
        // Whoever asked may have given up.
        let _ = answer.send(piece);
    }
}

// === impl Asked ===

impl Asked {
    /// Returns whether nobody waits for the answer any more.
    fn is_closed(&self) -> bool {
        match self {
            Self::Log(answer) => answer.is_closed(),
            Self::Request(answer) => answer.is_closed(),
            Self::Mirrors(answer) => answer.is_closed(),
        }
    }
}

/// Keeps the end of a long reason, which is where a stack trace says what happened: an entry of the log has a limit.
fn shortened(mut report: ReplicaReport) -> ReplicaReport {
    let reason = &report.reason;
    let from = reason.len().saturating_sub(REASON_BYTES_MAX);
    if from > 0 {
        let from = (from..=reason.len()).find(|at| reason.is_char_boundary(*at)).unwrap_or(reason.len());
        report.reason = reason[from..].to_owned();
    }
    report
}

fn superseded() -> Error {
    Error::new(Code::Stale, "this node opened another session").why("only the newest session of a node counts")
}
