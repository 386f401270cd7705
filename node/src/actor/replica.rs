//! The actor of one replica: does what the agent decided and tells what came of it.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    agent::{Effect, Fault, Input, Process, Remedy, ReplicaOrder},
    error::{Code, Error},
    id::ReplicaId,
    time::Millis,
};
use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinHandle;

use super::World;
use crate::{
    probe,
    process::{end_replica, logs::Log, signal_group, start_ticks, watch_leader},
    runtime::{self, Layout, PrepareLog},
};

/// An effect for this replica.
pub(super) struct ReplicaMsg(pub(super) Effect);

pub(super) struct ReplicaActor;

pub(super) struct State {
    replica: ReplicaId,
    world: Arc<World>,
    layout: Layout,
    /// Fetching or building; replaced by the next, and cancelled before files are removed.
    preparing: Option<Task>,
    /// A launch and the watch over what it made.
    running: Option<Task>,
    /// Questions to the process; each ends within its timeout.
    asking: BTreeMap<&'static str, Task>,
    processes: Processes,
}

/// Processes by launch, as long as any of their group is left.
type Processes = Arc<Mutex<BTreeMap<u64, Process>>>;

/// A task that ends with its owner.
pub(super) struct Task(JoinHandle<()>);

// === impl ReplicaActor ===

impl Actor for ReplicaActor {
    type Msg = ReplicaMsg;
    type State = State;
    type Arguments = (Arc<World>, ReplicaId);

    async fn pre_start(
        &self,
        _: ActorRef<ReplicaMsg>,
        (world, replica): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let layout = Layout::new(&world.home, replica);
        Ok(State {
            replica,
            world,
            layout,
            preparing: None,
            running: None,
            asking: BTreeMap::new(),
            processes: Processes::default(),
        })
    }

    async fn handle(
        &self,
        me: ActorRef<ReplicaMsg>,
        ReplicaMsg(effect): ReplicaMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.act(&me, effect);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<ReplicaMsg>,
        _: SupervisionEvent,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // It has no children; the default would stop it.
        Ok(())
    }
}

// === impl State ===

impl State {
    fn act(&mut self, me: &ActorRef<ReplicaMsg>, effect: Effect) {
        match effect {
            Effect::FetchAssets { order } => self.fetch(order),
            Effect::BuildEnvironment { order } => self.build(order),
            Effect::Launch { order, attempt } => self.launch(order, attempt),
            Effect::Adopt { attempt, process, .. } => self.adopt(attempt, process),
            Effect::Probe { replica, attempt, kind, target, port, timeout } => {
                let answered = move |answer| Input::ProbeAnswered { replica, attempt, kind, answer };
                self.ask(kind.word(), port, target, timeout, answered);
            }
            Effect::WarmUp { replica, attempt, target, port, timeout } => {
                let answered = move |answer| Input::WarmedUp { replica, attempt, answer };
                self.ask("warm-up", port, target, timeout, answered);
            }
            Effect::Kill { attempt, signal, .. } => {
                let process = self.processes.lock().unwrap_or_else(PoisonError::into_inner).get(&attempt).copied();
                if let Some(process) = process {
                    signal_group(process.pid, signal);
                }
            }
            Effect::RemoveFiles { .. } => self.remove(me),
            // These are for the agent's own actor.
            Effect::Publish { .. }
            | Effect::Withdraw { .. }
            | Effect::AskGate { .. }
            | Effect::Report(_)
            | Effect::Prefetch { .. }
            | Effect::CancelPrefetch { .. }
            | Effect::ReportPrefetches(_)
            | Effect::SaveLedger(_)
            | Effect::Refuse { .. } => {}
        }
    }

    fn fetch(&mut self, order: Arc<ReplicaOrder>) {
        let (world, layout, replica) = (Arc::clone(&self.world), self.layout.clone(), self.replica);
        self.preparing = Some(tell(&self.world, async move {
            let log = PrepareLog::new(&layout, replica, &world.progress);
            let work = AssertUnwindSafe(runtime::fetch(&order, &layout, &world.cache, &log)).catch_unwind();
            match work.await.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(()) => Input::AssetsReady { replica },
                Err(error) => {
                    log.line(&error.to_string());
                    Input::AssetsFailed { replica, fault: fault(&error) }
                }
            }
        }));
    }

    fn build(&mut self, order: Arc<ReplicaOrder>) {
        let (world, layout, replica) = (Arc::clone(&self.world), self.layout.clone(), self.replica);
        self.preparing = Some(tell(&self.world, async move {
            let log = PrepareLog::new(&layout, replica, &world.progress);
            let work = AssertUnwindSafe(world.environments.obtain(&order.spec, &log)).catch_unwind();
            match work.await.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(_) => Input::EnvironmentReady { replica },
                Err(error) => {
                    log.line(&error.to_string());
                    Input::EnvironmentFailed { replica, fault: fault(&error) }
                }
            }
        }));
    }

    fn launch(&mut self, order: Arc<ReplicaOrder>, attempt: u64) {
        let (world, layout, replica) = (Arc::clone(&self.world), self.layout.clone(), self.replica);
        let processes = Arc::clone(&self.processes);
        self.running = Some(Task(tokio::spawn(async move {
            let output = Log::new(layout.output());
            let from = output.end().unwrap_or(0);
            let started = AssertUnwindSafe(start(&world, &layout, &order)).catch_unwind().await;
            let process = match started.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(process) => process,
                Err(error) => {
                    world.agent.tell(Input::StartFailed { replica, attempt, fault: fault(&error) });
                    return;
                }
            };
            processes.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt, process);
            tracing::info!(%replica, attempt, pid = process.pid, port = process.port, "process started");
            world.agent.tell(Input::Started { replica, attempt, process });
            until_gone(&world, &layout, replica, attempt, process, from, &processes).await;
        })));
    }

    fn adopt(&mut self, attempt: u64, process: Process) {
        let (world, layout, replica) = (Arc::clone(&self.world), self.layout.clone(), self.replica);
        let processes = Arc::clone(&self.processes);
        processes.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt, process);
        tracing::info!(%replica, attempt, pid = process.pid, "process adopted");
        self.running = Some(Task(tokio::spawn(async move {
            until_gone(&world, &layout, replica, attempt, process, 0, &processes).await;
        })));
    }

    fn ask(
        &mut self,
        what: &'static str,
        port: u16,
        target: berth_core::agent::ProbeTarget,
        timeout: Millis,
        answered: impl FnOnce(Result<(), String>) -> Input + Send + 'static,
    ) {
        let question = async move {
            let asked = AssertUnwindSafe(probe::ask(port, &target, timeout)).catch_unwind().await;
            answered(asked.unwrap_or_else(|panic| Err(panicked(&*panic).to_string())))
        };
        self.asking.insert(what, tell(&self.world, question));
    }

    fn remove(&mut self, me: &ActorRef<ReplicaMsg>) {
        self.preparing = None;
        self.asking.clear();
        let (world, layout, replica, me) = (Arc::clone(&self.world), self.layout.clone(), self.replica, me.clone());
        // On its own: this actor ends when the files are gone.
        tokio::spawn(async move {
            let removed = tokio::task::spawn_blocking(move || layout.remove()).await;
            let answer = match removed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if answer.is_ok() {
                me.stop(Some("nothing of the replica is left".to_owned()));
            }
            world.agent.tell(Input::FilesRemoved { replica, answer });
        });
    }
}

/// Runs `work` and tells the agent what came of it.
pub(super) fn tell(world: &Arc<World>, work: impl Future<Output = Input> + Send + 'static) -> Task {
    let agent = world.agent.clone();
    Task(tokio::spawn(async move { agent.tell(work.await) }))
}

/// Starts the process of a replica on a free port.
async fn start(world: &World, layout: &Layout, order: &ReplicaOrder) -> Result<Process, Error> {
    layout.create()?;
    let environment = world.environments.find(&order.spec).await?;
    let internal = |error: std::io::Error| Error::new(Code::Internal, "no port for a replica").why(error.to_string());
    let port = world.ports.take().map_err(internal)?;
    let started = async {
        let spawn = world.host.spawn(order, layout, environment.as_deref(), port)?;
        let program = spawn.argv.first().cloned().unwrap_or_default();
        let pid = world.spawner.spawn(spawn).await.map_err(|error| {
            Error::new(Code::ReplicaStart, format!("`{program}` could not be started")).why(error.to_string())
        })?;
        // Nobody has waited for it, so even one that ended at once is still listed.
        let start_ticks = start_ticks(pid).ok_or_else(|| Error::new(Code::ReplicaStart, "the process vanished"))?;
        Ok(Process { pid, start_ticks, port })
    };
    let started = started.await;
    if started.is_err() {
        world.ports.release(port);
    }
    started
}

/// Waits until nothing of a process is left, and says so.
async fn until_gone(
    world: &World,
    layout: &Layout,
    replica: ReplicaId,
    attempt: u64,
    process: Process,
    log_from: u64,
    processes: &Processes,
) {
    let how = watch_leader(process.pid, process.start_ticks).await;
    end_replica(Some(process.pid), layout.root()).await;
    processes.lock().unwrap_or_else(PoisonError::into_inner).remove(&attempt);
    world.ports.release(process.port);
    let output = Log::new(layout.output());
    let log_tail = match log_from {
        0 => output.last_words(),
        from => output.last_words_from(from),
    };
    tracing::info!(%replica, attempt, pid = process.pid, how, "process ended");
    world.agent.tell(Input::Exited { replica, attempt, how, log_tail });
}

/// Says what may help against an error.
pub(super) fn fault(error: &Error) -> Fault {
    let remedy = match error.code {
        Code::DiskFull => Remedy::Elsewhere,
        Code::NoLeader | Code::Unavailable | Code::Timeout | Code::Unknown | Code::Unauthenticated => Remedy::Wait,
        Code::Environment | Code::Invalid | Code::ModelUnreadable => Remedy::Change,
        _ => Remedy::Retry,
    };
    let mut reason = format!("{}: {}", error.code, error.what);
    if !error.why.is_empty() {
        reason = format!("{reason}\n{}", error.why);
    }
    Fault { remedy, reason }
}

pub(super) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::new(Code::Internal, "the node's own code panicked").why(words)
}

// === impl Task ===

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
