//! The demo: the main job from nothing to a report, with real processes and real digits.
//!
//! Three coordinators and three nodes, a scoring script (`blue`) and an ONNX file (`green`) behind one endpoint, 360
//! held-out images sent open-loop while traffic moves, is mirrored, and a node dies with its replicas half way.

mod files;
mod report;
mod stage;

pub use report::DemoReport;

use std::{path::PathBuf, process::Stdio, time::Duration};

use crate::fleet::{Fleet, FleetOptions};

use files::Digits;

/// How long the cluster may take to come up: six processes on a busy laptop.
const CLUSTER_WITHIN: Duration = Duration::from_secs(60);

/// What the demo is run with.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The `berth` binary; every process of the cluster is one of it.
    pub berth: PathBuf,
    /// Where everything is put; a fresh temporary folder when absent.
    pub dir: Option<PathBuf>,
    /// Images sent per second.
    pub rate_per_second: u64,
    /// How long a deployment may take to serve; the first one builds a Python environment.
    pub deploy_within: Duration,
}

/// Why the demo could not finish.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file could not be written or read.
    #[error("could not prepare the example's files")]
    Files(#[from] std::io::Error),
    /// The cluster did not come up or did not reach a state.
    #[error(transparent)]
    Fleet(#[from] crate::fleet::FleetError),
    /// A call was refused.
    #[error(transparent)]
    Call(#[from] berth_core::error::Error),
}

/// Runs the demo. `say` is given one line per step, for people.
pub async fn run(options: DemoOptions, mut say: impl FnMut(&str)) -> Result<DemoReport, DemoError> {
    let (dir, _kept) = match options.dir.clone() {
        Some(dir) => (dir, None),
        None => {
            let dir = tempfile::Builder::new().prefix("berth-demo-").tempdir()?;
            (dir.path().to_owned(), Some(dir))
        }
    };
    let digits = Digits::unpack(&dir.join("digits"))?;
    let python = has_python();
    if !python {
        say("no Python 3.9 to 3.13 with the venv module here: green, which needs none, stands in for blue as well");
    }
    say("starting three coordinators and three nodes as six processes");
    let mut fleet = Fleet::start(FleetOptions {
        tls: None,
        berth: options.berth.clone(),
        dir: dir.join("cluster"),
        coordinators: 3,
        nodes: stage::NODES,
        // Azure's sample sizes have four cores; a laptop has fewer, and digits need almost none.
        capacity: "cpu=16,memory=64GiB,disk=64GiB".to_owned(),
        // One host has one copy of an environment, however many nodes it plays.
        front: None,
        node_args: vec!["--env-dir".to_owned(), dir.join("envs").display().to_string()],
        fake_gpus: None,
        env: Default::default(),
    })?;
    let client = fleet.ready(CLUSTER_WITHIN).await?;
    stage::Show { fleet: &mut fleet, client: &client, digits: &digits, options: &options, python, say: &mut say }
        .play()
        .await
}

/// Returns whether a Python environment can be built here, of a Python that the pickled model's scikit-learn has wheels for.
fn has_python() -> bool {
    let venv = std::process::Command::new("python3")
        .args(["-c", "import sys, venv, ensurepip; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    venv.is_ok_and(|status| status.success())
}
