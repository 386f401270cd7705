//! Starts the agent's actor and starts it again when it fails; gives up when that does not help.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use berth_core::error::{Code, Error};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use super::{
    World,
    agent::{AgentActor, AgentMsg},
};

/// Failures within the window after which another start would only fail again.
const FAILURES_MAX: usize = 5;
/// The window in which failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// How long actors may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

struct Supervisor;

struct State {
    world: Arc<World>,
    agent: ActorRef<AgentMsg>,
    failures: VecDeque<Instant>,
    fatal: watch::Sender<Option<Error>>,
}

/// The running actors.
pub(crate) struct Supervised {
    root: ActorCell,
    fatal: watch::Receiver<Option<Error>>,
}

/// Starts the actors of a node.
pub(crate) async fn supervise(world: Arc<World>) -> Result<Supervised, Error> {
    let fatal = watch::Sender::new(None);
    let watched = fatal.subscribe();
    let (root, _) = Actor::spawn(None, Supervisor, (world, fatal))
        .await
        .map_err(|error| Error::new(Code::Internal, "the agent could not be started").why(error.to_string()))?;
    Ok(Supervised { root: root.get_cell(), fatal: watched })
}

// === impl Supervised ===

impl Supervised {
    /// Completes when the agent failed for good.
    pub(crate) async fn failed(&mut self) -> Error {
        match self.fatal.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or_else(|| Error::new(Code::Internal, "the agent failed")),
            Err(_) => Error::new(Code::Internal, "the agent's supervisor ended"),
        }
    }

    /// Stops every actor and leaves the processes as they are.
    pub(crate) async fn stop(&self) {
        let stopped = self.root.stop_and_wait(Some("shutdown".to_owned()), Some(STOP_DEADLINE)).await;
        if let Err(error) = stopped {
            tracing::warn!(%error, "the actors did not stop in time");
        }
    }
}

/// An actor is not owned by its handle: left alone it would go on acting beside the agent that comes next.
impl Drop for Supervised {
    fn drop(&mut self) {
        self.root.kill();
    }
}

async fn start(me: &ActorRef<()>, world: &Arc<World>) -> Result<ActorRef<AgentMsg>, ActorProcessingErr> {
    let (agent, _) = Actor::spawn_linked(None, AgentActor, Arc::clone(world), me.get_cell()).await?;
    world.agent.replace(agent.clone());
    Ok(agent)
}

// === impl Supervisor ===

impl Actor for Supervisor {
    type Msg = ();
    type State = State;
    type Arguments = (Arc<World>, watch::Sender<Option<Error>>);

    async fn pre_start(&self, me: ActorRef<()>, (world, fatal): Self::Arguments) -> Result<State, ActorProcessingErr> {
        let agent = start(&me, &world).await?;
        Ok(State { world, agent, failures: VecDeque::new(), fatal })
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let why = match event {
            SupervisionEvent::ActorFailed(who, error) if who.get_id() == state.agent.get_id() => error.to_string(),
            SupervisionEvent::ActorTerminated(who, _, why) if who.get_id() == state.agent.get_id() => {
                why.unwrap_or_else(|| "it ended".to_owned())
            }
            _ => return Ok(()),
        };
        let now = Instant::now();
        state.failures.push_back(now);
        state.failures.retain(|at| now.duration_since(*at) < WINDOW);
        if state.failures.len() > FAILURES_MAX {
            let error = Error::new(Code::Internal, "the agent fails again and again").why(why);
            state.fatal.send_replace(Some(error));
            me.stop(None);
            return Ok(());
        }
        tracing::error!(why, "the agent failed and is started again");
        state.agent = start(&me, &state.world).await?;
        Ok(())
    }
}
