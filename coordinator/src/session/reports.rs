//! Replica reports of one session: proposed together, one proposal at a time, acknowledged when they are in the log.

use std::{collections::VecDeque, pin::Pin};

use berth_core::{
    error::{Code, Error},
    id::{NodeEpoch, NodeId},
    state::{Command, ReplicaReport},
};
use futures::Future;
use tokio::time::{Duration, Instant};

use crate::propose::{Asker, Proposer};

/// Messages that may wait for the proposal before them. A node repeats what is not acknowledged, so one that sends more
/// loses nothing by having the rest dropped.
const WAITING_MAX: usize = 64;

/// Reports in one entry: with the tail of a log each, still well below the limit of an entry.
const TOGETHER_MAX: usize = 64;

/// A proposal is given up after this; the node sends its reports again.
const PROPOSE: Duration = Duration::from_secs(5);

type Proposal = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The reports of one session.
pub(super) struct Reports {
    node: NodeId,
    epoch: NodeEpoch,
    proposer: Proposer,
    waiting: VecDeque<(u64, Vec<ReplicaReport>)>,
    /// What is being proposed, with the numbers of the messages it holds.
    proposed: Option<(Vec<u64>, Proposal)>,
}

// === impl Reports ===

impl Reports {
    pub(super) fn new(node: NodeId, epoch: NodeEpoch, proposer: Proposer) -> Self {
        Self { node, epoch, proposer, waiting: VecDeque::new(), proposed: None }
    }

    /// Takes a message.
    pub(super) fn take(&mut self, seq: u64, reports: Vec<ReplicaReport>) {
        let known = self.waiting.iter().any(|(waiting, _)| *waiting == seq)
            || self.proposed.as_ref().is_some_and(|(seqs, _)| seqs.contains(&seq));
        if !known && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((seq, reports));
        }
    }

    /// Proposes what waits and returns the numbers of the messages that are in the log. Never ends while there is
    /// nothing to propose. May be dropped and called again without losing anything.
    pub(super) async fn committed(&mut self) -> Result<Vec<u64>, Error> {
        if self.proposed.is_none() {
            self.proposed = self.next();
        }
        let Some((_, proposal)) = &mut self.proposed else {
            return std::future::pending().await;
        };
        let outcome = proposal.await;
        let seqs = self.proposed.take().map(|(seqs, _)| seqs).unwrap_or_default();
        match outcome {
            Ok(()) => Ok(seqs),
            // The node was registered anew since: this session speaks for nobody.
            Err(error) if matches!(error.code, Code::Stale | Code::NodeNotFound) => Err(error),
            Err(error) => {
                tracing::debug!(node = %self.node, %error, "reports were not taken, the node will repeat them");
                Ok(Vec::new())
            }
        }
    }

    fn next(&mut self) -> Option<(Vec<u64>, Proposal)> {
        let (mut seqs, mut reports) = (Vec::new(), Vec::new());
        while let Some((_, more)) = self.waiting.front() {
            if !reports.is_empty() && reports.len() + more.len() > TOGETHER_MAX {
                break;
            }
            let (seq, more) = self.waiting.pop_front()?;
            seqs.push(seq);
            reports.extend(more);
        }
        if seqs.is_empty() {
            return None;
        }
        let (node, epoch, proposer) = (self.node, self.epoch, self.proposer.clone());
        let proposal = async move {
            if reports.is_empty() {
                return Ok(());
            }
            let command = Command::ReplicaReports { node, epoch, reports };
            proposer.change(Asker::cluster("node"), command, Instant::now() + PROPOSE).await.map(drop)
        };
        Some((seqs, Box::pin(proposal)))
    }
}
