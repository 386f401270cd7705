//! Deployments: create, change, scale, list, delete, explain.

use std::pin::Pin;

use berth_core::{
    controller::explain,
    error::Error,
    model::{DeploymentKey, DeploymentName, EndpointName},
    state::{ClusterState, Command},
};
use berth_proto::{
    api::{
        deployment_message, deployment_spec, generations_message, if_revision, put_mode,
        v1::{
            DeleteDeploymentRequest, Deployment, ExplainDeploymentRequest, GetDeploymentRequest,
            ListDeploymentsRequest, ListDeploymentsResponse, ListGenerationsRequest, ListGenerationsResponse, LogLines,
            LogsRequest, Mutation, PauseDeploymentRequest, PutDeploymentRequest, RestartDeploymentRequest,
            ScaleDeploymentRequest, Verdict, deployments_client::DeploymentsClient, deployments_server::Deployments,
        },
        verdict_message,
    },
    status::from_status,
};
use futures::Stream;
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, Checks, answer},
    forward::{Leader, handed_on},
};

/// A stream of an answer.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Deployments for Api {
    async fn put(&self, request: Request<PutDeploymentRequest>) -> Result<Response<Deployment>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Deployments/Put", self.put_deployment(&call, request.into_inner())).await
    }

    async fn get(&self, request: Request<GetDeploymentRequest>) -> Result<Response<Deployment>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Deployments/Get", async {
            let key = key(&request.get_ref().endpoint, &request.get_ref().name)?;
            self.context.proposer.barrier(call.deadline).await?;
            self.deployment(&key)
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListDeploymentsRequest>,
    ) -> Result<Response<ListDeploymentsResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Deployments/List", async {
            let endpoint = optional(&request.get_ref().endpoint)?;
            self.context.proposer.barrier(call.deadline).await?;
            self.context.machine.read(|state| {
                if let Some(endpoint) = &endpoint {
                    state.endpoint(endpoint)?;
                }
                let asked = |key: &DeploymentKey| endpoint.as_ref().is_none_or(|endpoint| key.endpoint == *endpoint);
                let deployments = state.deployments.values().filter(|deployment| asked(&deployment.key));
                Ok(ListDeploymentsResponse {
                    deployments: deployments.map(|deployment| deployment_message(state, deployment)).collect(),
                    index: state.applied.0,
                })
            })
        })
        .await
    }

    async fn scale(&self, request: Request<ScaleDeploymentRequest>) -> Result<Response<Deployment>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Deployments/Scale", async {
            let asker = call.asker("Deployments/Scale", &request.request_id, &request)?;
            let key = key(&request.endpoint, &request.name)?;
            let (instance_count, if_revision) = (request.instance_count, if_revision(request.if_revision));
            let command = Command::DeploymentScale { key: key.clone(), instance_count, if_revision };
            self.context.proposer.change(asker, command, call.deadline).await?;
            self.deployment(&key)
        })
        .await
    }

    async fn delete(&self, request: Request<DeleteDeploymentRequest>) -> Result<Response<Mutation>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Deployments/Delete", async {
            let asker = call.asker("Deployments/Delete", &request.request_id, &request)?;
            let key = key(&request.endpoint, &request.name)?;
            let command = Command::DeploymentDelete { key, if_revision: if_revision(request.if_revision) };
            let revision = self.context.proposer.change(asker, command, call.deadline).await?;
            Ok(Mutation { revision: revision.0 })
        })
        .await
    }

    async fn explain(&self, request: Request<ExplainDeploymentRequest>) -> Result<Response<Verdict>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Deployments/Explain", self.verdict(&call, request.into_inner())).await
    }

    async fn pause(&self, request: Request<PauseDeploymentRequest>) -> Result<Response<Deployment>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Deployments/Pause", async {
            let asker = call.asker("Deployments/Pause", &request.request_id, &request)?;
            let key = key(&request.endpoint, &request.name)?;
            let (paused, if_revision) = (request.paused, if_revision(request.if_revision));
            let command = Command::DeploymentPause { key: key.clone(), paused, if_revision };
            self.context.proposer.change(asker, command, call.deadline).await?;
            self.deployment(&key)
        })
        .await
    }

    async fn restart(&self, request: Request<RestartDeploymentRequest>) -> Result<Response<Deployment>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Deployments/Restart", async {
            let asker = call.asker("Deployments/Restart", &request.request_id, &request)?;
            let key = key(&request.endpoint, &request.name)?;
            let command =
                Command::DeploymentRestart { key: key.clone(), if_revision: if_revision(request.if_revision) };
            self.context.proposer.change(asker, command, call.deadline).await?;
            self.deployment(&key)
        })
        .await
    }

    async fn list_generations(
        &self,
        request: Request<ListGenerationsRequest>,
    ) -> Result<Response<ListGenerationsResponse>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Deployments/ListGenerations", async {
            let key = key(&request.endpoint, &request.name)?;
            self.context.proposer.barrier(call.deadline).await?;
            let read = |state: &ClusterState| state.deployment(&key).map(|found| generations_message(state, found));
            self.context.machine.read(read)
        })
        .await
    }

    type LogsStream = Answers<LogLines>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Deployments/Logs", self.read_logs(&call, request.into_inner())).await
    }
}

// === impl Api ===

impl Api {
    async fn put_deployment(&self, call: &Call, request: PutDeploymentRequest) -> Result<Deployment, Error> {
        let mut checks = Checks::default();
        let asker = checks.check("request_id", call.asker("Deployments/Put", &request.request_id, &request));
        let endpoint = checks.check("endpoint", EndpointName::new(&request.endpoint));
        let name = checks.check("name", DeploymentName::new(&request.name));
        let mode = checks.check("mode", put_mode(request.mode));
        let spec = checks.check("spec", deployment_spec(request.spec));
        let (Some(asker), Some(endpoint), Some(name), Some(mode), Some(spec)) = (asker, endpoint, name, mode, spec)
        else {
            return Err(checks.refusal());
        };
        let key = DeploymentKey::new(endpoint, name);
        let if_revision = if_revision(request.if_revision);
        let command = Command::DeploymentPut { key: key.clone(), spec: Box::new(spec), mode, if_revision };
        self.context.proposer.change(asker, command, call.deadline).await?;
        self.deployment(&key)
    }

    async fn verdict(&self, call: &Call, request: ExplainDeploymentRequest) -> Result<Verdict, Error> {
        let key = key(&request.endpoint, &request.name)?;
        let lead = match self.leader(call)? {
            Leader::Here(lead) => lead,
            Leader::There(channel) => {
                let answered = DeploymentsClient::new(channel).explain(handed_on(call, request)).await;
                return answered.map(Response::into_inner).map_err(|status| from_status(&status));
            }
        };
        self.context.proposer.barrier(call.deadline).await?;
        let waiting = lead.inbox.waiting(key.clone(), call.deadline).await?;
        let mut verdict = self.context.machine.read(|state| explain(state, &key))?;
        verdict.waiting.extend(waiting);
        Ok(verdict_message(&key, &verdict))
    }

    pub(super) fn deployment(&self, key: &DeploymentKey) -> Result<Deployment, Error> {
        self.context.machine.read(|state| state.deployment(key).map(|found| deployment_message(state, found)))
    }
}

/// Reads the two halves of a deployment's name.
pub(super) fn key(endpoint: &str, name: &str) -> Result<DeploymentKey, Error> {
    let mut checks = Checks::default();
    let endpoint = checks.check("endpoint", EndpointName::new(endpoint));
    let name = checks.check("name", DeploymentName::new(name));
    let (Some(endpoint), Some(name)) = (endpoint, name) else {
        return Err(checks.refusal());
    };
    Ok(DeploymentKey::new(endpoint, name))
}

/// Reads the name of an endpoint that may be left out.
pub(super) fn optional(endpoint: &str) -> Result<Option<EndpointName>, Error> {
    (!endpoint.is_empty()).then(|| super::endpoints::name(endpoint)).transpose()
}
