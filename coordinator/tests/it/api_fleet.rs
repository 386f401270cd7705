//! Whole coordinators in one process over loopback: the fixture of the API, session, table and artifact tests.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use berth_coordinator::{CoordinatorHandle, CoordinatorOptions, CoordinatorService, keys::ClusterKey, raft::Formation};
use berth_core::{error::Error, id::LogIndex, model::EndpointSpec};
use berth_proto::{
    api::{
        deployment_spec_message, endpoint_spec_message,
        v1::{
            PutDeploymentRequest, PutEndpointRequest, deployments_client::DeploymentsClient,
            endpoints_client::EndpointsClient,
        },
    },
    status::from_status,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use tonic::transport::{Channel, Endpoint};

/// Long enough for a loaded machine; a test that meets it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Some coordinators of one cluster.
pub(crate) struct Fleet {
    dir: TempDir,
    pub(crate) members: Vec<Coordinator>,
}

/// One coordinator, running or stopped.
pub(crate) struct Coordinator {
    pub(crate) address: SocketAddr,
    pub(crate) data_dir: PathBuf,
    formation: Formation,
    key: PathBuf,
    pub(crate) tune: fn(&mut CoordinatorOptions),
    running: Option<Running>,
}

struct Running {
    handle: CoordinatorHandle,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), Error>>,
}

// === impl Fleet ===

impl Fleet {
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    pub(crate) async fn start_with(count: usize, tune: fn(&mut CoordinatorOptions)) -> Self {
        let dir = TempDir::new().expect("a folder");
        let key = dir.path().join("cluster.key");
        ClusterKey::create(&key).expect("a key");
        let listeners: Vec<TcpListener> =
            (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let addresses: Vec<SocketAddr> = listeners.iter().map(|bound| bound.local_addr().expect("bound")).collect();
        let peers: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let formation = Formation::Bootstrap { expect: count, peers };
        let mut members = Vec::new();
        for (at, (listener, address)) in listeners.into_iter().zip(addresses).enumerate() {
            let data_dir = dir.path().join(format!("member-{at}"));
            let mut member =
                Coordinator { address, data_dir, formation: formation.clone(), key: key.clone(), tune, running: None };
            member.start(Some(listener)).await;
            members.push(member);
        }
        let fleet = Self { dir, members };
        fleet.ready().await;
        fleet
    }

    /// Describes one more member, which is to join.
    fn joiner(&self, tune: fn(&mut CoordinatorOptions)) -> (Coordinator, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let first = &self.members[0];
        let member = Coordinator {
            address: listener.local_addr().expect("bound"),
            data_dir: self.dir.path().join(format!("member-{}", self.members.len())),
            formation: Formation::Join { addresses: vec![first.address.to_string()] },
            key: first.key.clone(),
            tune,
            running: None,
        };
        (member, listener)
    }

    /// Returns the options of one more member, which is to join, without starting it.
    pub(crate) fn prepare_join(&self, tune: fn(&mut CoordinatorOptions)) -> CoordinatorOptions {
        let (member, listener) = self.joiner(tune);
        member.options(Some(listener))
    }

    /// Starts one more member, which joins; returns its position.
    pub(crate) async fn join(&mut self) -> usize {
        let (mut member, listener) = self.joiner(self.members[0].tune);
        member.start(Some(listener)).await;
        self.members.push(member);
        self.ready().await;
        self.members.len() - 1
    }

    pub(crate) async fn ready(&self) {
        for member in self.members.iter().filter(|member| member.running.is_some()) {
            member.handle().wait_ready(Instant::now() + PATIENCE).await.expect("ready");
        }
    }

    /// Returns the position of the leader, once all that run agree on it.
    pub(crate) async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let running: Vec<_> = self.members.iter().filter(|member| member.running.is_some()).collect();
            let leaders: Vec<_> =
                running.iter().map(|member| member.handle().status().leader.map(|leader| leader.address)).collect();
            if let Some(Some(address)) = leaders.first()
                && leaders.iter().all(|leader| leader.as_ref() == Some(address))
                && let Some(at) = self.members.iter().position(|member| member.address.to_string() == *address)
                && self.members[at].running.as_ref().is_some_and(|member| member.handle.status().ready)
            {
                return at;
            }
            assert!(Instant::now() < deadline, "no leader in time: {leaders:?}");
            let mut status = running[0].handle().raft().watch();
            let _ = tokio::time::timeout(Duration::from_millis(100), status.changed()).await;
        }
    }

    pub(crate) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.members.len())
            .find(|at| *at != leader && self.members[*at].running.is_some())
            .expect("a cluster of several")
    }

    pub(crate) fn handle(&self, at: usize) -> &CoordinatorHandle {
        self.members[at].handle()
    }

    pub(crate) fn channel(&self, at: usize) -> Channel {
        channel(self.members[at].address)
    }

    pub(crate) fn endpoints(&self, at: usize) -> EndpointsClient<Channel> {
        EndpointsClient::new(self.channel(at))
    }

    pub(crate) fn deployments(&self, at: usize) -> DeploymentsClient<Channel> {
        DeploymentsClient::new(self.channel(at))
    }

    /// Creates an endpoint through a member.
    pub(crate) async fn put_endpoint(&self, at: usize, name: &str) -> Result<u64, Error> {
        let put = self.endpoints(at).put(endpoint_request(name, &fresh_id())).await;
        put.map(|done| done.into_inner().revision).map_err(|status| from_status(&status))
    }

    /// Creates a deployment through a member.
    pub(crate) async fn put_deployment(&self, at: usize, endpoint: &str, name: &str, count: u32) -> Result<u64, Error> {
        let put = self.deployments(at).put(deployment_request(endpoint, name, count)).await;
        put.map(|done| done.into_inner().revision).map_err(|status| from_status(&status))
    }

    /// Waits until a member's state passes a test.
    pub(crate) async fn until(
        &self,
        at: usize,
        what: &str,
        mut test: impl FnMut(&berth_core::state::ClusterState) -> bool,
    ) -> LogIndex {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = LogIndex(0);
        loop {
            let (done, applied) = self.handle(at).read(|state| (test(state), state.applied));
            if done {
                return applied;
            }
            assert!(Instant::now() < deadline, "{what} did not come true; applied {applied}, {seen}");
            let next = tokio::time::timeout(
                Duration::from_millis(200),
                self.handle(at).raft().wait_applied(applied.next(), deadline),
            );
            seen = next.await.map_or(seen, |index| index.unwrap_or(seen));
        }
    }
}

// === impl Coordinator ===

impl Coordinator {
    pub(crate) fn handle(&self) -> &CoordinatorHandle {
        &self.running.as_ref().expect("running").handle
    }

    pub(crate) fn options(&self, listener: Option<TcpListener>) -> CoordinatorOptions {
        let mut options = CoordinatorOptions::new(&self.data_dir, self.formation.clone());
        options.key_file = Some(self.key.clone());
        options.listen = self.address;
        options.listener = listener;
        options.scrub_interval = Duration::from_secs(3_600);
        (self.tune)(&mut options);
        options
    }

    pub(crate) async fn start(&mut self, listener: Option<TcpListener>) {
        let service = CoordinatorService::open(self.options(listener)).await.expect("the coordinator opens");
        let handle = service.handle();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(service.run(async move { drop(stopped.await) }));
        self.running = Some(Running { handle, stop, ended });
    }

    pub(crate) async fn stop(&mut self) {
        let Running { stop, ended, .. } = self.running.take().expect("running");
        drop(stop);
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("it stops in time")
            .expect("no panic")
            .expect("a clean stop");
    }
}

pub(crate) fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy()
}

/// Makes a request id no other test uses.
pub(crate) fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn endpoint_request(name: &str, request_id: &str) -> PutEndpointRequest {
    PutEndpointRequest {
        request_id: request_id.to_owned(),
        name: name.to_owned(),
        spec: Some(endpoint_spec_message(&EndpointSpec::default())),
        ..PutEndpointRequest::default()
    }
}

pub(crate) fn deployment_request(endpoint: &str, name: &str, count: u32) -> PutDeploymentRequest {
    let mut spec = spec();
    spec.instance_count = count;
    PutDeploymentRequest {
        request_id: fresh_id(),
        endpoint: endpoint.to_owned(),
        name: name.to_owned(),
        spec: Some(deployment_spec_message(&spec)),
        ..PutDeploymentRequest::default()
    }
}

/// Returns a small deployment that needs no assets.
pub(crate) fn spec() -> berth_core::model::DeploymentSpec {
    let mut spec = berth_core::model::DeploymentSpec::new(berth_core::model::Runtime::Command(vec!["serve".into()]));
    spec.resources = berth_core::units::Resources { cpu_milli: 100, memory_mib: 64, disk_mib: 0, gpus: 0 };
    spec
}
