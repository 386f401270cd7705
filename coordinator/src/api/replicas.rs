//! Replicas and the slots held beyond them: listed, with what their nodes told the leader.

use berth_core::{
    error::{Code, Error},
    id::ReplicaId,
    model::{DeploymentKey, DeploymentName, EndpointName, Replica, ReserveSlot},
    state::{ClusterState, Command},
    time::Millis,
};
use berth_proto::api::{
    replica_message, slot_message,
    v1::{
        ListReplicasRequest, ListReplicasResponse, ListSlotsRequest, ListSlotsResponse, Mutation,
        ReplaceReplicaRequest, replicas_client::ReplicasClient, replicas_server::Replicas,
    },
};
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, Checks, answer},
    deployments::optional,
    forward::{Leader, handed_on},
};
use crate::controller::NodeUse;

#[tonic::async_trait]
impl Replicas for Api {
    async fn list(&self, request: Request<ListReplicasRequest>) -> Result<Response<ListReplicasResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Replicas/List", self.list_replicas(&call, request.into_inner())).await
    }

    async fn replace(&self, request: Request<ReplaceReplicaRequest>) -> Result<Response<Mutation>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Replicas/Replace", async {
            let asker = call.asker("Replicas/Replace", &request.request_id, &request)?;
            let replica = request.replica.parse::<ReplicaId>().map_err(|_| {
                Error::new(Code::Invalid, format!("`{}` is no id of a replica", request.replica))
                    .try_("an id has sixteen hexadecimal digits; `berth get replicas -o wide` shows them")
            })?;
            let command = Command::ReplicaReplace { replica, within: request.within_ms.map(Millis) };
            let revision = self.context.proposer.change(asker, command, call.deadline).await?;
            Ok(Mutation { revision: revision.0 })
        })
        .await
    }

    async fn list_slots(&self, request: Request<ListSlotsRequest>) -> Result<Response<ListSlotsResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Replicas/ListSlots", self.listed_slots(&call, request.into_inner())).await
    }
}

// === impl Api ===

impl Api {
    async fn list_replicas(&self, call: &Call, request: ListReplicasRequest) -> Result<ListReplicasResponse, Error> {
        let asked = Asked::of(&request.endpoint, &request.deployment)?;
        let leader = self.leader(call).ok();
        if let Some(Leader::There(channel)) = &leader {
            // A leader that cannot be reached costs the loads, not the list.
            if let Ok(listed) = ReplicasClient::new(channel.clone()).list(handed_on(call, request)).await {
                return Ok(listed.into_inner());
            }
        }
        self.context.proposer.barrier(call.deadline).await?;
        let said = |replica: &Replica| match &leader {
            Some(Leader::Here(lead)) => lead.use_of(replica.node),
            Some(Leader::There(_)) | None => None,
        };
        Ok(self.context.machine.read(|state| {
            let mut replicas: Vec<&Replica> =
                state.replicas.values().filter(|replica| asked.names(&replica.key)).collect();
            replicas.sort_by(|a, b| (&a.key, a.placed_at, a.id).cmp(&(&b.key, b.placed_at, b.id)));
            ListReplicasResponse {
                replicas: replicas.into_iter().map(|replica| shown(state, replica, said(replica).as_deref())).collect(),
                index: state.applied.0,
            }
        }))
    }

    async fn listed_slots(&self, call: &Call, request: ListSlotsRequest) -> Result<ListSlotsResponse, Error> {
        let asked = Asked::of(&request.endpoint, &request.deployment)?;
        let leader = self.leader(call).ok();
        if let Some(Leader::There(channel)) = &leader {
            // A leader that cannot be reached costs what is cached, not the list.
            if let Ok(listed) = ReplicasClient::new(channel.clone()).list_slots(handed_on(call, request)).await {
                return Ok(listed.into_inner());
            }
        }
        self.context.proposer.barrier(call.deadline).await?;
        let said = |slot: &ReserveSlot| match &leader {
            Some(Leader::Here(lead)) => lead.use_of(slot.node),
            Some(Leader::There(_)) | None => None,
        };
        Ok(self.context.machine.read(|state| {
            let mut slots: Vec<&ReserveSlot> = state.slots.values().filter(|slot| asked.names(&slot.key)).collect();
            slots.sort_by(|a, b| (&a.key, a.since, a.id).cmp(&(&b.key, b.since, b.id)));
            let slots = slots.into_iter().map(|slot| shown_slot(state, slot, said(slot).as_deref())).collect();
            ListSlotsResponse { slots, index: state.applied.0 }
        }))
    }
}

/// Shows a replica with what its node said of it last.
fn shown(state: &ClusterState, replica: &Replica, said: Option<&NodeUse>) -> berth_proto::api::v1::Replica {
    let used = said.and_then(|said| said.uses.get(&replica.id));
    let in_flight = said.and_then(|said| said.in_flight.get(&replica.id).copied());
    let mut message = replica_message(state, replica, in_flight);
    message.used_cpu_milli = used.map(|used| used.cpu_milli);
    message.used_memory_mib = used.map(|used| used.memory_mib);
    message.used_gpu_milli = used.map(|used| used.gpu_milli);
    message.progress = said.and_then(|said| said.progress_of(replica));
    message
}

/// Shows a slot with what its node said of it last.
pub(super) fn shown_slot(
    state: &ClusterState,
    slot: &ReserveSlot,
    said: Option<&NodeUse>,
) -> berth_proto::api::v1::Slot {
    let prefetch = said.and_then(|said| said.prefetches.get(&slot.key));
    let progress = said.and_then(|said| said.prefetching.get(&slot.key));
    slot_message(state, slot, prefetch, progress)
}

/// What a caller wants listed.
struct Asked {
    endpoint: Option<EndpointName>,
    deployment: Option<DeploymentName>,
}

// === impl Asked ===

impl Asked {
    fn of(endpoint: &str, deployment: &str) -> Result<Self, Error> {
        let endpoint = optional(endpoint)?;
        let mut checks = Checks::default();
        let deployment = match deployment {
            "" => None,
            text => Some(
                checks
                    .check("deployment", DeploymentName::new(text))
                    .ok_or_else(|| std::mem::take(&mut checks).refusal())?,
            ),
        };
        Ok(Self { endpoint, deployment })
    }

    fn names(&self, key: &DeploymentKey) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| key.endpoint == *endpoint)
            && self.deployment.as_ref().is_none_or(|deployment| key.deployment == *deployment)
    }
}
