//! Copies, judged: of a replica that came back and the one that stood in for it, the one stays that its deployment wants.

use super::{Violation, Witness};
use crate::{
    id::LogIndex,
    model::{Reconcile, Replica, ReplicaState},
    state::{ClusterState, Command, Entry, Step},
};

// === impl Witness ===

impl Witness {
    /// Looks at every replica that a plan ends while its copy stays.
    pub(super) fn copies(&self, after: &ClusterState, entry: &Entry, found: &mut Vec<Violation>) {
        let Command::PlanCommit(plan) = &entry.command else { return };
        let ended = plan.steps.iter().filter_map(|step| match step {
            Step::Drain { replica, .. } | Step::Stop { replica, .. } => self.replicas.get(replica),
            _ => None,
        });
        let stays = |replica: &Replica| after.replicas.get(&replica.id).is_some_and(|now| now.is_wanted());
        // What changed after the plan was made is another plan's matter.
        let is_known = |revision: LogIndex| revision <= plan.based_on;
        for ended in ended.filter(|ended| self.is_one_of(ended, &is_known) && !stays(ended)) {
            let Some(deployment) = self.deployments.get(&ended.key).filter(|it| is_known(it.revision)) else {
                continue;
            };
            let is_copy = |other: &&Replica| {
                other.key == ended.key && (other.replaces == Some(ended.id) || ended.replaces == Some(other.id))
            };
            for other in self.replicas.values().filter(is_copy) {
                let reconcile = deployment.spec.disconnect.reconcile;
                let is_judged = self.is_one_of(other, &is_known) && self.is_heard(other) && stays(other);
                if is_judged && self.is_worth_more(reconcile, ended, other) {
                    let text = format!(
                        "replica {} ({}) of {} went and its copy {} ({}) stays, against `{}`",
                        ended.id,
                        ended.state,
                        ended.key,
                        other.id,
                        other.state,
                        reconcile.word()
                    );
                    found.push(Violation::new("RE06", text));
                }
            }
        }
    }

    /// Returns whether a replica was one of those that count as the instances asked for: of the newest generation, on a
    /// node and on devices that may keep it, and since the plan was made.
    fn is_one_of(&self, replica: &Replica, is_known: &impl Fn(LogIndex) -> bool) -> bool {
        let generation = self.deployments.get(&replica.key).map(|deployment| deployment.generation);
        let node = self.nodes.get(&replica.node).filter(|node| is_known(node.revision));
        let may_stay = node.is_some_and(|node| node.drain.is_none() && !self.holds_too_much(node));
        may_stay && generation == Some(replica.generation) && is_known(replica.revision) && self.stands(replica)
    }

    /// Returns whether it has shown what it is since its node came back.
    fn is_heard(&self, replica: &Replica) -> bool {
        let since = self.nodes.get(&replica.node).map(|node| node.since);
        replica.state != ReplicaState::Starting || since != Some(replica.since)
    }

    /// Returns whether one of two copies is to be kept rather than the other, as the policy is written down.
    fn is_worth_more(&self, reconcile: Reconcile, one: &Replica, other: &Replica) -> bool {
        let lives = |replica: &Replica| matches!(replica.state, ReplicaState::Warm | ReplicaState::Serving);
        let serves = |replica: &Replica| replica.state == ReplicaState::Serving;
        let is_original = other.replaces == Some(one.id);
        // A clock that stands still makes two of one age; whichever goes then is no matter of the policy.
        let are_apart = one.placed_at != other.placed_at;
        let is_preferred = match reconcile {
            Reconcile::KeepOriginal => is_original && are_apart,
            Reconcile::KeepReplacement => !is_original && are_apart,
            Reconcile::KeepServing => {
                let is_usable =
                    |replica: &Replica| self.nodes.get(&replica.node).is_some_and(|node| node.is_schedulable());
                // Of two that serve the elder stays, where its node is as good as the other's.
                let is_elder = (one.placed_at, one.id) < (other.placed_at, other.id);
                return serves(one) && (!serves(other) || (is_elder && is_usable(one) && is_usable(other)));
            }
        };
        lives(one) && (!lives(other) || is_preferred)
    }
}
