//! The open sessions of a leadership: who has which, how to end one, how to ask a node something.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use berth_core::{
    error::{Code, Error},
    id::{NodeEpoch, NodeId, ReplicaId},
};
use berth_proto::{
    api::v1::RequestReport,
    node::v1::{LogTime, MirrorTally},
};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

/// Questions that may wait for one node. Further ones are refused: they are asked by people, not by fleets.
const ASKS_MAX: usize = 16;

/// The open sessions, the newest of each node.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<NodeId, Arc<Opened>>>,
}

/// An open session as others see it.
#[derive(Debug)]
pub(crate) struct Opened {
    epoch: NodeEpoch,
    /// Why it shall end, once it shall.
    end: watch::Sender<Option<End>>,
    asks: mpsc::Sender<Ask>,
}

/// The session's own side of [`Opened`].
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) end: watch::Receiver<Option<End>>,
    pub(super) asks: mpsc::Receiver<Ask>,
}

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The same node opened another.
    Superseded,
    /// The controller wants the node to say Hello again.
    Closed(String),
}

/// A question for a node.
#[derive(Debug)]
pub(crate) enum Ask {
    /// For a part of a replica's log.
    Log(LogAsk),
    /// For a request its ingress took.
    Request(RequestAsk),
    /// For what it makes of an endpoint's mirrors.
    Mirrors(MirrorsAsk),
}

/// A question for a request, by its id.
#[derive(Debug)]
pub(crate) struct RequestAsk {
    pub(crate) id: String,
    pub(crate) answer: oneshot::Sender<Option<RequestReport>>,
}

/// A question for the verdicts on an endpoint's mirrors.
#[derive(Debug)]
pub(crate) struct MirrorsAsk {
    pub(crate) endpoint: String,
    pub(crate) answer: oneshot::Sender<Vec<MirrorTally>>,
}

/// A question for a part of a replica's log.
#[derive(Debug)]
pub(crate) struct LogAsk {
    pub(crate) replica: ReplicaId,
    /// What preparing wrote instead of what the process wrote.
    pub(crate) prepare: bool,
    pub(crate) from: LogFrom,
    pub(crate) answer: oneshot::Sender<Result<LogPiece, Error>>,
}

/// Where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFrom {
    /// Its end, as somebody wants it.
    End(LogEnd),
    /// Bytes from an offset on.
    Offset(u64),
}

/// How much of a log's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// The last lines; none is all of them.
    pub(crate) lines: u64,
    /// What was written since: milliseconds since the Unix epoch, or before now; none of both is always.
    pub(crate) since_ms: u64,
    pub(crate) within_ms: u64,
}

/// A part of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogPiece {
    pub(crate) data: Bytes,
    /// Where the next read starts.
    pub(crate) next_offset: u64,
    /// Where the log ended; nothing from a node that does not say so.
    pub(crate) end_offset: u64,
    /// When the data was written.
    pub(crate) times: Vec<LogTime>,
}

// === impl Sessions ===

impl Sessions {
    /// Enters a new session of `node`; an older one ends.
    pub(super) fn enter(&self, node: NodeId, epoch: NodeEpoch) -> (Arc<Opened>, Ends) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let end = watch::Sender::new(None);
        let ends = Ends { end: end.subscribe(), asks: asked };
        let opened = Arc::new(Opened { epoch, end, asks });
        let older = self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(node, opened.clone());
        if let Some(older) = older {
            older.end.send_replace(Some(End::Superseded));
        }
        (opened, ends)
    }

    /// Lets a session go; returns whether it was the newest of its node.
    pub(crate) fn remove(&self, node: NodeId, session: &Opened) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = open.get(&node).is_some_and(|newest| std::ptr::eq(Arc::as_ptr(newest), session));
        if newest {
            open.remove(&node);
        }
        newest
    }

    /// Ends the session of a node, if it is still under this epoch.
    pub(crate) fn close(&self, node: NodeId, epoch: NodeEpoch, reason: &str) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = open.get(&node).filter(|session| session.epoch == epoch) {
            session.end.send_replace(Some(End::Closed(reason.to_owned())));
        }
    }

    /// Returns how many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Asks a node for a part of a log.
    pub(crate) fn ask_log(&self, node: NodeId, ask: LogAsk) -> Result<(), Error> {
        let session = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        let Some(session) = session else {
            return Err(Error::new(Code::Unavailable, "the node of this replica is not connected")
                .why("its log can only be read on the node itself"));
        };
        session.asks.try_send(Ask::Log(ask)).map_err(|_| {
            Error::new(Code::TooManyRequests, "too many logs of this node are being read").try_("wait a moment")
        })
    }

    /// Lists the nodes that can be asked.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Asks a node for a request. One that cannot be asked now does not answer.
    pub(crate) fn ask_request(&self, node: NodeId, ask: RequestAsk) {
        self.ask(node, Ask::Request(ask));
    }

    /// Asks a node for the verdicts on mirrors. One that cannot be asked now does not answer.
    pub(crate) fn ask_mirrors(&self, node: NodeId, ask: MirrorsAsk) {
        self.ask(node, Ask::Mirrors(ask));
    }

    fn ask(&self, node: NodeId, ask: Ask) {
        let session = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        if let Some(session) = session {
            // Dropped with its answer, which tells whoever waits.
            let _ = session.asks.try_send(ask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_session_ends_the_older_and_only_the_newest_counts_as_the_end() {
        let sessions = Sessions::default();
        let (node, epoch) = (NodeId(1), NodeEpoch(1));
        let (older, mut older_ends) = sessions.enter(node, epoch);
        let (newer, mut newer_ends) = sessions.enter(node, epoch.next());
        assert_eq!(*older_ends.end.borrow_and_update(), Some(End::Superseded));
        assert!(!sessions.remove(node, &older), "an older session's end is nobody's business");
        sessions.close(node, epoch, "stale");
        assert_eq!(*newer_ends.end.borrow_and_update(), None, "another epoch's end does not reach it");
        sessions.close(node, epoch.next(), "lost");
        assert_eq!(*newer_ends.end.borrow_and_update(), Some(End::Closed("lost".into())));
        assert!(sessions.remove(node, &newer));
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn a_node_that_does_not_answer_cannot_pile_up_questions() {
        let sessions = Sessions::default();
        let (_opened, _ends) = sessions.enter(NodeId(1), NodeEpoch(1));
        let ask = || LogAsk {
            replica: ReplicaId(1),
            prepare: false,
            from: LogFrom::End(LogEnd::default()),
            answer: oneshot::channel().0,
        };
        for _ in 0..ASKS_MAX {
            sessions.ask_log(NodeId(1), ask()).expect("room");
        }
        assert_eq!(sessions.ask_log(NodeId(1), ask()).expect_err("full").code, Code::TooManyRequests);
        assert_eq!(sessions.ask_log(NodeId(2), ask()).expect_err("no session").code, Code::Unavailable);
    }
}
