//! Every call of the API, one method each. Requests are the messages of the wire; a mutation without a `request_id` is
//! given one.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use berth_core::error::{Code, Error};
use tokio::time::Instant;

use crate::{
    api::{self, *},
    store::{Settings, SettingsChange},
    transport::{Client, MESSAGE_BYTES_MAX, Named, fill_name},
};

/// How soon routers are asked about again: they take a change within milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a what-if may take: the planner goes over a large fleet many times.
const PLAN_DEADLINE: Duration = Duration::from_secs(60);

macro_rules! named {
    ($($request:ty),* $(,)?) => {
        $(impl Named for $request {
            fn name(&mut self) {
                fill_name(&mut self.request_id);
            }
        })*
    };
}

named!(
    PutEndpointRequest,
    DeleteEndpointRequest,
    SetTrafficRequest,
    RegenerateKeyRequest,
    PutDeploymentRequest,
    ScaleDeploymentRequest,
    PauseDeploymentRequest,
    RestartDeploymentRequest,
    ReplaceReplicaRequest,
    DeleteDeploymentRequest,
    CordonNodeRequest,
    DrainNodeRequest,
    SetSettingsRequest,
    LockUpgradeRequest,
    ForgetNodeRequest,
    SetQuotaRequest,
    LendQuotaRequest,
    ReturnLoanRequest,
);

/// Sends `$request` through `$client::$service` by `$how`.
macro_rules! send {
    ($self:ident . $how:ident, $module:ident :: $service:ident . $method:ident, $request:expr) => {
        $self
            .$how($request, |channel, request| async move {
                let mut service = api::$module::$service::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
                service.$method(request).await
            })
            .await
    };
}

/// Endpoints.
impl Client {
    /// Creates an endpoint or replaces its spec.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::{PutEndpointRequest, PutMode};
    ///
    /// let request = PutEndpointRequest { name: "fraud".into(), mode: PutMode::Create.into(), ..Default::default() };
    /// client.put_endpoint(request).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_endpoint(&self, request: PutEndpointRequest) -> Result<Endpoint, Error> {
        send!(self.mutate, endpoints_client::EndpointsClient.put, request)
    }

    /// Returns an endpoint.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// println!("{}", client.get_endpoint("fraud").await?.provisioning_state);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_endpoint(&self, name: &str) -> Result<Endpoint, Error> {
        send!(self.call, endpoints_client::EndpointsClient.get, GetEndpointRequest { name: name.to_owned() })
    }

    /// Lists every endpoint.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for endpoint in client.list_endpoints().await? {
    ///     println!("{}", endpoint.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        let answer: Result<_, Error> =
            send!(self.call, endpoints_client::EndpointsClient.list, ListEndpointsRequest {});
        Ok(answer?.endpoints)
    }

    /// Deletes an endpoint with all its deployments.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::DeleteEndpointRequest;
    ///
    /// client.delete_endpoint(DeleteEndpointRequest { name: "fraud".into(), ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_endpoint(&self, request: DeleteEndpointRequest) -> Result<Mutation, Error> {
        send!(self.mutate, endpoints_client::EndpointsClient.delete, request)
    }

    /// Replaces the split, the mirrors, or both: percent per deployment. What is `None` stays as it is.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let split = [("blue".to_owned(), 90), ("green".to_owned(), 10)].into();
    /// client.set_traffic("fraud", Some(split), None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_traffic(
        &self,
        endpoint: &str,
        split: Option<BTreeMap<String, u32>>,
        mirror: Option<BTreeMap<String, u32>>,
    ) -> Result<Endpoint, Error> {
        let map = |percent| TrafficMap { percent };
        let request = SetTrafficRequest {
            endpoint: endpoint.to_owned(),
            split: split.map(map),
            mirror: mirror.map(map),
            ..Default::default()
        };
        self.put_traffic(request).await
    }

    /// Replaces the split, the mirrors, or both, and may demand that nobody changed the endpoint since it was read.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::{SetTrafficRequest, TrafficMap};
    ///
    /// let seen = client.get_endpoint("fraud").await?;
    /// let split = TrafficMap { percent: [("green".to_owned(), 100)].into() };
    /// let request = SetTrafficRequest {
    ///     endpoint: seen.name,
    ///     split: Some(split),
    ///     if_revision: Some(seen.revision),
    ///     ..Default::default()
    /// };
    /// client.put_traffic(request).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_traffic(&self, request: SetTrafficRequest) -> Result<Endpoint, Error> {
        send!(self.mutate, endpoints_client::EndpointsClient.set_traffic, request)
    }

    /// Waits until every node that is not lost routes by what an endpoint is now, and names those that do not after so
    /// long. Whoever calls the endpoint through another node than those sees the change.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let split = [("blue".to_owned(), 100)].into();
    /// client.set_traffic("fraud", Some(split), None).await?;
    /// let behind = client.await_routers("fraud", std::time::Duration::from_secs(10)).await?;
    /// assert!(behind.is_empty(), "{behind:?} route by the old split");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn await_routers(&self, endpoint: &str, within: Duration) -> Result<Vec<String>, Error> {
        let until = Instant::now() + within;
        loop {
            let request = ShowRoutersRequest { endpoint: endpoint.to_owned() };
            let told = send!(self.call, endpoints_client::EndpointsClient.show_routers, request)?;
            if told.behind.is_empty() || Instant::now() + LOOK_AGAIN >= until {
                return Ok(told.behind);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Returns both keys of an endpoint.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// println!("{}", client.list_keys("fraud").await?.primary_key);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_keys(&self, endpoint: &str) -> Result<EndpointKeys, Error> {
        let request = ListKeysRequest { endpoint: endpoint.to_owned() };
        send!(self.call, endpoints_client::EndpointsClient.list_keys, request)
    }

    /// Replaces one key of an endpoint.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::{KeyType, RegenerateKeyRequest};
    ///
    /// let key_type = KeyType::Secondary.into();
    /// client.regenerate_key(RegenerateKeyRequest { endpoint: "fraud".into(), key_type, ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn regenerate_key(&self, request: RegenerateKeyRequest) -> Result<EndpointKeys, Error> {
        send!(self.mutate, endpoints_client::EndpointsClient.regenerate_key, request)
    }
}

/// Deployments and their replicas.
impl Client {
    /// Creates a deployment or replaces its spec.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::PutDeploymentRequest;
    ///
    /// // The next generation of what is there, unless somebody was faster.
    /// let mut seen = client.get_deployment("fraud", "blue").await?;
    /// if let Some(spec) = &mut seen.spec {
    ///     spec.environment_variables.insert("THRESHOLD".into(), "0.7".into());
    /// }
    /// let request = PutDeploymentRequest {
    ///     endpoint: seen.endpoint,
    ///     name: seen.name,
    ///     spec: seen.spec,
    ///     if_revision: Some(seen.revision),
    ///     ..Default::default()
    /// };
    /// client.put_deployment(request).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_deployment(&self, request: PutDeploymentRequest) -> Result<Deployment, Error> {
        send!(self.mutate, deployments_client::DeploymentsClient.put, request)
    }

    /// Returns a deployment.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let blue = client.get_deployment("fraud", "blue").await?;
    /// println!("{}: {}", blue.provisioning_state, blue.reason);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_deployment(&self, endpoint: &str, name: &str) -> Result<Deployment, Error> {
        let request = GetDeploymentRequest { endpoint: endpoint.to_owned(), name: name.to_owned() };
        send!(self.call, deployments_client::DeploymentsClient.get, request)
    }

    /// Lists the deployments of an endpoint; of all when the name is empty.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// println!("{} deployments", client.list_deployments("fraud").await?.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_deployments(&self, endpoint: &str) -> Result<Vec<Deployment>, Error> {
        let request = ListDeploymentsRequest { endpoint: endpoint.to_owned() };
        let answer: Result<_, Error> = send!(self.call, deployments_client::DeploymentsClient.list, request);
        Ok(answer?.deployments)
    }

    /// Changes how many instances a deployment has.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::ScaleDeploymentRequest;
    ///
    /// let (endpoint, name) = ("fraud".into(), "blue".into());
    /// client.scale_deployment(ScaleDeploymentRequest { endpoint, name, instance_count: 4, ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn scale_deployment(&self, request: ScaleDeploymentRequest) -> Result<Deployment, Error> {
        send!(self.mutate, deployments_client::DeploymentsClient.scale, request)
    }

    /// Deletes a deployment that carries no traffic.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::DeleteDeploymentRequest;
    ///
    /// let (endpoint, name) = ("fraud".into(), "blue".into());
    /// client.delete_deployment(DeleteDeploymentRequest { endpoint, name, ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_deployment(&self, request: DeleteDeploymentRequest) -> Result<Mutation, Error> {
        send!(self.mutate, deployments_client::DeploymentsClient.delete, request)
    }

    /// Says why a deployment's replicas are where they are, or nowhere.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// println!("{}", client.explain_deployment("fraud", "blue").await?.text);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn explain_deployment(&self, endpoint: &str, name: &str) -> Result<Verdict, Error> {
        let request = ExplainDeploymentRequest { endpoint: endpoint.to_owned(), name: name.to_owned() };
        send!(self.call, deployments_client::DeploymentsClient.explain, request)
    }

    /// Lists replicas; an empty name stands for all.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for replica in client.list_replicas("fraud", "").await? {
    ///     println!("{} on {} is {}", replica.replica, replica.node, replica.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_replicas(&self, endpoint: &str, deployment: &str) -> Result<Vec<Replica>, Error> {
        let request = ListReplicasRequest { endpoint: endpoint.to_owned(), deployment: deployment.to_owned() };
        let answer: Result<_, Error> = send!(self.call, replicas_client::ReplicasClient.list, request);
        Ok(answer?.replicas)
    }

    /// Lists the places held in reserve, of one endpoint and deployment where they are named.
    pub async fn list_slots(&self, endpoint: &str, deployment: &str) -> Result<Vec<Slot>, Error> {
        let request = ListSlotsRequest { endpoint: endpoint.to_owned(), deployment: deployment.to_owned() };
        let answer: Result<_, Error> = send!(self.call, replicas_client::ReplicasClient.list_slots, request);
        Ok(answer?.slots)
    }
}

/// Requests.
impl Client {
    /// Tells what became of a request that some node's ingress took, by the `x-request-id` of its answer or the caller's
    /// own `x-ms-client-request-id`.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let report = client.explain_request("0f8fad5b-d9cb-469f-a165-70867728950e").await?;
    /// println!("{} by {} in {} µs", report.status, report.deployment, report.total_us);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn explain_request(&self, id: &str) -> Result<RequestReport, Error> {
        let request = ExplainRequestRequest { id: id.to_owned() };
        send!(self.call, requests_client::RequestsClient.explain, request)
    }
}

/// Rollouts.
impl Client {
    /// Lets what serves of a deployment stay as it is, or goes on with what replaces it.
    pub async fn pause_rollout(&self, endpoint: &str, name: &str, paused: bool) -> Result<Deployment, Error> {
        let request = PauseDeploymentRequest {
            endpoint: endpoint.to_owned(),
            name: name.to_owned(),
            paused,
            ..PauseDeploymentRequest::default()
        };
        send!(self.mutate, deployments_client::DeploymentsClient.pause, request)
    }

    /// Starts every replica of a deployment anew, as a rollout of the same spec.
    pub async fn restart_deployment(
        &self,
        endpoint: &str,
        name: &str,
        if_revision: Option<u64>,
    ) -> Result<Deployment, Error> {
        let request = RestartDeploymentRequest {
            endpoint: endpoint.to_owned(),
            name: name.to_owned(),
            if_revision,
            ..RestartDeploymentRequest::default()
        };
        send!(self.mutate, deployments_client::DeploymentsClient.restart, request)
    }

    /// Takes one replica off the traffic and ends it; its deployment gets another in its place. Its requests may go on for
    /// `within`, or for as long as its deployment lets them.
    pub async fn replace_replica(&self, replica: &str, within: Option<Duration>) -> Result<Mutation, Error> {
        let request = ReplaceReplicaRequest {
            replica: replica.to_owned(),
            within_ms: within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX)),
            ..ReplaceReplicaRequest::default()
        };
        send!(self.mutate, replicas_client::ReplicasClient.replace, request)
    }

    /// Lists the generations of a deployment that one may go back to, oldest first, with the current one.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for found in client.generations("fraud", "blue").await? {
    ///     println!("{}{}", found.generation, if found.current { " (current)" } else { "" });
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn generations(&self, endpoint: &str, name: &str) -> Result<Vec<DeploymentGeneration>, Error> {
        let request = ListGenerationsRequest { endpoint: endpoint.to_owned(), name: name.to_owned() };
        let answer: Result<_, Error> =
            send!(self.call, deployments_client::DeploymentsClient.list_generations, request);
        Ok(answer?.generations)
    }
}

/// Mirrors.
impl Client {
    /// Tells how the answers of an endpoint's mirrors compare with those that callers got.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for verdict in client.mirror_report("fraud").await?.mirrors {
    ///     println!("{} answers as {} does in {:?} %", verdict.mirror, verdict.primary, verdict.match_percent);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mirror_report(&self, endpoint: &str) -> Result<MirrorReport, Error> {
        let request = MirrorReportRequest { endpoint: endpoint.to_owned() };
        send!(self.call, mirrors_client::MirrorsClient.report, request)
    }
}

/// Nodes.
impl Client {
    /// Lists every node.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for node in client.list_nodes().await? {
    ///     println!("{} is {}", node.node, node.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_nodes(&self) -> Result<Vec<Node>, Error> {
        let answer: Result<_, Error> = send!(self.call, nodes_client::NodesClient.list, ListNodesRequest {});
        Ok(answer?.nodes)
    }

    /// Keeps new replicas away from a node, or lets them come again.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// client.cordon_node("node-1", true).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cordon_node(&self, node: &str, cordoned: bool) -> Result<Node, Error> {
        let request = CordonNodeRequest { node: node.to_owned(), cordoned, ..Default::default() };
        send!(self.mutate, nodes_client::NodesClient.cordon, request)
    }

    /// Wishes a node empty, or no longer with `cancel`.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::DrainNodeRequest;
    ///
    /// client.drain_node(DrainNodeRequest { node: "node-1".into(), reason: "a kernel".into(), ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain_node(&self, request: DrainNodeRequest) -> Result<Node, Error> {
        send!(self.mutate, nodes_client::NodesClient.drain, request)
    }

    /// Forgets a node that is lost for good.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// client.forget_node("node-1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn forget_node(&self, node: &str) -> Result<Mutation, Error> {
        let request = ForgetNodeRequest { node: node.to_owned(), ..Default::default() };
        send!(self.mutate, nodes_client::NodesClient.forget, request)
    }
}

/// What if.
impl Client {
    /// Asks what would happen; nothing is changed.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::PlanRequest;
    ///
    /// let report = client.plan(PlanRequest { lose: vec!["node-1".into()], ..Default::default() }).await?;
    /// println!("{}", if report.keeps_minimum { "every endpoint keeps its minimum" } else { "not every one does" });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn plan(&self, request: PlanRequest) -> Result<PlanReport, Error> {
        let plan = |channel, request| async move {
            let service = plans_client::PlansClient::new(channel);
            service.max_decoding_message_size(MESSAGE_BYTES_MAX).plan(request).await
        };
        self.call_within(PLAN_DEADLINE, PLAN_DEADLINE, || request.clone(), plan).await
    }
}

/// The cluster itself.
impl Client {
    /// Returns what the cluster says about itself.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// println!("{}", client.cluster_info().await?.cluster_id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cluster_info(&self) -> Result<ClusterInfo, Error> {
        send!(self.call, cluster_client::ClusterClient.info, ClusterInfoRequest {})
    }

    /// Takes, renews or gives back the lock under which the fleet is upgraded.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::LockUpgradeRequest;
    ///
    /// client.lock_upgrade(LockUpgradeRequest { holder: "me".into(), within_ms: Some(60_000), ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lock_upgrade(&self, request: LockUpgradeRequest) -> Result<Mutation, Error> {
        send!(self.mutate, cluster_client::ClusterClient.lock_upgrade, request)
    }

    /// Returns what an operator set for the whole cluster.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// println!("{:?}", client.settings().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn settings(&self) -> Result<Settings, Error> {
        send!(self.call, cluster_client::ClusterClient.get_settings, GetSettingsRequest {})
    }

    /// Changes what an operator may set for the whole cluster.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::store::SettingsChange;
    ///
    /// client.set_settings(SettingsChange { lost_after_ms: Some(5_000), ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_settings(&self, change: SettingsChange) -> Result<Settings, Error> {
        let request = SetSettingsRequest { change: Some(change), ..Default::default() };
        send!(self.mutate, cluster_client::ClusterClient.set_settings, request)
    }

    /// Lists the coordinators.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for member in client.list_members().await?.members {
    ///     println!("{} at {}", member.id, member.address);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_members(&self) -> Result<ListMembersResponse, Error> {
        send!(self.call, cluster_client::ClusterClient.members, ListMembersRequest {})
    }

    /// Adds a coordinator that is running and waits to join.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// client.add_member("9f86d081884c7d65", "10.0.0.4:7400").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add_member(&self, id: &str, address: &str) -> Result<ListMembersResponse, Error> {
        let request = AddMemberRequest { id: id.to_owned(), address: address.to_owned() };
        send!(self.call, cluster_client::ClusterClient.add_member, request)
    }

    /// Removes a coordinator for good.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// client.remove_member("9f86d081884c7d65").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove_member(&self, id: &str) -> Result<ListMembersResponse, Error> {
        send!(self.call, cluster_client::ClusterClient.remove_member, RemoveMemberRequest { id: id.to_owned() })
    }

    /// Asks the leader to hand over to a coordinator.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// client.transfer_leadership("9f86d081884c7d65").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transfer_leadership(&self, id: &str) -> Result<ListMembersResponse, Error> {
        let request = TransferLeadershipRequest { id: id.to_owned() };
        send!(self.call, cluster_client::ClusterClient.transfer_leadership, request)
    }

    /// Runs every invariant over the state.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for violation in client.check().await?.violations {
    ///     println!("{violation:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Result<CheckReport, Error> {
        send!(self.call, cluster_client::ClusterClient.check, CheckRequest {})
    }

    /// Writes the whole state, as it is stored, to `out`, and returns its size.
    ///
    /// A stream that breaks is an error, not a shorter file.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let mut file = std::fs::File::create("berth.snapshot").expect("a place to write");
    /// println!("{} bytes", client.save_snapshot(&mut file).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn save_snapshot(&self, out: &mut (impl Write + Send)) -> Result<u64, Error> {
        let mut chunks = send!(self.call, cluster_client::ClusterClient.save_snapshot, SaveSnapshotRequest {})?;
        let mut written = 0;
        let patience = self.options().deadline;
        loop {
            let next = tokio::time::timeout(patience, chunks.message()).await;
            let next = next.map_err(|_| Error::new(Code::Timeout, "the snapshot stopped coming"))?;
            let Some(chunk) = next.map_err(|status| berth_proto::status::from_status(&status))? else { break };
            out.write_all(&chunk.data).map_err(|error| not_written(&error))?;
            written += chunk.data.len() as u64;
        }
        out.flush().map_err(|error| not_written(&error))?;
        Ok(written)
    }
}

fn not_written(error: &io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { Code::Internal };
    Error::new(code, "the snapshot could not be written").why(error.to_string())
}

/// Quotas.
impl Client {
    /// Tells what projects take and may take; of one alone when it is named.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for quota in client.quota("team-a").await?.quotas {
    ///     println!("{}: {} milli-{} of {:?}", quota.family, quota.used_milli, quota.unit, quota.limit_milli);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn quota(&self, project: &str) -> Result<QuotaReport, Error> {
        let request = ShowQuotaRequest { project: project.to_owned() };
        send!(self.call, quotas_client::QuotasClient.show, request)
    }

    /// Sets limits of a project, or what the pool may lend, in thousandths of a core or a device.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::SetQuotaRequest;
    ///
    /// let limits_milli = [("H100".to_owned(), 8_000)].into();
    /// let request = SetQuotaRequest { project: "team-a".into(), limits_milli, ..Default::default() };
    /// for over in client.set_quota(request).await?.quotas.iter().filter(|quota| quota.over_milli > 0) {
    ///     println!("{} is over: what runs stays, nothing more is admitted", over.family);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_quota(&self, request: SetQuotaRequest) -> Result<QuotaReport, Error> {
        send!(self.mutate, quotas_client::QuotasClient.set, request)
    }

    /// Raises a project's limit out of the pool for a while; it returns by itself.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// use berth_client::api::LendQuotaRequest;
    ///
    /// let (project, family) = ("team-a".into(), "H100".into());
    /// let day_ms = 24 * 3_600_000;
    /// let request = LendQuotaRequest { project, family, milli: 2_000, within_ms: day_ms, ..Default::default() };
    /// let loan = client.lend_quota(request).await?;
    /// client.return_loan(&loan.loan).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lend_quota(&self, request: LendQuotaRequest) -> Result<Loan, Error> {
        send!(self.mutate, quotas_client::QuotasClient.lend, request)
    }

    /// Returns a loan before its time, by its id or the beginning of it.
    pub async fn return_loan(&self, loan: &str) -> Result<Mutation, Error> {
        let request = ReturnLoanRequest { loan: loan.to_owned(), ..Default::default() };
        send!(self.mutate, quotas_client::QuotasClient.r#return, request)
    }
}

/// Alerts.
impl Client {
    /// Lists the rules for alerts and how each stands, those that fire first; of one endpoint when it is named.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// for alert in client.alerts("").await?.alerts.iter().filter(|alert| alert.state == "firing") {
    ///     println!("{}/{}: {}", alert.endpoint, alert.rule, alert.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn alerts(&self, endpoint: &str) -> Result<ListAlertsResponse, Error> {
        let request = ListAlertsRequest { endpoint: endpoint.to_owned() };
        send!(self.call, alerts_client::AlertsClient.list, request)
    }

    /// Tells a receiver of alerts something harmless and says whether it took it.
    pub async fn test_receiver(&self, receiver: &str) -> Result<TestReceiverResponse, Error> {
        let request = TestReceiverRequest { receiver: receiver.to_owned() };
        send!(self.call, alerts_client::AlertsClient.test, request)
    }
}
