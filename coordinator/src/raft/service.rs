//! Starts a member, keeps it going and stops it.

use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use berth_core::id::MemberId;
use berth_proto::raft::v1::raft_server::RaftServer;
use openraft::{Config, SnapshotPolicy, async_runtime::watch::WatchReceiver as _};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tracing::{info, warn};

use super::{
    credentials::{Admission, Credentials},
    error::Error,
    handle::RaftHandle,
    machine::StateMachine,
    member::Running,
    membership::Change,
    network::Network,
    options::{Formation, RaftOptions, RaftTimings},
    peers::{MAX_MESSAGE_BYTES, Peers},
    server::RaftRpc,
    status::RaftStatus,
    types::Engine,
};
use crate::store::{self, Committer, Durable, LogStore, MachineStore, StoreError, StoreFailure};

/// The gRPC service of a member, ready to be mounted.
pub type RaftGrpc = InterceptedService<RaftServer<RaftRpc>, Admission>;

/// How often a member looks after what nobody asks for: its own address, changes left half done.
const DUTIES: Duration = Duration::from_secs(1);

/// Stopping waits no longer than this for the store to be released.
const RELEASE: Duration = Duration::from_secs(20);

/// A member, opened but not yet part of anything.
pub struct RaftService {
    member: Arc<Running>,
    formation: Formation,
    admission: Admission,
}

// === impl RaftService ===

impl RaftService {
    /// Opens the store, restores `machine` (which must be empty) from it and starts consensus.
    ///
    /// Other members are answered once [`grpc`](Self::grpc) is mounted; [`run`](Self::run) then finds the cluster.
    pub async fn open(options: RaftOptions, machine: Arc<dyn StateMachine>) -> Result<Self, Error> {
        let shared = machine.clone();
        options.validate()?;
        let opened = {
            let options = options.clone();
            tokio::task::spawn_blocking(move || open_store(&options, machine))
        };
        let opened = opened.await.map_err(|broken| Error::Stopped { why: broken.to_string() })??;
        let id = opened.id;
        let credentials = Credentials::new(&options.cluster_id, &options.tokens[0]);
        let admission = Admission::new(&options.cluster_id, &options.tokens, id);
        let peers = Peers::new(&options.cluster_id, credentials, options.dialer.clone(), &options.timings);
        let network = Network { id, peers: peers.clone(), timings: options.timings.clone() };
        let config = Arc::new(engine_config(&options.cluster_id, &options.timings));
        let applied = opened.machine.applied();
        let failures = opened.durable.watch();
        let log = opened.log;
        // From here on the engine's tasks alone own the store.
        drop(opened.durable);
        let started = Engine::new(id.0, config, network, log, opened.machine).await;
        let engine = started.map_err(|fatal| match &*failures.borrow() {
            Some(failure) => given_up(failure.clone()),
            None => Error::Stopped { why: format!("it could not start: {fatal}") },
        })?;
        let status = watch::Sender::new(Arc::new(RaftStatus::new(&engine.metrics().borrow_watched())));
        let expects = match &options.formation {
            Formation::Bootstrap { expect, .. } => u32::try_from(*expect).unwrap_or(u32::MAX),
            Formation::Join { .. } => 0,
        };
        let member = Arc::new(Running {
            id,
            cluster: options.cluster_id,
            advertise: options.advertise,
            expects,
            timings: options.timings,
            engine,
            machine: shared,
            peers,
            status,
            applied,
            store: failures,
            proposals: Running::permits(),
            changing: Mutex::new(()),
            stop: CancellationToken::new(),
        });
        tokio::spawn(member.clone().publish());
        member.lead_alone().await;
        Ok(Self { member, formation: options.formation, admission })
    }

    /// Returns a handle.
    pub fn handle(&self) -> RaftHandle {
        RaftHandle { member: self.member.clone() }
    }

    /// Returns the service other members call, to be mounted on the coordinator's listener.
    pub fn grpc(&self) -> RaftGrpc {
        let server = RaftServer::new(RaftRpc { member: self.member.clone() })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        InterceptedService::new(server, self.admission.clone())
    }

    /// Finds the cluster and looks after the member until `shutdown` or a call of [`RaftHandle::shutdown`].
    ///
    /// Returns an error when the member cannot go on: its store failed, or it is refused by the cluster it should join.
    /// The process should end then.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let Self { member, formation, .. } = self;
        let outcome = {
            let work = async {
                member.form(&formation).await?;
                info!(member = %member.id, cluster = member.cluster, "part of the cluster");
                member.duties().await;
                Ok(())
            };
            let mut status = member.status.subscribe();
            tokio::select! {
                biased;
                () = member.stop.cancelled() => Ok(()),
                () = shutdown => Ok(()),
                _ = status.wait_for(|status| status.fatal.is_some()) => Err(member.stopped()),
                done = work => done,
            }
        };
        match outcome {
            Ok(()) => member.shut_down().await,
            Err(error) => {
                if let Err(also) = member.shut_down().await {
                    warn!(error = %also, "stopping after a failure");
                }
                match error {
                    Error::Store(StoreError::Failed(failure)) => Err(given_up(failure)),
                    other => Err(other),
                }
            }
        }
    }
}

// === impl Running ===

impl Running {
    /// Publishes the engine's metrics as a status until the engine is gone.
    async fn publish(self: Arc<Self>) {
        let mut metrics = self.engine.metrics();
        let mut store = self.store.clone();
        loop {
            let status = {
                let metrics = metrics.borrow_watched();
                self.peers.update(metrics.membership_config.membership());
                let mut status = RaftStatus::new(&metrics);
                if let Some(failure) = &*store.borrow_and_update() {
                    status.fatal = Some(failure.to_string().into());
                    status.is_leader = false;
                }
                status
            };
            let over = status.fatal.is_some();
            self.status.send_if_modified(|known| {
                let changed = **known != status;
                if changed {
                    *known = Arc::new(status);
                }
                changed
            });
            if over {
                return;
            }
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() { return },
                // A closed channel means the store was released: the engine ends too and says so itself.
                Ok(()) = store.changed() => {}
            }
        }
    }

    /// Stands for election at once when there is nobody else to wait for.
    async fn lead_alone(&self) {
        let status = self.now();
        let alone = status.members.iter().filter(|member| member.voter).all(|member| member.id == self.id);
        if status.formed
            && alone
            && let Err(fatal) = self.engine.trigger().elect(false).await
        {
            warn!(error = %fatal, "could not stand for election");
        }
    }

    async fn duties(&self) {
        let mut tick = tokio::time::interval(DUTIES);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.finish_joint_change().await;
            if self.now().own().is_some_and(|own| own.address != self.advertise) {
                self.announce().await;
            }
        }
    }

    /// Stops the member; returns once its store is released.
    pub(super) async fn shut_down(&self) -> Result<(), Error> {
        self.stop.cancel();
        if self.now().is_leader
            && let Some(successor) = self.successor()
        {
            let deadline = Instant::now() + Duration::from_millis(self.timings.election_max_ms);
            if let Err(error) = self.change(&Change::Lead(successor), deadline).await {
                info!(%error, "stopping without handing over");
            }
        }
        self.proposals.close();
        if let Err(broken) = self.engine.shutdown().await {
            warn!(error = %broken, "the consensus task ended badly");
        }
        let mut store = self.store.clone();
        let released = async { while store.changed().await.is_ok() {} };
        match tokio::time::timeout(RELEASE, released).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::Stopped { why: "its store is still held".into() }),
        }
    }
}

struct Opened {
    id: MemberId,
    durable: Arc<Durable>,
    log: LogStore,
    machine: MachineStore,
}

fn open_store(options: &RaftOptions, machine: Arc<dyn StateMachine>) -> Result<Opened, Error> {
    let dir = options.data_dir.join("raft");
    if let (Formation::Bootstrap { .. }, false, Some(path)) =
        (&options.formation, dir.exists(), store::damaged_sibling(&dir))
    {
        return Err(StoreError::SetAside { path }.into());
    }
    let (durable, identity) = store::open(&dir, &options.cluster_id)?;
    let durable = Arc::new(durable);
    let opened = catch_unwind(AssertUnwindSafe(|| -> io::Result<_> {
        let committer = Committer::start(durable.clone())?;
        let log = LogStore::open(durable.clone(), committer)?;
        Ok((log, MachineStore::open(durable.clone(), machine)?))
    }));
    let failed = match opened {
        Ok(Ok((log, machine))) => return Ok(Opened { id: identity.member, durable, log, machine }),
        Ok(Err(source)) => source,
        Err(_) => durable.condemn("reading it panicked"),
    };
    let failure = durable.watch().borrow().clone();
    Err(failure.map_or_else(|| Error::Stopped { why: failed.to_string() }, given_up))
}

/// Sets a store aside whose failure is damage; any other failure leaves it where it is.
fn given_up(failure: StoreFailure) -> Error {
    if failure.is_damage() { store::set_aside(&failure.path, failure.why).into() } else { failure.into() }
}

fn engine_config(cluster: &str, timings: &RaftTimings) -> Config {
    let config = Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: timings.heartbeat_ms,
        election_timeout_min: timings.election_min_ms,
        election_timeout_max: timings.election_max_ms,
        install_snapshot_timeout: timings.snapshot_transfer_ms,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timings.snapshot_after_entries),
        max_in_snapshot_log_to_keep: timings.keep_entries,
        // Beyond what a snapshot may lag, or a follower would be sent snapshots instead of the entries that are there.
        replication_lag_threshold: timings.snapshot_after_entries * 2 + timings.keep_entries,
        // Entries per message; the reader bounds their bytes.
        max_payload_entries: 1024,
        // A member that was cut off must not depose a leader that everybody else hears.
        enable_pre_vote: Some(true),
        // The state is rebuilt at start and may be older than it was: a restarted leader is elected anew.
        enable_leader_restore: Some(false),
        // A peer that restarts is back within a second; waiting longer only delays its catching up.
        backoff: "50ms 100ms 200ms ...500ms".to_owned(),
        ..Config::default()
    };
    config.validate().expect("the options were validated")
}
