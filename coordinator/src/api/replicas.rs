//! Replicas: listed, with the load their gates reported to the leader.

use berth_core::{error::Error, model::Replica};
use berth_proto::api::{
    replica_message,
    v1::{ListReplicasRequest, ListReplicasResponse, replicas_client::ReplicasClient, replicas_server::Replicas},
};
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, Checks, answer},
    deployments::optional,
    forward::{Leader, handed_on},
};

#[tonic::async_trait]
impl Replicas for Api {
    async fn list(&self, request: Request<ListReplicasRequest>) -> Result<Response<ListReplicasResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Replicas/List", self.list_replicas(&call, request.into_inner())).await
    }
}

// === impl Api ===

impl Api {
    async fn list_replicas(&self, call: &Call, request: ListReplicasRequest) -> Result<ListReplicasResponse, Error> {
        let endpoint = optional(&request.endpoint)?;
        let mut checks = Checks::default();
        let deployment = match request.deployment.as_str() {
            "" => None,
            text => Some(
                checks
                    .check("deployment", berth_core::model::DeploymentName::new(text))
                    .ok_or_else(|| std::mem::take(&mut checks).refusal())?,
            ),
        };
        let leader = self.leader(call).ok();
        if let Some(Leader::There(channel)) = &leader {
            // A leader that cannot be reached costs the loads, not the list.
            if let Ok(listed) = ReplicasClient::new(channel.clone()).list(handed_on(call, request)).await {
                return Ok(listed.into_inner());
            }
        }
        self.context.proposer.barrier(call.deadline).await?;
        let load = |replica: &Replica| match &leader {
            Some(Leader::Here(lead)) => {
                lead.use_of(replica.node).and_then(|used| used.in_flight.get(&replica.id).copied())
            }
            Some(Leader::There(_)) | None => None,
        };
        Ok(self.context.machine.read(|state| {
            let asked = |replica: &&Replica| {
                endpoint.as_ref().is_none_or(|endpoint| replica.key.endpoint == *endpoint)
                    && deployment.as_ref().is_none_or(|deployment| replica.key.deployment == *deployment)
            };
            let mut replicas: Vec<&Replica> = state.replicas.values().filter(asked).collect();
            replicas.sort_by(|a, b| (&a.key, a.placed_at, a.id).cmp(&(&b.key, b.placed_at, b.id)));
            ListReplicasResponse {
                replicas: replicas.into_iter().map(|replica| replica_message(state, replica, load(replica))).collect(),
                index: state.applied.0,
            }
        }))
    }
}
