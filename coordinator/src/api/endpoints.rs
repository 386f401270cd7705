//! Endpoints: create, change, list, delete; their traffic and their keys.

use berth_core::{
    error::{Code, Error},
    id::{LogIndex, RequestId},
    model::{EndpointKeys as SealedKeys, EndpointName},
    state::Command,
};
use berth_proto::api::{
    endpoint_message, endpoint_spec, if_revision, project_of, put_mode, traffic,
    v1::{
        DeleteEndpointRequest, Endpoint, EndpointKeys, EndpointRouters, GetEndpointRequest, KeyType,
        ListEndpointsRequest, ListEndpointsResponse, ListKeysRequest, Mutation, PutEndpointRequest,
        RegenerateKeyRequest, SetTrafficRequest, ShowRoutersRequest, endpoints_client::EndpointsClient,
        endpoints_server::Endpoints,
    },
};
use berth_proto::status::from_status;
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, Checks, answer},
    forward::{Leader, handed_on},
};
use crate::keys::{KeySlot, KeyText};

/// A key is set by reading both and writing both. When another change comes between, it is tried again so often.
const KEY_ATTEMPTS: u32 = 5;

#[tonic::async_trait]
impl Endpoints for Api {
    async fn put(&self, request: Request<PutEndpointRequest>) -> Result<Response<Endpoint>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Endpoints/Put", self.put_endpoint(&call, request.into_inner())).await
    }

    async fn get(&self, request: Request<GetEndpointRequest>) -> Result<Response<Endpoint>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Endpoints/Get", async {
            let name = name(&request.get_ref().name)?;
            self.context.proposer.barrier(call.deadline).await?;
            self.endpoint(&name)
        })
        .await
    }

    async fn list(&self, request: Request<ListEndpointsRequest>) -> Result<Response<ListEndpointsResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Endpoints/List", async {
            self.context.proposer.barrier(call.deadline).await?;
            Ok(self.context.machine.read(|state| ListEndpointsResponse {
                endpoints: state.endpoints.values().map(|endpoint| endpoint_message(state, endpoint)).collect(),
                index: state.applied.0,
            }))
        })
        .await
    }

    async fn delete(&self, request: Request<DeleteEndpointRequest>) -> Result<Response<Mutation>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Endpoints/Delete", async {
            let asker = call.asker("Endpoints/Delete", &request.request_id, &request)?;
            let command =
                Command::EndpointDelete { name: name(&request.name)?, if_revision: if_revision(request.if_revision) };
            let revision = self.context.proposer.change(asker, command, call.deadline).await?;
            Ok(Mutation { revision: revision.0 })
        })
        .await
    }

    async fn set_traffic(&self, request: Request<SetTrafficRequest>) -> Result<Response<Endpoint>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Endpoints/SetTraffic", self.put_traffic(&call, request.into_inner())).await
    }

    async fn show_routers(&self, request: Request<ShowRoutersRequest>) -> Result<Response<EndpointRouters>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Endpoints/ShowRouters", self.routers(&call, request.into_inner())).await
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<EndpointKeys>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Endpoints/ListKeys", async {
            let name = name(&request.get_ref().endpoint)?;
            self.context.proposer.barrier(call.deadline).await?;
            self.keys(&name)
        })
        .await
    }

    async fn regenerate_key(&self, request: Request<RegenerateKeyRequest>) -> Result<Response<EndpointKeys>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Endpoints/RegenerateKey", self.put_key(&call, &request.into_inner())).await
    }
}

// === impl Api ===

impl Api {
    async fn put_endpoint(&self, call: &Call, request: PutEndpointRequest) -> Result<Endpoint, Error> {
        let mut checks = Checks::default();
        let asker = checks.check("request_id", call.asker("Endpoints/Put", &request.request_id, &request));
        let name = checks.check("name", EndpointName::new(&request.name));
        let mode = checks.check("mode", put_mode(request.mode));
        let spec = checks.check("spec", endpoint_spec(request.spec));
        let project = checks.check("project", project_of(&request.project));
        let (Some(asker), Some(name), Some(mode), Some(spec), Some(project)) = (asker, name, mode, spec, project)
        else {
            return Err(checks.refusal());
        };
        let keys = self.context.key.fresh_keys(&name)?;
        let if_revision = if_revision(request.if_revision);
        let command = Command::EndpointPut { name: name.clone(), spec, project, keys, mode, if_revision };
        self.context.proposer.change(asker, command, call.deadline).await?;
        self.endpoint(&name)
    }

    async fn put_traffic(&self, call: &Call, request: SetTrafficRequest) -> Result<Endpoint, Error> {
        let mut checks = Checks::default();
        let asker = checks.check("request_id", call.asker("Endpoints/SetTraffic", &request.request_id, &request));
        let name = checks.check("endpoint", EndpointName::new(&request.endpoint));
        if request.split.is_none() && request.mirror.is_none() {
            let nothing = Error::new(Code::Invalid, "neither a split nor mirrors are given").try_("send one or both");
            checks.check::<(), _>("split", Err(nothing));
        }
        let split = checks.check("split", request.split.map(traffic).transpose());
        let mirror = checks.check("mirror", request.mirror.map(traffic).transpose());
        let (Some(asker), Some(endpoint), Some(split), Some(mirror), true) =
            (asker, name, split, mirror, checks.is_clean())
        else {
            return Err(checks.refusal());
        };
        let if_revision = if_revision(request.if_revision);
        let strict_azure = request.strict_azure;
        let command = Command::TrafficSet { endpoint: endpoint.clone(), split, mirror, strict_azure, if_revision };
        self.context.proposer.change(asker, command, call.deadline).await?;
        self.endpoint(&endpoint)
    }

    async fn routers(&self, call: &Call, request: ShowRoutersRequest) -> Result<EndpointRouters, Error> {
        let name = name(&request.endpoint)?;
        let lead = match self.leader(call)? {
            Leader::Here(lead) => lead,
            Leader::There(channel) => {
                let answered = EndpointsClient::new(channel).show_routers(handed_on(call, request)).await;
                return answered.map(Response::into_inner).map_err(|status| from_status(&status));
            }
        };
        self.context.proposer.barrier(call.deadline).await?;
        let version = self.context.machine.read(|state| state.endpoint(&name).map(|_| state.routes.of(&name)))?;
        let behind = lead.inbox.routers_behind(version, call.deadline).await?;
        Ok(EndpointRouters { version: version.0, behind })
    }

    async fn put_key(&self, call: &Call, request: &RegenerateKeyRequest) -> Result<EndpointKeys, Error> {
        let mut checks = Checks::default();
        let asker = checks.check("request_id", call.asker("Endpoints/RegenerateKey", &request.request_id, request));
        let name = checks.check("endpoint", EndpointName::new(&request.endpoint));
        let slot = checks.check("key_type", slot(request.key_type));
        let supplied = match request.key_value.as_str() {
            "" => Some(None),
            text => checks.check("key_value", KeyText::supplied(text)).map(Some),
        };
        let (Some(asker), Some(name), Some(slot), Some(supplied)) = (asker, name, slot, supplied) else {
            return Err(checks.refusal());
        };
        let first = asker.request_id.clone().unwrap_or_else(|| RequestId(String::new()));
        let mut refused = Error::new(Code::Revision, format!("endpoint `{name}` keeps changing"));
        for attempt in 0..KEY_ATTEMPTS {
            self.context.proposer.barrier(call.deadline).await?;
            let (keys, revision) = self.with_key(&name, slot, supplied.as_ref())?;
            // A refusal is kept under its request id like any answer, so each attempt has an id of its own; a retry of
            // the whole call walks through the same ids and finds the one that was applied.
            let mut asker = asker.clone();
            if attempt > 0 {
                asker.request_id = Some(RequestId(format!("{first}#{attempt}")));
            }
            let command = Command::EndpointKeysPut { name: name.clone(), keys, if_revision: Some(revision) };
            match self.context.proposer.change(asker, command, call.deadline).await {
                Ok(_) => return self.keys(&name),
                Err(error) if error.code == Code::Revision => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// Returns the endpoint's keys with one of them replaced. Azure's SDK sends the present key when it wants a new one.
    fn with_key(
        &self,
        name: &EndpointName,
        slot: KeySlot,
        supplied: Option<&KeyText>,
    ) -> Result<(SealedKeys, LogIndex), Error> {
        let (mut keys, revision) = self.context.machine.read(|state| {
            let endpoint = state.endpoint(name)?;
            Ok::<_, Error>((endpoint.keys.clone(), endpoint.revision))
        })?;
        let place = match slot {
            KeySlot::Primary => &mut keys.primary,
            KeySlot::Secondary => &mut keys.secondary,
        };
        let present = berth_core::id::Digest(place.hash);
        let next = match supplied {
            Some(text) if berth_core::id::Digest::of(text.reveal().as_bytes()) != present => text.clone(),
            Some(_) | None => KeyText::fresh()?,
        };
        *place = self.context.key.seal(name, slot, &next)?;
        Ok((keys, revision))
    }

    fn endpoint(&self, name: &EndpointName) -> Result<Endpoint, Error> {
        self.context.machine.read(|state| state.endpoint(name).map(|endpoint| endpoint_message(state, endpoint)))
    }

    fn keys(&self, name: &EndpointName) -> Result<EndpointKeys, Error> {
        let keys = self.context.machine.read(|state| state.endpoint(name).map(|endpoint| endpoint.keys.clone()))?;
        let open = |slot, sealed| self.context.key.open(name, slot, sealed).map(|key| key.reveal().to_owned());
        Ok(EndpointKeys {
            primary_key: open(KeySlot::Primary, &keys.primary)?,
            secondary_key: open(KeySlot::Secondary, &keys.secondary)?,
        })
    }
}

fn slot(wire: i32) -> Result<KeySlot, Error> {
    match KeyType::try_from(wire) {
        Ok(KeyType::Primary) => Ok(KeySlot::Primary),
        Ok(KeyType::Secondary) => Ok(KeySlot::Secondary),
        Ok(KeyType::Unspecified) | Err(_) => {
            Err(Error::new(Code::Invalid, "no such key").try_("name the primary or the secondary key"))
        }
    }
}

/// Reads the name of an endpoint.
pub(super) fn name(text: &str) -> Result<EndpointName, Error> {
    let mut checks = Checks::default();
    checks.check("endpoint", EndpointName::new(text)).ok_or_else(|| checks.refusal())
}
