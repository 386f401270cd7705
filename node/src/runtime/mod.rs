//! Runtimes: from an order to a folder, an environment and the words of a process.

mod command;
mod environment;
mod interpreter;
mod layout;
mod onnx;
mod pip;
mod progress;
mod python;
mod vars;

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use berth_core::{
    agent::ReplicaOrder,
    error::{Code, Error},
    id::ReplicaId,
    model::{DeploymentKey, DeploymentSpec, Runtime},
};
use berth_proto::node::v1::PrepareProgress;

use crate::{
    cache::{Cache, Sharing, mount},
    identity::io_error,
    options::NodeOptions,
    process::{
        Spawn,
        logs::{CHUNK_MAX, Chunk, Log},
    },
};

pub(crate) use environment::Environments;
pub(crate) use layout::Layout;
pub(crate) use progress::{Prepared, Progresses, does, fetches};

/// What every launch of a node has in common.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The `berth` program and its words before the options of the ONNX server.
    pub(crate) onnx_program: Vec<String>,
    /// The variables every child starts from.
    pub(crate) base_env: BTreeMap<String, String>,
    /// Whether replicas are killed by the kernel when this process dies.
    pub(crate) die_with_parent: bool,
}

/// The log of what happens before there is a process, and how far that is.
#[derive(Debug)]
pub(crate) struct PrepareLog {
    log: Log,
    of: Prepared,
    progress: Arc<Progresses>,
}

// === impl Host ===

impl Host {
    pub(crate) fn of(options: &NodeOptions) -> Self {
        let program = options.executable.display().to_string();
        Self {
            onnx_program: [program].into_iter().chain(options.onnx_command.iter().cloned()).collect(),
            base_env: options.base_env.clone(),
            die_with_parent: options.die_with_parent,
        }
    }

    /// Writes down the process of a replica. Pure: the same order, folder and port give the same process.
    pub(crate) fn spawn(
        &self,
        order: &ReplicaOrder,
        layout: &Layout,
        environment: Option<&Path>,
        port: u16,
    ) -> Result<Spawn, Error> {
        let mut env = vars::common(self, order, layout, environment, port);
        let (argv, folder) = match &order.spec.runtime {
            Runtime::Python => {
                let environment = environment.ok_or_else(|| {
                    Error::new(Code::Internal, "a Python replica was started without its environment")
                })?;
                python::process(order, layout, environment, port, &mut env)?
            }
            Runtime::Onnx => onnx::process(self, order, layout, port)?,
            Runtime::Command(argv) => command::process(argv, &order.spec, layout, port),
        };
        vars::finish(order, layout, port, &mut env);
        Ok(Spawn { argv, env, folder, output: layout.output(), die_with_parent: self.die_with_parent })
    }
}

/// Gets everything into the cache that an instance of `spec` would fetch or build.
pub(crate) async fn prefetch(
    spec: &DeploymentSpec,
    cache: &Cache,
    environments: &Environments,
    log: &PrepareLog,
) -> Result<(), Error> {
    for asset in spec.assets() {
        cache.obtain(asset, log).await?;
    }
    environments.obtain(spec, log).await.map(drop)
}

/// Fetches every asset of a replica and mounts it where its code looks for it.
pub(crate) async fn fetch(order: &ReplicaOrder, layout: &Layout, cache: &Cache, log: &PrepareLog) -> Result<(), Error> {
    let mut mounts = Vec::new();
    if let Some(code) = &order.spec.code {
        let from = cache.obtain(&code.asset, log).await?;
        mounts.push((from, layout.code(&code.asset.name), Sharing::Copied));
    }
    if let Some(model) = &order.spec.model {
        let from = cache.obtain(&model.asset, log).await?;
        let to = layout.model_dir(model, order.spec.model_mount_path.as_deref()).join(&model.asset.name);
        mounts.push((from, to, Sharing::Linked));
    }
    let layout = layout.clone();
    let work = move || {
        layout.create()?;
        mounts.into_iter().try_for_each(|(from, to, sharing)| put(&from, &to, sharing))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Internal, "mounting assets broke off").why(error.to_string()))?
}

fn put(from: &Path, to: &Path, sharing: Sharing) -> Result<(), Error> {
    let wrap = |error| io_error("cannot make", to, &error);
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(wrap)?;
    }
    mount(from, to, sharing).map_err(wrap)
}

// === impl PrepareLog ===

impl PrepareLog {
    /// Opens the log of a replica.
    pub(crate) fn new(layout: &Layout, replica: ReplicaId, progress: &Arc<Progresses>) -> Self {
        Self { log: Log::new(layout.prepare()), of: Prepared::Replica(replica), progress: Arc::clone(progress) }
    }

    /// Opens the log of what is got ready for the slots of a deployment, and forgets the last one.
    pub(crate) fn of_prefetch(home: &Path, key: &DeploymentKey, progress: &Arc<Progresses>) -> Self {
        let path = Layout::prefetch(home, key);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(path = %path.display(), %error, "an old log stays");
        }
        Self { log: Log::new(path), of: Prepared::Slots(key.clone()), progress: Arc::clone(progress) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.log.path().to_owned()
    }

    /// Returns the offset after what was written so far.
    fn end(&self) -> u64 {
        self.log.end().unwrap_or(0)
    }

    /// Reads what was written from an offset on, as far as it fits a message. What cannot be read is nothing new.
    fn read(&self, offset: u64) -> Chunk {
        self.log.read(offset, CHUNK_MAX).unwrap_or(Chunk { data: Vec::new(), next_offset: offset })
    }

    /// Says how far it is.
    pub(crate) fn at(&self, told: PrepareProgress) {
        self.progress.set(self.of.clone(), told);
    }

    /// Adds a line. A log that cannot be written must not stop what it tells of.
    pub(crate) fn line(&self, text: &str) {
        let appended = self.log.path().parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.log.path())?;
            file.write_all(format!("{text}\n").as_bytes())
        });
        if let Err(error) = appended {
            tracing::debug!(path = %self.log.path().display(), %error, "a line was not logged");
        }
    }
}

impl Drop for PrepareLog {
    fn drop(&mut self) {
        self.progress.end(&self.of);
    }
}
