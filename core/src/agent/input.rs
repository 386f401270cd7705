//! Inputs: what the shell tells the agent.

use std::collections::BTreeMap;

use super::{Assignments, Ledger};
use crate::{
    id::{Generation, NodeEpoch, ReplicaId, Term},
    model::DeploymentKey,
};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The agent starts: what its ledger held. A process is named only where it was found alive, with the start time
    /// that was recorded.
    Recovered(Ledger),
    /// A session is open.
    Registered {
        /// The node's epoch in it.
        epoch: NodeEpoch,
        /// The leader's term.
        term: Term,
    },
    /// The session ended, and no other is open.
    SessionEnded,
    /// New orders came.
    Assignments(Assignments),
    /// Every asset of a replica is in the cache and mounted.
    AssetsReady {
        /// The replica.
        replica: ReplicaId,
    },
    /// An asset could not be fetched.
    AssetsFailed {
        /// The replica.
        replica: ReplicaId,
        /// Why.
        fault: Fault,
    },
    /// The environment is there.
    EnvironmentReady {
        /// The replica.
        replica: ReplicaId,
    },
    /// The environment could not be built.
    EnvironmentFailed {
        /// The replica.
        replica: ReplicaId,
        /// Why, with the end of the build log.
        fault: Fault,
    },
    /// A launch made a process.
    Started {
        /// The replica.
        replica: ReplicaId,
        /// The launch it answers.
        attempt: u64,
        /// The process.
        process: Process,
    },
    /// A launch made no process.
    StartFailed {
        /// The replica.
        replica: ReplicaId,
        /// The launch it answers.
        attempt: u64,
        /// Why.
        fault: Fault,
    },
    /// No process of the replica's group is left.
    Exited {
        /// The replica.
        replica: ReplicaId,
        /// The launch that made it.
        attempt: u64,
        /// How it ended: `exited with code 3`.
        how: String,
        /// The end of what it wrote.
        log_tail: String,
    },
    /// A probe was answered, or was not within its timeout.
    ProbeAnswered {
        /// The replica.
        replica: ReplicaId,
        /// The launch of the process that was asked.
        attempt: u64,
        /// What was asked.
        kind: ProbeKind,
        /// Nothing, or why it failed.
        answer: Result<(), String>,
    },
    /// The warm-up request was answered, or was not within its timeout.
    WarmedUp {
        /// The replica.
        replica: ReplicaId,
        /// The launch of the process that was asked.
        attempt: u64,
        /// Nothing, or why it failed.
        answer: Result<(), String>,
    },
    /// The gate counted the requests it has for a replica.
    GateCounted {
        /// The replica.
        replica: ReplicaId,
        /// Running and waiting.
        in_flight: u64,
    },
    /// A replica's folder is gone, or could not be removed.
    FilesRemoved {
        /// The replica.
        replica: ReplicaId,
        /// Nothing, or why not.
        answer: Result<(), String>,
    },
    /// What an instance would need is there, or could not be had.
    Prefetched {
        /// Of which deployment.
        key: DeploymentKey,
        /// Of which generation.
        generation: Generation,
        /// Nothing, or why not.
        answer: Result<(), Fault>,
    },
    /// How much memory of each card every replica with a device holds, in MiB, from one look at the cards.
    DeviceUse(BTreeMap<ReplicaId, BTreeMap<String, u64>>),
    /// Time passed.
    Tick,
}

/// Why something failed, and what may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What may help.
    pub remedy: Remedy,
    /// Why, for people; the first line says it, more lines show the end of a log.
    pub reason: String,
}

/// What may help against a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Waiting: the cause lies outside the node, such as coordinators that cannot be reached.
    Wait,
    /// Trying again here, a few times.
    Retry,
    /// Another node: this one's disk is full, or a start took all its time without an answer.
    Elsewhere,
    /// Nothing but a change of the deployment.
    Change,
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether the process still works at all.
    Liveness,
    /// Whether it takes requests.
    Readiness,
}

/// A process of a replica, so that it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id, which is also the id of its group.
    pub pid: u32,
    /// When it started, in the kernel's own count: an id alone may be used again.
    pub start_ticks: u64,
    /// The loopback port it was given.
    pub port: u16,
}

// === impl ProbeKind ===

impl ProbeKind {
    /// Returns the word people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }

    /// Words why a replica is given up: it failed this probe once too often.
    pub(super) fn failed_text(self, failures: u32, why: &str) -> String {
        format!("{} probe failed {failures} times in a row: {why}", self.word())
    }

    /// Words what this probe said last.
    pub(super) fn last_text(self, why: &str) -> String {
        format!("{} probe: {why}", self.word())
    }

    /// Tells which probe ended a replica, from the reason that was worded above or a text that ends with it. The words of a
    /// model that speaks of probes itself are none of them.
    pub fn of_reason(text: &str) -> Option<Self> {
        let mut parts = text.lines().next()?.split([':', ';']).map(str::trim);
        parts.find_map(|part| {
            [Self::Liveness, Self::Readiness].into_iter().find(|kind| {
                let rest = part.strip_prefix(kind.word()).and_then(|rest| rest.strip_prefix(" probe"));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" failed "))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ProbeKind::{self, Liveness, Readiness};

    #[test]
    fn the_probe_that_ended_a_replica_is_told_from_its_reason() {
        let failed = Liveness.failed_text(3, "GET / answered 503");
        for (text, expected) in [
            (failed.clone(), Some(Liveness)),
            (Readiness.failed_text(1, "its liveness probe: no"), Some(Readiness)),
            (format!("not ready 5m00s after its start: {}", Readiness.last_text("no answer")), Some(Readiness)),
            (format!("its process does not answer yet; {}", Liveness.last_text("refused")), Some(Liveness)),
            (format!("replica 1a2b of fraud/blue is failed: {failed}"), Some(Liveness)),
            ("exited with 1: no readiness without a model".to_owned(), None),
            ("exited with 1: the liveness probe handler raised".to_owned(), None),
            (format!("exited with 1\n{failed}"), None),
            (String::new(), None),
        ] {
            assert_eq!(ProbeKind::of_reason(&text), expected, "{text}");
        }
    }
}
