//! Draining a node: the wish, what became of it, and its end.
//!
//! A wish is not a state. A node that is to be empty may fall silent, be lost and come back, and is still to be empty;
//! so the wish lies beside what the cluster makes of the node's silence, and only whoever made it withdraws it.

use super::{ClusterState, Context, Reply, Severity};
use crate::{
    error::{Code, Error, Problem},
    id::NodeId,
    model::{DrainBy, NodeDrain, NodeName},
    state::DrainWish,
    time::Millis,
    units::Count,
};

/// The longest a drain may let requests go on: longer than any request may take, and than anybody plans a reboot ahead.
const WITHIN_MAX: Millis = Millis::from_secs(7 * 24 * 3_600);
/// Bytes of a reason: a sentence and a link to a ticket.
const REASON_BYTES_MAX: usize = 512;

impl ClusterState {
    pub(super) fn node_drain(
        &mut self,
        cx: &mut Context,
        name: &NodeName,
        wish: Option<&DrainWish>,
    ) -> Result<Reply, Error> {
        let id = self.node_named(name)?.id;
        match wish {
            Some(wish) => {
                check(wish)?;
                self.drain_begin(cx, id, wish)
            }
            None => self.drain_withdraw(cx, id),
        }
    }

    fn drain_begin(&mut self, cx: &mut Context, id: NodeId, wish: &DrainWish) -> Result<Reply, Error> {
        let subject = self.about_node(id);
        let left = self.index.replicas_on(id).count();
        let Some(node) = self.node_mut(id) else { return cx.done() };
        // An agent that stops on a node which an operator is emptying has nothing to add.
        if wish.by == DrainBy::Agent && node.drain.as_ref().is_some_and(|drain| drain.by != DrainBy::Agent) {
            return Ok(Reply::Done { revision: node.revision });
        }
        let before = node.drain.take();
        node.drain = Some(NodeDrain {
            reason: wish.reason.clone(),
            started_at: before.as_ref().map_or(cx.now, |drain| drain.started_at),
            deadline: cx.now + wish.within,
            force: wish.force,
            by: wish.by,
            finished_at: before.as_ref().and_then(|drain| drain.finished_at),
            moved: before.as_ref().map_or(0, |drain| drain.moved),
            cut_requests: before.as_ref().map_or(0, |drain| drain.cut_requests),
        });
        node.revision = cx.index;
        let why = if wish.reason.is_empty() { String::new() } else { format!(": {}", wish.reason) };
        let name = &node.profile.name;
        let text = match left as u64 {
            0 => format!("node {name} is to be empty, and has no replicas{why}"),
            left => {
                format!("node {name} is to be empty within {}, {} to move{why}", wish.within, Count(left, "replica"))
            }
        };
        cx.event(Severity::Info, "node.draining", subject, text);
        self.finish_node_drain(cx, id);
        cx.done()
    }

    fn drain_withdraw(&mut self, cx: &mut Context, id: NodeId) -> Result<Reply, Error> {
        let subject = self.about_node(id);
        let Some(node) = self.node_mut(id).filter(|node| node.drain.is_some()) else {
            return Ok(Reply::Done { revision: self.nodes.get(&id).map_or(cx.index, |node| node.revision) });
        };
        node.drain = None;
        node.revision = cx.index;
        let text = format!("node {} need not be empty any more", node.profile.name);
        cx.event(Severity::Info, "node.drain_cancelled", subject, text);
        cx.done()
    }

    /// Counts a replica that was stopped on a node which is to be empty.
    pub(super) fn count_drained(&mut self, id: NodeId, cut: u64) {
        if let Some(drain) = self.node_mut(id).and_then(|node| node.drain.as_mut()) {
            drain.moved = drain.moved.saturating_add(1);
            drain.cut_requests = drain.cut_requests.saturating_add(cut);
        }
    }

    /// Ends the drain of a node on which nothing is left.
    pub(super) fn finish_node_drain(&mut self, cx: &mut Context, id: NodeId) {
        if self.index.replicas_on(id).next().is_some() {
            return;
        }
        let subject = self.about_node(id);
        let Some(node) = self.node_mut(id) else { return };
        let Some(drain) = node.drain.as_mut().filter(|drain| drain.finished_at.is_none()) else { return };
        drain.finished_at = Some(cx.now);
        node.revision = cx.index;
        let took = cx.now.since(drain.started_at);
        let (severity, cut) = match drain.cut_requests {
            0 => (Severity::Info, "no request was cut".to_owned()),
            1 => (Severity::Warning, "1 request was cut".to_owned()),
            cut => (Severity::Warning, format!("{cut} requests were cut")),
        };
        let moved = Count(drain.moved, "replica");
        let name = &node.profile.name;
        let text = match drain.moved {
            0 => format!("node {name} is empty: nothing had to move"),
            _ => format!("node {name} is empty after {took}: {moved} left, {cut}"),
        };
        cx.event(severity, "node.drained", subject, text);
    }
}

fn check(wish: &DrainWish) -> Result<(), Error> {
    let mut problems = Vec::new();
    if wish.within > WITHIN_MAX {
        problems.push(Problem {
            field: "deadline".to_owned(),
            what: format!("{} is longer than {WITHIN_MAX}", wish.within),
            try_: "cordon the node instead and drain it when it is time".to_owned(),
        });
    }
    if wish.reason.len() > REASON_BYTES_MAX {
        problems.push(Problem {
            field: "reason".to_owned(),
            what: format!("{} bytes are more than {REASON_BYTES_MAX}", wish.reason.len()),
            try_: "say it in a sentence".to_owned(),
        });
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error { problems, ..Error::new(Code::Invalid, "this drain cannot be asked for") }),
    }
}
