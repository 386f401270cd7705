//! Nodes: list, cordon, forget.

use berth_core::{
    error::Error,
    model::{Node as NodeRecord, NodeName},
    state::Command,
};
use berth_proto::api::{
    node_message,
    v1::{
        CordonNodeRequest, ForgetNodeRequest, ListNodesRequest, ListNodesResponse, Mutation, Node,
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
        Ok(self.context.machine.read(|state| {
            let mut nodes: Vec<&NodeRecord> = state.nodes.values().collect();
            nodes.sort_by(|a, b| a.profile.name.cmp(&b.profile.name));
            ListNodesResponse {
                nodes: nodes.into_iter().map(|node| self.shown(state, node)).collect(),
                index: state.applied.0,
            }
        }))
    }

    fn shown(&self, state: &berth_core::state::ClusterState, node: &NodeRecord) -> Node {
        let lead = self.context.lead.borrow().clone();
        node_message(state, node, lead.and_then(|lead| lead.use_of(node.id)).map(|used| used.used))
    }
}

fn node_name(text: &str) -> Result<NodeName, Error> {
    let mut checks = Checks::default();
    checks.check("node", NodeName::new(text)).ok_or_else(|| checks.refusal())
}
