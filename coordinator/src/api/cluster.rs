//! The cluster itself: what it is, its members, its snapshot, its invariants.

use berth_core::{
    error::{Code, Error},
    id::MemberId,
    invariant,
    state::Command,
    time::Millis,
};
use berth_proto::{
    api::v1::{
        AddMemberRequest, CheckReport, CheckRequest, ClusterInfo, ClusterInfoRequest, GetSettingsRequest,
        ListMembersRequest, ListMembersResponse, LockUpgradeRequest, Member, Mutation, RemoveMemberRequest,
        SaveSnapshotRequest, SetSettingsRequest, SnapshotChunk, TransferLeadershipRequest, Violation,
        cluster_client::ClusterClient, cluster_server::Cluster,
    },
    api::{if_revision, settings_change, settings_message},
    store::{encode_snapshot, v1::Settings},
};
use bytes::Bytes;
use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, Checks, answer},
    deployments::Answers,
    forward::{Leader, handed_on},
};

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 256 << 10;

#[tonic::async_trait]
impl Cluster for Api {
    async fn info(&self, request: Request<ClusterInfoRequest>) -> Result<Response<ClusterInfo>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Cluster/Info", async {
            // Works without a leader: it is how one finds out that there is none.
            if let Ok(Leader::There(channel)) = self.leader(&call)
                && let Ok(told) = ClusterClient::new(channel).info(handed_on(&call, ClusterInfoRequest {})).await
            {
                return Ok(told.into_inner());
            }
            Ok(self.info_here())
        })
        .await
    }

    async fn members(&self, _request: Request<ListMembersRequest>) -> Result<Response<ListMembersResponse>, Status> {
        answer(&self.context.metrics, "Cluster/Members", async { Ok(self.members_here()) }).await
    }

    async fn add_member(&self, request: Request<AddMemberRequest>) -> Result<Response<ListMembersResponse>, Status> {
        let call = Call::of(request.metadata());
        let AddMemberRequest { id, address } = request.into_inner();
        answer(&self.context.metrics, "Cluster/AddMember", async {
            let id = member_id(&id)?;
            self.context.raft.add_learner(id, &address, call.deadline).await?;
            self.context.raft.promote(id, call.deadline).await?;
            self.members_after(&call).await
        })
        .await
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Cluster/RemoveMember", async {
            self.context.raft.remove_member(member_id(&request.get_ref().id)?, call.deadline).await?;
            self.members_after(&call).await
        })
        .await
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Cluster/TransferLeadership", async {
            let to = member_id(&request.get_ref().id)?;
            self.context.raft.transfer_leadership(to, call.deadline).await?;
            let led = |status: &crate::raft::RaftStatus| status.leader.as_ref().is_some_and(|leader| leader.id == to);
            self.context.raft.wait_for(call.deadline, "the new leader", led).await?;
            Ok(self.members_here())
        })
        .await
    }

    type SaveSnapshotStream = Answers<SnapshotChunk>;

    async fn save_snapshot(
        &self,
        request: Request<SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Cluster/SaveSnapshot", async {
            self.context.proposer.barrier(call.deadline).await?;
            let machine = self.context.machine.clone();
            let encoded =
                tokio::task::spawn_blocking(move || encode_snapshot(&machine.read(|state| state.to_snapshot())));
            let bytes = Bytes::from(encoded.await.map_err(|error| broken(&error))?);
            let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
            let chunks = starts.map(move |start| bytes.slice(start..(start + CHUNK_BYTES).min(bytes.len())));
            Ok(futures::stream::iter(chunks).map(|data| Ok(SnapshotChunk { data })).boxed() as Self::SaveSnapshotStream)
        })
        .await
    }

    async fn lock_upgrade(&self, request: Request<LockUpgradeRequest>) -> Result<Response<Mutation>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Cluster/LockUpgrade", async {
            let asker = call.asker("Cluster/LockUpgrade", &request.request_id, &request)?;
            let LockUpgradeRequest { holder, within_ms, steal, .. } = request;
            let command = Command::UpgradeLock { holder, within: within_ms.map(Millis), steal };
            let revision = self.context.proposer.change(asker, command, call.deadline).await?;
            Ok(Mutation { revision: revision.0 })
        })
        .await
    }

    async fn get_settings(&self, request: Request<GetSettingsRequest>) -> Result<Response<Settings>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Cluster/GetSettings", async {
            self.context.proposer.barrier(call.deadline).await?;
            Ok(self.settings_here())
        })
        .await
    }

    async fn set_settings(&self, request: Request<SetSettingsRequest>) -> Result<Response<Settings>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Cluster/SetSettings", async {
            let asker = call.asker("Cluster/SetSettings", &request.request_id, &request)?;
            let change = settings_change(request.change)?;
            let if_revision = if_revision(request.if_revision);
            let command = Command::SettingsSet { change, if_revision };
            self.context.proposer.change(asker, command, call.deadline).await?;
            Ok(self.settings_here())
        })
        .await
    }

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckReport>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Cluster/Check", async {
            self.context.proposer.barrier(call.deadline).await?;
            // Copied, so that nothing waits while it is judged.
            let state = self.context.machine.read(Clone::clone);
            let index = state.applied.0;
            let looked_at = state.endpoints.len()
                + state.deployments.len()
                + state.replicas.len()
                + state.nodes.len()
                + state.assets.len();
            let judged = tokio::task::spawn_blocking(move || invariant::check(&state));
            let found = judged.await.map_err(|error| broken(&error))?;
            self.context.metrics.state.violations.set(i64::try_from(found.len()).unwrap_or(i64::MAX));
            let violations =
                found.into_iter().map(|found| Violation { invariant: found.id.to_owned(), what: found.what });
            Ok(CheckReport {
                index,
                objects: looked_at as u64,
                violations: violations.collect(),
                checked: invariant::of_one_state().map(str::to_owned).collect(),
                need_history: invariant::of_a_history().map(str::to_owned).collect(),
            })
        })
        .await
    }
}

// === impl Api ===

impl Api {
    fn settings_here(&self) -> Settings {
        self.context.machine.read(|state| settings_message(&state.settings))
    }

    pub(super) fn info_here(&self) -> ClusterInfo {
        let status = self.context.raft.status();
        let lead = self.context.lead.borrow().clone();
        let mut warnings = Vec::new();
        warnings.extend(status.fatal.as_ref().map(|why| format!("this coordinator has stopped: {why}")));
        if status.leader.is_none() {
            warnings.push("no coordinator leads: nothing can be changed until a majority of them is up".to_owned());
        }
        warnings.extend(lead.and_then(|lead| lead.brake()));
        self.context.machine.read(|state| ClusterInfo {
            cluster_id: self.context.raft.cluster_id().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_level: state.feature_level,
            term: status.term.0,
            applied: state.applied.0,
            leader_address: status.leader.as_ref().map(|leader| leader.address.clone()).unwrap_or_default(),
            table_version: state.routes.version().0,
            endpoints: state.endpoints.len() as u64,
            deployments: state.deployments.len() as u64,
            replicas: state.replicas.len() as u64,
            nodes: state.nodes.len() as u64,
            warnings,
            not_covered: berth_proto::api::not_covered(state),
        })
    }

    pub(super) fn members_here(&self) -> ListMembersResponse {
        let status = self.context.raft.status();
        let leads = |id: MemberId| status.leader.as_ref().is_some_and(|leader| leader.id == id);
        let members = status.members.iter().map(|member| Member {
            id: member.id.to_string(),
            address: member.address.clone(),
            voter: member.voter,
            leader: leads(member.id),
        });
        ListMembersResponse { members: members.collect(), term: status.term.0 }
    }

    /// Lists the members once this one knows of the change that was just made.
    async fn members_after(&self, call: &Call) -> Result<ListMembersResponse, Error> {
        self.context.proposer.barrier(call.deadline).await?;
        Ok(self.members_here())
    }
}

fn member_id(text: &str) -> Result<MemberId, Error> {
    let mut checks = Checks::default();
    let parsed = text.parse::<MemberId>().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        Error::new(Code::Invalid, format!("`{shown}` is no member id"))
            .try_("sixteen hex digits, as the list of members shows them")
    });
    checks.check("id", parsed).ok_or_else(|| checks.refusal())
}

fn broken(error: &tokio::task::JoinError) -> Error {
    Error::new(Code::Internal, "the state could not be copied").why(error.to_string())
}
