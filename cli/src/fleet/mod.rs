//! A cluster of real processes on this host: what the demo shows and what the chaos tests kill.
//!
//! Every process has its own data directory and its own log file below one folder, listens on loopback alone, and dies
//! with the [`Fleet`].

mod addresses;
mod process;

pub use berth_node::gpu::fake::{FakeGpus, FakeHost};
pub use process::Daemon;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_client::{Client, ClientOptions, Error, Trust, TrustFiles};
use berth_proto::tls::ServerFiles;
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::time::{Instant, sleep_until};

/// How often a condition is looked at again. Waits end on the condition or their deadline, never on this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What to start.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The `berth` binary.
    pub berth: PathBuf,
    /// Where every process keeps its data and log.
    pub dir: PathBuf,
    /// Coordinators: 1, 3 or 5.
    pub coordinators: usize,
    /// Nodes.
    pub nodes: usize,
    /// What each node declares to have, as `--capacity` takes it.
    pub capacity: String,
    /// More arguments for every node.
    pub node_args: Vec<String>,
    /// Where nodes find the coordinators, when something lies in front of them.
    pub front: Option<SocketAddr>,
    /// What GPUs every node pretends to have, if any: `2x80GiB:H100`.
    pub fake_gpus: Option<FakeGpus>,
    /// Variables for every process.
    pub env: BTreeMap<String, String>,
    /// TLS of the coordinators, and of who calls them; plain HTTP when absent.
    pub tls: Option<FleetTls>,
}

/// What the processes of a cluster show each other.
#[derive(Clone, Debug)]
pub struct FleetTls {
    /// What every coordinator shows, and whom it lets in.
    pub coordinators: ServerFiles,
    /// Whom members, nodes and clients believe, and what the latter two show.
    pub trust: TrustFiles,
    /// Whether coordinators begin with it; without, each speaks it once [`Fleet::secure_coordinator`] has said so.
    pub from_start: bool,
}

/// A running cluster.
pub struct Fleet {
    options: FleetOptions,
    addresses: Vec<SocketAddr>,
    /// Kept across restarts, as a host's ports are.
    node_addresses: Vec<NodeAddresses>,
    coordinators: Vec<Daemon>,
    /// Which of them speak TLS.
    secured: Vec<bool>,
    nodes: Vec<Daemon>,
    /// The pretended GPUs of every node.
    gpus: Vec<FakeHost>,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
struct NodeAddresses {
    ingress: SocketAddr,
    gate: SocketAddr,
    metrics: SocketAddr,
}

/// Why a cluster could not be started or brought to a state.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A process could not be started or signalled.
    #[error("could not run {what}")]
    Process {
        /// Which one.
        what: String,
        /// The host's reason.
        #[source]
        source: io::Error,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {within:?}; the logs are in {dir}")]
    Deadline {
        /// The condition.
        what: String,
        /// How long was waited.
        within: Duration,
        /// Where the logs are.
        dir: PathBuf,
    },
}

// === impl Fleet ===

impl Fleet {
    /// Starts every process and returns at once; wait with [`Fleet::ready`].
    pub fn start(options: FleetOptions) -> Result<Self, FleetError> {
        let source = |source| FleetError::Process { what: "the cluster".to_owned(), source };
        std::fs::create_dir_all(&options.dir).map_err(source)?;
        let mut addresses = addresses::free(options.coordinators + 3 * options.nodes).map_err(source)?;
        let node_addresses = addresses.split_off(options.coordinators);
        let node_addresses = node_addresses.chunks_exact(3);
        let node_addresses =
            node_addresses.map(|a| NodeAddresses { ingress: a[0], gate: a[1], metrics: a[2] }).collect();
        let (coordinators, nodes, gpus) = (Vec::new(), Vec::new(), Vec::new());
        let secured = vec![options.tls.as_ref().is_some_and(|tls| tls.from_start); options.coordinators];
        let mut fleet = Self { addresses, node_addresses, coordinators, secured, nodes, gpus, options };
        for n in 0..fleet.options.coordinators {
            let daemon = fleet.spawn_coordinator(n)?;
            fleet.coordinators.push(daemon);
            if n == 0 {
                // The first coordinator makes the cluster key that all the others need.
                fleet.await_key()?;
            }
        }
        if let Some(gpus) = &fleet.options.fake_gpus {
            let install = |n| {
                let name = Self::node_name(n);
                FakeHost::install(&fleet.options.dir.join(&name).join("gpus"), &gpus.script(&name))
            };
            fleet.gpus = (0..fleet.options.nodes).map(install).collect::<io::Result<_>>().map_err(source)?;
        }
        for n in 0..fleet.options.nodes {
            let daemon = fleet.spawn_node(n)?;
            fleet.nodes.push(daemon);
        }
        Ok(fleet)
    }

    /// Returns the addresses of the coordinators.
    pub fn api_addresses(&self) -> Vec<String> {
        let schemes = self.secured.iter().map(|secured| if *secured { "https://" } else { "" });
        self.addresses.iter().zip(schemes).map(|(address, scheme)| format!("{scheme}{address}")).collect()
    }

    /// Returns the folder with every data directory and log.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Returns a coordinator's process.
    pub fn coordinator(&self, n: usize) -> &Daemon {
        &self.coordinators[n]
    }

    /// Returns a node's process.
    pub fn node(&self, n: usize) -> &Daemon {
        &self.nodes[n]
    }

    /// Returns the ingress of node `n`.
    pub fn ingress(&self, n: usize) -> SocketAddr {
        self.node_addresses[n].ingress
    }

    /// Returns where the metrics of node `n` are read.
    pub fn metrics(&self, n: usize) -> SocketAddr {
        self.node_addresses[n].metrics
    }

    /// Returns the GPUs that node `n` pretends to have.
    pub fn gpus(&self, n: usize) -> Option<&FakeHost> {
        self.gpus.get(n)
    }

    /// Returns the name of node `n`.
    pub fn node_name(n: usize) -> String {
        format!("node-{}", n + 1)
    }

    /// Kills a coordinator as a power cut would.
    pub fn kill_coordinator(&mut self, n: usize) -> Result<(), FleetError> {
        self.coordinators[n].kill()
    }

    /// Starts a killed coordinator again, on its data.
    pub fn restart_coordinator(&mut self, n: usize) -> Result<(), FleetError> {
        self.coordinators[n].kill()?;
        self.coordinators[n] = self.spawn_coordinator(n)?;
        Ok(())
    }

    /// Starts a coordinator again, with TLS from then on.
    pub fn secure_coordinator(&mut self, n: usize) -> Result<(), FleetError> {
        self.secured[n] = true;
        self.restart_coordinator(n)
    }

    /// Kills a node's agent and leaves its replicas running.
    pub fn kill_agent(&mut self, n: usize) -> Result<(), FleetError> {
        self.nodes[n].kill()
    }

    /// Kills a node's agent and the process groups of its replicas, as the end of a host would.
    pub fn kill_node(&mut self, n: usize, replica_pids: &[u32]) -> Result<(), FleetError> {
        self.nodes[n].kill()?;
        for pid in replica_pids.iter().filter_map(|pid| i32::try_from(*pid).ok()).filter(|pid| *pid > 1) {
            // A replica that ended by itself is as dead as it needs to be.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        Ok(())
    }

    /// Asks a node's agent to end, as an operator or a service manager does, and waits until it has.
    pub async fn stop_node(&mut self, n: usize, within: Duration) -> Result<(), FleetError> {
        self.nodes[n].signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + within;
        while self.nodes[n].is_running() {
            if Instant::now() >= deadline {
                let what = format!("the end of {}", self.nodes[n].name());
                return Err(FleetError::Deadline { what, within, dir: self.options.dir.clone() });
            }
            sleep_until((Instant::now() + LOOK_AGAIN).min(deadline)).await;
        }
        Ok(())
    }

    /// Starts a killed node again, on its data.
    pub fn restart_node(&mut self, n: usize) -> Result<(), FleetError> {
        self.nodes[n].kill()?;
        self.nodes[n] = self.spawn_node(n)?;
        Ok(())
    }

    /// Waits until every node is ready and returns a client.
    pub async fn ready(&self, within: Duration) -> Result<Client, FleetError> {
        let client = self.client(within).await?;
        let wanted = self.options.nodes;
        self.wait("every node is ready", within, async || {
            let nodes = client.list_nodes().await.unwrap_or_default();
            nodes.iter().filter(|node| node.state == "ready").count() >= wanted
        })
        .await?;
        Ok(client)
    }

    /// Connects to the coordinators.
    pub async fn client(&self, within: Duration) -> Result<Client, FleetError> {
        let deadline = Instant::now() + within;
        let options = || -> Result<ClientOptions, Error> {
            let mut options = ClientOptions::new(self.api_addresses())?;
            options.trust = self.options.tls.as_ref().map(|tls| Trust::open(&tls.trust)).transpose()?;
            Ok(options)
        };
        loop {
            if let Ok(options) = options() {
                let client = Client::new(options);
                if client.cluster_info().await.is_ok() {
                    return Ok(client);
                }
            }
            if Instant::now() >= deadline {
                return Err(self.late("the coordinators answer", within));
            }
            sleep_until(Instant::now() + LOOK_AGAIN).await;
        }
    }

    /// Looks at a condition until it holds or the time is over.
    pub async fn wait(
        &self,
        what: &str,
        within: Duration,
        mut holds: impl AsyncFnMut() -> bool,
    ) -> Result<(), FleetError> {
        let deadline = Instant::now() + within;
        while !holds().await {
            if Instant::now() >= deadline {
                return Err(self.late(what, within));
            }
            sleep_until(Instant::now() + LOOK_AGAIN).await;
        }
        Ok(())
    }

    fn late(&self, what: &str, within: Duration) -> FleetError {
        FleetError::Deadline { what: what.to_owned(), within, dir: self.options.dir.clone() }
    }

    fn key_file(&self) -> PathBuf {
        self.options.dir.join("cluster.key")
    }

    /// Returns the file with the cluster's lasting node token.
    pub fn token_file(&self) -> PathBuf {
        self.options.dir.join("coordinator-1").join("node.token")
    }

    fn await_key(&self) -> Result<(), FleetError> {
        let within = Duration::from_secs(20);
        let deadline = std::time::Instant::now() + within;
        while !self.key_file().exists() || !self.token_file().exists() {
            if std::time::Instant::now() >= deadline {
                return Err(self.late("the first coordinator made the cluster key", within));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn spawn_coordinator(&self, n: usize) -> Result<Daemon, FleetError> {
        let name = format!("coordinator-{}", n + 1);
        // One that speaks TLS is told of no other without.
        let peers = match self.secured[n] {
            true => self.addresses.iter().map(|address| format!("https://{address}")).collect(),
            false => self.api_addresses(),
        };
        let args = vec![
            "coordinator".to_owned(),
            "--data-dir".to_owned(),
            self.options.dir.join(&name).display().to_string(),
            "--cluster-key".to_owned(),
            self.key_file().display().to_string(),
            "--api".to_owned(),
            self.addresses[n].to_string(),
            "--bootstrap-expect".to_owned(),
            self.options.coordinators.to_string(),
            "--peers".to_owned(),
            peers.join(","),
        ];
        let front = self.options.front.iter().flat_map(|front| ["--advertise".to_owned(), front.to_string()]);
        let mut args: Vec<_> = args.into_iter().chain(front).collect();
        if let Some(FleetTls { coordinators: ServerFiles { own, client_ca }, trust, .. }) = &self.options.tls {
            let mut files = vec![("--ca", &trust.ca)];
            if self.secured[n] {
                files.extend([("--tls-cert", &own.cert), ("--tls-key", &own.key)]);
                files.extend(client_ca.iter().map(|ca| ("--tls-client-ca", ca)));
            }
            args.extend(files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]));
        }
        Daemon::spawn(&self.options, &name, &args)
    }

    /// Starts a newer process of a node, which takes over from the one that runs; returns that one, which ends by itself.
    pub fn succeed_node(&mut self, n: usize) -> Result<Daemon, FleetError> {
        let newer = self.spawn_node_with(n, &["--take-over"])?;
        Ok(std::mem::replace(&mut self.nodes[n], newer))
    }

    fn spawn_node(&self, n: usize) -> Result<Daemon, FleetError> {
        self.spawn_node_with(n, &[])
    }

    fn spawn_node_with(&self, n: usize, more: &[&str]) -> Result<Daemon, FleetError> {
        let name = Self::node_name(n);
        let mut args = vec![
            "node".to_owned(),
            "--name".to_owned(),
            name.clone(),
            "--data-dir".to_owned(),
            self.options.dir.join(&name).display().to_string(),
            "--token-file".to_owned(),
            self.token_file().display().to_string(),
            "--coordinators".to_owned(),
            self.options.front.map_or_else(|| self.api_addresses().join(","), |front| front.to_string()),
            "--ingress".to_owned(),
            self.node_addresses[n].ingress.to_string(),
            "--gate".to_owned(),
            self.node_addresses[n].gate.to_string(),
            "--metrics".to_owned(),
            self.node_addresses[n].metrics.to_string(),
            "--capacity".to_owned(),
            self.options.capacity.clone(),
        ];
        if let Some(gpus) = self.gpus.get(n) {
            args.extend(["--nvml-lib".to_owned(), gpus.library().display().to_string()]);
        }
        if let Some(TrustFiles { ca, own }) = self.options.tls.as_ref().map(|tls| &tls.trust) {
            let own = own.iter().flat_map(|own| [("--client-cert", &own.cert), ("--client-key", &own.key)]);
            let files = [("--ca", ca)].into_iter().chain(own);
            args.extend(files.flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]));
        }
        args.extend(self.options.node_args.iter().cloned());
        args.extend(more.iter().map(|word| (*word).to_owned()));
        Daemon::spawn(&self.options, &name, &args)
    }
}

impl Drop for Fleet {
    /// Ends the agents first, so that none of them starts again what is ended next.
    fn drop(&mut self) {
        self.nodes.clear();
        self.coordinators.clear();
        end_replicas_below(&self.options.dir);
    }
}

/// Ends the replicas that a killed agent leaves running by design. Each carries its own folder in its environment.
pub fn end_replicas_below(dir: &Path) {
    let mark = format!("BERTH_REPLICA_ROOT={}/", dir.display());
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let ours = environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()));
        if let Some(pid) = pid.filter(|_| ours) {
            // One that ended meanwhile is what was wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
