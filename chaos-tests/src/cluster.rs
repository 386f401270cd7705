//! A cluster under test: the fleet, a client, an endpoint with the echo model, and load on it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use berth_cli::{
    fleet::{FakeGpus, Fleet, FleetOptions, FleetTls},
    load::{LoadOptions, LoadReport},
};
use berth_client::{Client, InferClient, api};
use berth_core::{
    model::{AuthMode, DeploymentSpec, EndpointSpec, Runtime},
    units::Resources,
};
use hyper::{HeaderMap, body::Bytes};
use tempfile::TempDir;

use crate::{feed::FaultyFeed, load::Load, seed::Seed};

/// How long a cluster may take to come up, or a step to take effect, on a busy two-core machine.
pub const WITHIN: Duration = Duration::from_secs(60);

/// The endpoint of every test.
pub const ENDPOINT: &str = "echo-ep";

/// A cluster under test.
pub struct Cluster {
    /// The processes.
    pub fleet: Fleet,
    /// A client of all coordinators.
    pub client: Client,
    /// What the test leaves to chance.
    pub seed: Seed,
    berth: PathBuf,
    // Last, so that the processes are gone before their folder.
    _dir: TempDir,
}

/// What the processes are told beside what every test's are.
#[derive(Default)]
struct Told {
    node_args: Vec<String>,
    env: BTreeMap<String, String>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts coordinators and nodes and waits until they are ready.
    pub async fn start(berth: &str, coordinators: usize, nodes: usize) -> Self {
        Self::start_with(berth, coordinators, nodes, Vec::new()).await
    }

    /// Starts them with more arguments for every node.
    pub async fn start_with(berth: &str, coordinators: usize, nodes: usize, node_args: Vec<String>) -> Self {
        Self::start_told(berth, coordinators, nodes, node_args, BTreeMap::new()).await
    }

    /// Starts them with more arguments for every node, and variables for every process.
    pub async fn start_told(
        berth: &str,
        coordinators: usize,
        nodes: usize,
        node_args: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Self {
        Self::start_all(berth, coordinators, nodes, Told { node_args, env }, None, None, None).await
    }

    /// Starts them with TLS between everybody and the coordinators.
    pub async fn start_over_tls(berth: &str, coordinators: usize, nodes: usize, tls: FleetTls) -> Self {
        Self::start_all(berth, coordinators, nodes, Told::default(), None, None, Some(tls)).await
    }

    /// Starts one coordinator and nodes that pretend to have GPUs, as `berth dev --fake-gpus` takes them.
    pub async fn start_with_gpus(berth: &str, nodes: usize, gpus: &str) -> Self {
        let gpus = gpus.parse().expect("GPUs as people write them");
        Self::start_all(berth, 1, nodes, Told::default(), Some(gpus), None, None).await
    }

    /// Starts one coordinator that nodes reach through a wire only, which may be made faulty for the last of them.
    pub async fn start_behind(berth: &str, nodes: usize, wire: &FaultyFeed) -> Self {
        let cluster = Self::start_all(berth, 1, nodes, Told::default(), None, Some(wire), None).await;
        let known = cluster.client.list_nodes().await.expect("the nodes are listed");
        let mut ids = known.iter().map(|node| (&node.node, u64::from_str_radix(&node.id, 16).expect("an id")));
        wire.spoil(ids.by_ref().max().expect("a node").1);
        cluster
    }

    async fn start_all(
        berth: &str,
        coordinators: usize,
        nodes: usize,
        told: Told,
        fake_gpus: Option<FakeGpus>,
        front: Option<&FaultyFeed>,
        tls: Option<FleetTls>,
    ) -> Self {
        let seed = Seed::of_this_run();
        let dir = tempfile::Builder::new().prefix("berth-chaos-").tempdir().expect("a temporary folder");
        let fleet = Fleet::start(FleetOptions {
            berth: berth.into(),
            dir: dir.path().to_owned(),
            coordinators,
            nodes,
            capacity: "cpu=16,memory=32GiB,disk=32GiB".to_owned(),
            node_args: told.node_args,
            front: front.map(FaultyFeed::address),
            fake_gpus,
            env: told.env,
            tls,
        });
        let fleet = fleet.expect("the processes start");
        if let (Some(wire), Some(coordinator)) = (front, fleet.api_addresses().first()) {
            wire.lead_to(coordinator.parse().expect("an address"));
        }
        let client = match fleet.ready(WITHIN).await {
            Ok(client) => client,
            Err(error) => panic!("{error}\n{}", logs(&fleet)),
        };
        Self { fleet, client, seed, berth: berth.into(), _dir: dir }
    }

    /// Creates the endpoint, open to everyone, whose requests may be repeated.
    pub async fn endpoint(&self) {
        let spec = EndpointSpec { auth_mode: AuthMode::None, idempotent: Some(true), ..EndpointSpec::default() };
        self.put_endpoint(ENDPOINT, &spec).await;
    }

    /// Deploys the echo model and waits until all instances serve.
    pub async fn deploy(&self, name: &str, instances: u32) {
        let mut spec = self.command(&["echo-model"]);
        spec.instance_count = instances;
        spec.request_settings.max_concurrent_requests_per_instance = 64;
        self.put(ENDPOINT, name, &spec).await;
        self.serving(name, instances as usize).await;
    }

    /// Returns the binary under test.
    pub fn berth(&self) -> &Path {
        &self.berth
    }

    /// Describes a small deployment of one of the models this binary can be.
    pub fn command(&self, words: &[&str]) -> DeploymentSpec {
        command(&self.berth.display().to_string(), words)
    }

    /// Creates or changes a deployment.
    pub async fn put(&self, endpoint: &str, name: &str, spec: &DeploymentSpec) {
        put(&self.client, endpoint, name, spec).await;
    }

    /// Creates or changes an endpoint.
    pub async fn put_endpoint(&self, name: &str, spec: &EndpointSpec) {
        put_endpoint(&self.client, name, spec).await;
    }

    /// Sets an endpoint's split, and waits until the routers that listen have it: a request before that is answered by
    /// the split before.
    pub async fn split_of(&self, endpoint: &str, shares: &[(&str, u32)]) {
        let shares = shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
        self.client.set_traffic(endpoint, Some(shares), None).await.expect("the split is taken");
        let behind = self.client.await_routers(endpoint, WITHIN).await.expect("the routers are shown");
        assert!(behind.is_empty(), "{behind:?} did not take the split");
    }

    /// Waits until a deployment has this many serving replicas.
    pub async fn serving(&self, name: &str, instances: usize) {
        self.until(&format!("{name} has {instances} serving replicas"), async || {
            let replicas = self.client.list_replicas(ENDPOINT, name).await.unwrap_or_default();
            replicas.iter().filter(|replica| replica.state == "serving").count() == instances
        })
        .await;
    }

    /// Waits until every node's ingress has the endpoint answered.
    pub async fn routed(&self) {
        for ingress in self.ingresses().await {
            let caller = InferClient::new([ingress.to_string()], ENDPOINT).expect("a client");
            self.until(&format!("{ingress} routes"), async || {
                caller.score("x".to_owned()).await.is_ok_and(|answer| answer.status.is_success())
            })
            .await;
        }
    }

    /// Sets the split.
    pub async fn split(&self, shares: &[(&str, u32)]) {
        self.split_of(ENDPOINT, shares).await;
    }

    /// Waits for a condition, and shows every log when it does not come true.
    pub async fn until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        self.until_within(WITHIN, what, holds).await;
    }

    /// Waits for a condition that has a reason to take longer.
    pub async fn until_within(&self, within: Duration, what: &str, holds: impl AsyncFnMut() -> bool) {
        if let Err(error) = self.fleet.wait(what, within, holds).await {
            panic!("{error}\n{}", logs(&self.fleet));
        }
    }

    /// Lists the ingress of every node.
    pub async fn ingresses(&self) -> Vec<SocketAddr> {
        let nodes = self.client.list_nodes().await.expect("the nodes are listed");
        nodes.iter().filter_map(|node| node.ingress_address.parse().ok()).collect()
    }

    /// Lists the pids of the replicas on a node.
    pub async fn pids_on(&self, node: &str) -> Vec<u32> {
        let replicas = self.client.list_replicas(ENDPOINT, "").await.expect("the replicas are listed");
        replicas.iter().filter(|replica| replica.node == node && replica.pid > 0).map(|replica| replica.pid).collect()
    }

    /// Starts an open-loop load on these ingresses; each request has its own body.
    pub fn load(&self, targets: Vec<SocketAddr>, rate_per_second: u64, total: u64) -> Load {
        let bodies: Arc<[Bytes]> = (0..total).map(|n| Bytes::from(format!("request {n}"))).collect();
        Load::start(LoadOptions {
            targets,
            path: format!("/e/{ENDPOINT}/anything"),
            headers: HeaderMap::new(),
            bodies,
            first: 0,
            total,
            rate_per_second,
            timeout: Duration::from_secs(15),
            deadline_header: None,
            in_flight_max: 2_000,
            idempotent: true,
            patient: false,
            run: "chaos".to_owned(),
        })
    }

    /// Finds which coordinator leads, by its place in the fleet.
    pub async fn leader(&self) -> usize {
        let members = self.client.list_members().await.expect("the members are listed");
        let leader = members.members.iter().find(|member| member.leader).expect("there is a leader");
        let addresses = self.fleet.api_addresses();
        addresses.iter().position(|address| *address == leader.address).expect("the leader is one of ours")
    }
}

/// Returns the binary under test of the profile this program was built with: a measurement is an example, which lies one
/// folder below the binaries.
pub fn beside_this() -> String {
    let me = std::env::current_exe().expect("the path of this program");
    let target = me.parent().and_then(std::path::Path::parent).expect("the folder of the binaries");
    let berth = target.join("berth-under-test");
    assert!(berth.exists(), "{} is missing: build the binaries of berth-chaos-tests first", berth.display());
    berth.display().to_string()
}

/// Describes a small deployment of one of the models that the binary `berth` can be.
pub fn command(berth: &str, words: &[&str]) -> DeploymentSpec {
    let argv = std::iter::once(berth).chain(words.iter().copied()).map(str::to_owned).collect();
    let mut spec = DeploymentSpec::new(Runtime::Command(argv));
    spec.instance_type = String::new();
    spec.resources = Resources { cpu_milli: 500, memory_mib: 64, ..Resources::ZERO };
    spec
}

/// Creates or changes a deployment, on any cluster.
pub async fn put(client: &Client, endpoint: &str, name: &str, spec: &DeploymentSpec) {
    let request = api::PutDeploymentRequest {
        endpoint: endpoint.to_owned(),
        name: name.to_owned(),
        spec: Some(berth_proto::api::deployment_spec_message(spec)),
        ..Default::default()
    };
    client.put_deployment(request).await.expect("the deployment is taken");
}

/// Creates or changes an endpoint, on any cluster.
pub async fn put_endpoint(client: &Client, name: &str, spec: &EndpointSpec) {
    let request = api::PutEndpointRequest {
        name: name.to_owned(),
        spec: Some(berth_proto::api::endpoint_spec_message(spec)),
        ..Default::default()
    };
    client.put_endpoint(request).await.expect("the endpoint is taken");
}

/// Asserts that every request of a load of `total` at least was answered once, with its own body.
pub fn assert_all_answered(report: &LoadReport, total: u64) {
    let sent = report.outcomes.len() as u64;
    let failures: Vec<_> = report.failures().take(10).collect();
    assert!(failures.is_empty(), "{} of {sent} failed: {failures:#?}", report.failed());
    assert!(sent >= total && report.is_complete(0, sent), "some request has no outcome or two");
    for outcome in &report.outcomes {
        let body = outcome.result.as_ref().map(|answer| answer.body.clone()).unwrap_or_default();
        assert_eq!(body, format!("request {}", outcome.number % total), "an answer went to the wrong caller");
    }
}

/// Returns the end of every process's log.
pub fn logs(fleet: &Fleet) -> String {
    let mut text = String::new();
    let mut files: Vec<_> = std::fs::read_dir(fleet.dir()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "log")) {
        let log = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        text += &format!("--- {}\n{}\n", file.display(), lines[lines.len().saturating_sub(40)..].join("\n"));
    }
    text
}
