//! What is apart: nodes that lose the coordinators for long, deployments that say what they want then, and the judge of
//! whether they get it.
//!
//! The truth is this shell's: what time it is, and when an agent last heard a leader. What is wanted is read from the log
//! and from the orders that the node took, never from what a machine makes of them.

use berth_core::{
    agent::Desired,
    invariant::Violation,
    model::{DeploymentKey, Disconnect, Reconcile},
    rng::Rng,
    state::{Command, Plan, PutMode, Step},
    time::Millis,
};

use crate::{
    action::Action,
    event::Event,
    judge::Warmth,
    net::Addr,
    node::{DIAL_MS, SILENCE_MS},
    workload::ENDPOINTS,
    world::{World, wall_of},
};

/// Milliseconds an agent may take beyond its time and the silence it begins with: a start under way, a look at the clock.
const TAKEN_MS: u64 = 3_000;

/// Milliseconds after which a probe of a process that was not ready yet is answered or given up.
const ANSWERED_MS: u64 = 1_000;

/// Fills a seed's queue, in every other seed.
pub(crate) fn schedule(world: &mut World, ends: u64, faulty: bool) {
    let mut rng = world.seed.child("apart").rng();
    if rng.chance(500) {
        return;
    }
    let mut at = 3_000;
    while at < ends {
        world.at(at, Event::Do(Action::RandomPolicy));
        at += 700 + rng.below(3_500);
    }
    let mut at = 5_000;
    while faulty && at < ends {
        let (node, for_ms) = (rng.below(world.nodes.len() as u64) as usize, 10_000 + rng.below(16_000));
        world.at(at, Event::Do(Action::Part { node, until_ms: at + for_ms }));
        at += for_ms + 1_000 + rng.below(4_000);
    }
    world.apart_rng = rng;
}

/// Draws what a deployment wants when a node that runs it cannot be reached.
fn draw(rng: &mut Rng) -> Disconnect {
    let (lost_after, replace) = match rng.below(6) {
        0 => (None, false),
        1..4 => (None, true),
        _ => (Some(Millis::from_secs(4 + rng.below(10))), true),
    };
    let stop_on_client_after = rng.chance(500).then(|| Millis::from_secs(10 + rng.below(4)));
    let reconcile = match rng.below(5) {
        0 => Reconcile::KeepServing,
        1 | 2 => Reconcile::KeepOriginal,
        _ => Reconcile::KeepReplacement,
    };
    Disconnect { lost_after, replace, stop_on_client_after, reconcile }
}

// === impl World ===

impl World {
    /// Lets a user say what a deployment wants of nodes that cannot be reached.
    pub(crate) fn random_policy(&mut self) {
        let mut rng = self.apart_rng.clone();
        let keys: Vec<DeploymentKey> = self.truth().deployments.keys().cloned().collect();
        let ours = |key: &&DeploymentKey| ENDPOINTS.contains(&key.endpoint.as_str());
        let ours: Vec<_> = keys.iter().filter(ours).collect();
        let disconnect = draw(&mut rng);
        let key = rng.pick(&ours).map(|key| (*key).clone());
        self.apart_rng = rng;
        if let Some(key) = key {
            self.set_policy(&key, disconnect);
        }
    }

    /// Puts a deployment as it is, but for what it wants of nodes that cannot be reached.
    pub(crate) fn set_policy(&mut self, key: &DeploymentKey, disconnect: Disconnect) {
        let Some(deployment) = self.truth().deployments.get(key).filter(|deployment| !deployment.deleting) else {
            return;
        };
        let mut spec = deployment.spec.clone();
        spec.disconnect = disconnect;
        self.change(Command::DeploymentPut {
            key: key.clone(),
            spec: Box::new(spec),
            mode: PutMode::Update,
            if_revision: None,
        });
    }

    /// Cuts a node off from the coordinators, and keeps it so although other cuts are mended meanwhile.
    pub(crate) fn part(&mut self, node: usize, until_ms: u64) {
        self.cut_off(&[node]);
        self.apart.insert(node, until_ms);
        self.at(until_ms, Event::Do(Action::Heal));
    }

    /// Cuts again what is still to be apart.
    pub(crate) fn part_again(&mut self) {
        let now = self.now;
        self.apart.retain(|_, until| *until > now);
        for node in self.apart.keys() {
            (0..self.members.len()).for_each(|at| self.net.cut(Addr::Node(*node), Addr::Member(at)));
        }
    }

    /// Insists that a replica which is out of reach is replaced when and if its deployment says so.
    pub(crate) fn judge_patience(
        &self,
        member: usize,
        before: Option<&Warmth>,
        plan: &Plan,
        step: &Step,
    ) -> Option<Violation> {
        let Step::Place { key, replaces: Some(replaces), .. } = step else { return None };
        let state = &self.members[member].state;
        let (replaced, deployment) = (state.replicas.get(replaces)?, state.deployments.get(key)?);
        // Whoever changed their mind since the plan was made gets what they want from the next one on.
        let is_meant = replaced.generation == deployment.generation && deployment.revision <= plan.based_on;
        if !is_meant || !before?.lost {
            return None;
        }
        let Disconnect { lost_after, replace, .. } = deployment.spec.disconnect;
        let broken = |what: String| Some(Violation::new("RE05", what));
        if !replace {
            return broken(format!("{key} wants nothing replaced, and replica {} is", replaced.id.short()));
        }
        let patience = lost_after.map_or(0, |own| own.0.saturating_sub(state.settings.lost_after.0));
        let lost_at = state.nodes.get(&replaced.node).map(|node| node.since)?;
        let waited = wall_of(self.now).since(lost_at).0;
        let apart = self.members.iter().map(|member| member.clock_skew_ms.unsigned_abs()).max().unwrap_or_default();
        (waited + apart < patience)
            .then(|| {
                format!(
                    "{key} waits {patience} ms for replica {}, and it is replaced after {waited}",
                    replaced.id.short()
                )
            })
            .and_then(broken)
    }

    /// Insists that an agent which hears no coordinator ends what may not run alone, in time: its gate takes nothing new
    /// by then, or it is told to end.
    pub(crate) fn judge_alone(&mut self, at: usize) {
        let (node, now) = (&self.nodes[at], self.now);
        let mut stays = node.processes.values().filter(|process| !process.is_leaving);
        let too_long = stays.find_map(|process| {
            let after = node.orders.get(&process.replica)?.spec.disconnect.stop_on_client_after?.0;
            (now > node.led_at + after + SILENCE_MS + DIAL_MS + TAKEN_MS).then_some((process.replica, after))
        });
        if let Some((replica, after)) = too_long {
            let alone = now - node.led_at;
            let what = format!("n{} runs replica {} alone for {alone} ms, it may {after}", at + 1, replica.short());
            self.judge.broken("RE07", what, now);
        }
    }

    /// Insists that an agent begins to end nothing that answers and is wanted, unless its time alone is up.
    pub(crate) fn judge_end_of(&mut self, at: usize, pid: u32) {
        let (node, now) = (&mut self.nodes[at], self.now);
        let Some(process) = node.processes.get_mut(&pid).filter(|process| !process.is_leaving) else { return };
        process.is_leaving = true;
        let (replica, answered) = (process.replica, process.ready_at + ANSWERED_MS < now);
        let wanted = node.orders.get(&replica).filter(|order| order.desired == Desired::Run && answered);
        let Some(order) = wanted else { return };
        let alone = now - node.led_at;
        let may = match order.spec.disconnect.stop_on_client_after {
            Some(after) if alone >= after.0 => {
                self.disturb(at);
                return;
            }
            Some(after) => after.to_string(),
            None => "for ever".to_owned(),
        };
        let what = format!("n{} ends replica {} after {alone} ms alone, it may run {may}", at + 1, replica.short());
        self.judge.broken("RE07", what, now);
    }
}
