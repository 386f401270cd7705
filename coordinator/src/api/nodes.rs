//! Nodes: list, cordon, drain, forget.

use berth_core::{
    error::Error,
    id::NodeId,
    model::{DrainBy, Node as NodeRecord, NodeName},
    state::{Command, DrainWish},
    time::Millis,
};
use berth_proto::api::{
    node_message,
    v1::{
        CordonNodeRequest, DrainNodeRequest, ForgetNodeRequest, ListNodesRequest, ListNodesResponse, Mutation, Node,
        nodes_client::NodesClient, nodes_server::Nodes,
    },
};
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, Checks, answer},
    forward::{Leader, handed_on},
};

#[tonic::async_trait]
impl Nodes for Api {
    async fn list(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Nodes/List", self.list_nodes(&call)).await
    }

    async fn cordon(&self, request: Request<CordonNodeRequest>) -> Result<Response<Node>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Nodes/Cordon", async {
            let asker = call.asker("Nodes/Cordon", &request.request_id, &request)?;
            let name = node_name(&request.node)?;
            let command = Command::NodeCordon { name: name.clone(), cordoned: request.cordoned };
            self.context.proposer.change(asker, command, call.deadline).await?;
            self.context.machine.read(|state| state.node_named(&name).map(|node| self.shown(state, node)))
        })
        .await
    }

    async fn drain(&self, request: Request<DrainNodeRequest>) -> Result<Response<Node>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Nodes/Drain", async {
            let asker = call.asker("Nodes/Drain", &request.request_id, &request)?;
            let name = node_name(&request.node)?;
            let wish = (!request.cancel).then(|| DrainWish {
                within: Millis(request.within_ms),
                reason: request.reason.clone(),
                force: request.force,
                by: if request.upgrade { DrainBy::Upgrade } else { DrainBy::Operator },
            });
            let command = Command::NodeDrain { name: name.clone(), wish };
            self.context.proposer.change(asker, command, call.deadline).await?;
            self.context.machine.read(|state| state.node_named(&name).map(|node| self.shown(state, node)))
        })
        .await
    }

    async fn forget(&self, request: Request<ForgetNodeRequest>) -> Result<Response<Mutation>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Nodes/Forget", async {
            let asker = call.asker("Nodes/Forget", &request.request_id, &request)?;
            let command = Command::NodeForget { name: node_name(&request.node)? };
            let revision = self.context.proposer.change(asker, command, call.deadline).await?;
            Ok(Mutation { revision: revision.0 })
        })
        .await
    }
}

// === impl Api ===

impl Api {
    async fn list_nodes(&self, call: &Call) -> Result<ListNodesResponse, Error> {
        if let Ok(Leader::There(channel)) = self.leader(call)
            && let Ok(listed) = NodesClient::new(channel).list(handed_on(call, ListNodesRequest {})).await
        {
            return Ok(listed.into_inner());
        }
        self.context.proposer.barrier(call.deadline).await?;
        let (mut listed, draining) = self.context.machine.read(|state| {
            let mut nodes: Vec<&NodeRecord> = state.nodes.values().collect();
            nodes.sort_by(|a, b| a.profile.name.cmp(&b.profile.name));
            let is_draining = |node: &&NodeRecord| node.wish() == Some("draining");
            let draining: Vec<_> = nodes.iter().copied().filter(is_draining).map(|node| node.id).collect();
            let nodes = nodes.into_iter().map(|node| self.shown(state, node)).collect();
            (ListNodesResponse { nodes, index: state.applied.0 }, draining)
        });
        self.tell_waits(call, &mut listed, draining).await?;
        Ok(listed)
    }

    /// Says of nodes that are to be empty what they wait for, as far as this member leads and knows.
    async fn tell_waits(
        &self,
        call: &Call,
        listed: &mut ListNodesResponse,
        draining: Vec<NodeId>,
    ) -> Result<(), Error> {
        let Ok(Leader::Here(lead)) = self.leader(call) else { return Ok(()) };
        for id in draining {
            let waits = lead.inbox.drain_waits(id, call.deadline).await?;
            let shown = listed.nodes.iter_mut().find(|node| node.id == id.to_string());
            if let Some(drain) = shown.and_then(|node| node.drain.as_mut()) {
                drain.waits_for = waits;
            }
        }
        Ok(())
    }

    pub(super) fn shown(&self, state: &berth_core::state::ClusterState, node: &NodeRecord) -> Node {
        let lead = self.context.lead.borrow().clone();
        let said = lead.and_then(|lead| lead.use_of(node.id));
        let gpus = said.as_ref().map_or(&[][..], |said| &said.gpus);
        node_message(state, node, said.as_ref().map(|said| said.used), gpus)
    }
}

fn node_name(text: &str) -> Result<NodeName, Error> {
    let mut checks = Checks::default();
    checks.check("node", NodeName::new(text)).ok_or_else(|| checks.refusal())
}
