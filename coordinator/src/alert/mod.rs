//! Alerts on the leader: rules are looked at once a second, what changed goes into the log, receivers are told.
//!
//! It runs beside the controller and shares nothing with it but the proposer: a receiver that hangs costs a socket and a
//! deadline, never a placement.

mod exec;
mod levels;
mod receiver;
mod webhook;
mod words;

pub(crate) use levels::Levels;
pub use receiver::{AlertReceiver, ReceiverKind};

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    alert::{Figures, Outbox, Outgoing, Receivers, Standing, Tallies, Watcher},
    error::{Code, Error},
    id::ReplicaId,
    model::Measure,
    state::{ClusterState, Command},
    time::Instant as Tick,
};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, context::Context, controller::Lead, propose::Asker};

/// How often rules are looked at: as often as nodes speak.
const LOOK: Duration = Duration::from_secs(1);

/// Writing what changed into the log. What does not get there is found again by the next look.
const PROPOSE: Duration = Duration::from_secs(5);

/// What the leader knows about alerts beside the log.
#[derive(Debug, Default)]
pub(crate) struct Book {
    tallies: Mutex<Tallies>,
    standings: Mutex<Vec<Standing>>,
}

/// Who is told, and how.
#[derive(Debug)]
pub(crate) struct Alerts {
    receivers: BTreeMap<String, AlertReceiver>,
    webhooks: webhook::Caller,
    clock: Clock,
}

// === impl Book ===

impl Book {
    /// Looks at, or adds to, what endpoints with rules answered lately.
    pub(crate) fn with_tallies<R>(&self, work: impl FnOnce(&mut Tallies) -> R) -> R {
        work(&mut self.tallies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how every rule stood at the last look.
    pub(crate) fn standings(&self) -> Vec<Standing> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_standings(&self, standings: Vec<Standing>) {
        *self.standings.lock().unwrap_or_else(PoisonError::into_inner) = standings;
    }
}

// === impl Alerts ===

impl Alerts {
    pub(crate) fn new(receivers: Vec<AlertReceiver>, clock: Clock) -> Result<Self, Error> {
        let webhooks = webhook::Caller::new(receivers.iter().any(AlertReceiver::needs_tls))?;
        let receivers = receivers.into_iter().map(|receiver| (receiver.name.clone(), receiver)).collect();
        Ok(Self { receivers, webhooks, clock })
    }

    /// Lists who is told.
    pub(crate) fn receivers(&self) -> impl Iterator<Item = &AlertReceiver> {
        self.receivers.values()
    }

    /// Returns the clock that alerts count on.
    pub(crate) fn now(&self) -> Tick {
        self.clock.monotonic()
    }

    /// Tells a receiver something harmless.
    pub(crate) async fn test(&self, name: &str, cluster: &str) -> Result<(), Error> {
        let receiver = self.receivers.get(name).ok_or_else(|| {
            let known: Vec<_> = self.receivers.keys().map(String::as_str).collect();
            let error = Error::new(Code::ReceiverNotFound, format!("no receiver is called `{name}`"));
            if known.is_empty() {
                return error
                    .why("the leader was given no receivers")
                    .try_("tell every coordinator of one: `berth coordinator --alert-webhooks NAME=URL`");
            }
            error.try_(format!("one of {}", known.join(", ")))
        })?;
        let message = words::test(name, cluster);
        let failed = |why| Error::new(Code::Upstream, format!("{name} did not take it")).why(why);
        self.send(receiver, &message).await.map_err(failed)
    }

    async fn send(&self, receiver: &AlertReceiver, message: &words::Message) -> Result<(), String> {
        match &receiver.kind {
            ReceiverKind::Webhook { url } => self.webhooks.post(url, message).await,
            ReceiverKind::Exec { program } => exec::run(program, message).await,
        }
    }
}

/// Works while this member leads, until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut leads = context.lead.clone();
    loop {
        let lead = leads.borrow_and_update().clone();
        let reign = async {
            match lead {
                Some(lead) => Reign::new(context.clone(), lead).run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = leads.changed() => if changed.is_err() { return },
            () = reign => {}
        }
    }
}

/// Alerts during one leadership.
struct Reign {
    context: Arc<Context>,
    lead: Arc<Lead>,
    watcher: Watcher,
    outbox: Outbox,
    known: Receivers,
}

// === impl Reign ===

impl Reign {
    fn new(context: Arc<Context>, lead: Arc<Lead>) -> Self {
        let known = context.alerts.receivers.keys().cloned().collect();
        Self { context, lead, watcher: Watcher::default(), outbox: Outbox::default(), known }
    }

    async fn run(mut self) {
        let mut established = self.lead.established();
        if established.wait_for(|established| *established).await.is_err() {
            return;
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A receiver is told one thing at a time: no more answers than receivers are ever on their way.
        let (answer, mut answers) = mpsc::channel(self.known.len().max(1));
        loop {
            let due = self.outbox.next_due();
            let rested = async {
                match due {
                    Some(due) => sleep_until(self.context.alerts.clock.at(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.lead.over.cancelled() => return,
                _ = looks.tick() => self.look().await,
                Some((receiver, outcome)) = answers.recv() => {
                    let receiver: String = receiver;
                    self.outbox.answered(&receiver, outcome, self.context.alerts.now());
                }
                () = rested => {}
            }
            self.tell(&answer).await;
        }
    }

    /// Looks at every rule and writes down what changed.
    async fn look(&mut self) {
        let now = self.context.alerts.now();
        let changes = self.context.machine.read(|state| {
            let in_flight = in_flight(state, &self.lead);
            let book = &self.lead.alerts;
            let changes = book.with_tallies(|tallies| {
                Watcher::watch(state, tallies);
                self.watcher.step(state, Figures { tallies, in_flight: &in_flight }, now)
            });
            book.set_standings(self.watcher.standings(state, now));
            changes
        });
        if changes.is_empty() {
            return;
        }
        for change in &changes {
            tracing::info!(alert = %change.key, state = change.to.word(), text = change.text, "alert");
        }
        self.propose(Command::AlertsChange { term: self.lead.term, changes }).await;
        self.context.machine.read(|state| self.lead.alerts.set_standings(self.watcher.standings(state, now)));
    }

    /// Hands out what is to be told, and writes down what was.
    async fn tell(&mut self, answer: &mpsc::Sender<(String, Result<(), String>)>) {
        let now = self.context.alerts.now();
        self.context.machine.read(|state| {
            let untold = state.alerts.values().filter(|alert| !alert.told);
            self.outbox.see(untold, &self.known);
        });
        for outgoing in self.outbox.due(now) {
            tokio::spawn(deliver(self.context.clone(), self.lead.over.clone(), outgoing, answer.clone()));
        }
        let told = self.outbox.done();
        if !told.is_empty() {
            for told in told.iter().filter(|told| !told.given_up.is_empty()) {
                tracing::warn!(alert = %told.key, why = told.given_up.join("; "), "an alert was not delivered");
            }
            self.propose(Command::AlertsTold { term: self.lead.term, told }).await;
            self.context.machine.read(|state| {
                self.outbox.see(state.alerts.values().filter(|alert| !alert.told), &self.known);
            });
        }
    }

    async fn propose(&self, command: Command) {
        let asked = self.context.proposer.change(Asker::cluster("alerts"), command, Instant::now() + PROPOSE);
        if let Err(error) = asked.await {
            tracing::info!(%error, "what became of alerts is not in the log yet");
        }
    }
}

/// Sends one message and says what became of it. A deposed leader's message is cut: the next one sends its own.
async fn deliver(
    context: Arc<Context>,
    over: CancellationToken,
    outgoing: Outgoing,
    answer: mpsc::Sender<(String, Result<(), String>)>,
) {
    let Some(receiver) = context.alerts.receivers.get(&outgoing.receiver) else { return };
    let message = words::message(&outgoing, context.raft.cluster_id());
    tokio::select! {
        () = over.cancelled() => {}
        outcome = context.alerts.send(receiver, &message) => {
            context.metrics.alerts.sent(&receiver.name, &outcome);
            if let Err(why) = &outcome {
                tracing::info!(receiver = receiver.name, why, "a receiver of alerts did not take a message");
            }
            // A leadership that ended meanwhile waits for no answer.
            let _ = answer.send((outgoing.receiver, outcome)).await;
        }
    }
}

/// Collects what waits in gates, for endpoints whose rules ask for it.
fn in_flight(state: &ClusterState, lead: &Lead) -> BTreeMap<ReplicaId, u64> {
    let asks = |measure| measure == Measure::Queue;
    let endpoints =
        state.endpoints.values().filter(|endpoint| endpoint.spec.alerts.iter().any(|rule| asks(rule.when.measure)));
    let deployments = endpoints.flat_map(|endpoint| state.deployments_of(&endpoint.name));
    let replicas = deployments.flat_map(|deployment| state.replicas_of(&deployment.key));
    replicas.filter_map(|replica| Some((replica.id, lead.in_flight_of(replica.node, replica.id)?))).collect()
}
