//! Mirrors: what every node's ingress makes of their answers, added up.
//!
//! Nothing of it is kept here: the nodes have it, so a new leader tells the same as the one before.

use berth_core::error::{Code, Error};
use berth_proto::{
    api::{
        mirror_verdicts,
        v1::{MirrorReport, MirrorReportRequest, mirrors_client::MirrorsClient, mirrors_server::Mirrors},
    },
    node::tally_from_wire,
    status::from_status,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::oneshot,
    time::{Duration, Instant, timeout_at},
};
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, answer},
    endpoints::name,
    forward::{Leader, handed_on},
};
use crate::{controller::Lead, session::MirrorsAsk};

/// A node answers within this or is passed over: it only looks into its memory.
const ANSWER: Duration = Duration::from_secs(3);

#[tonic::async_trait]
impl Mirrors for Api {
    async fn report(&self, request: Request<MirrorReportRequest>) -> Result<Response<MirrorReport>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Mirrors/Report", self.mirror_report(&call, request)).await
    }
}

// === impl Api ===

impl Api {
    async fn mirror_report(&self, call: &Call, request: MirrorReportRequest) -> Result<MirrorReport, Error> {
        match self.leader(call)? {
            Leader::Here(lead) => {
                self.add_up_mirrors(&lead, &request.endpoint, call.deadline.min(Instant::now() + ANSWER)).await
            }
            Leader::There(channel) => {
                let answered = MirrorsClient::new(channel).report(handed_on(call, request)).await;
                Ok(answered.map_err(|status| from_status(&status))?.into_inner())
            }
        }
    }

    async fn add_up_mirrors(&self, lead: &Lead, endpoint: &str, deadline: Instant) -> Result<MirrorReport, Error> {
        let endpoint = name(endpoint)?;
        self.context.machine.read(|state| state.endpoint(&endpoint).map(|_| ()))?;
        let asked = lead.sessions.nodes().into_iter().map(|node| {
            let (answer, answered) = oneshot::channel();
            lead.sessions.ask_mirrors(node, MirrorsAsk { endpoint: endpoint.to_string(), answer });
            timeout_at(deadline, answered)
        });
        let mut answers: FuturesUnordered<_> = asked.collect();
        let (mut told, mut heard) = (Vec::new(), 0);
        while let Some(answer) = answers.next().await {
            let Ok(Ok(tallies)) = answer else { continue };
            heard += 1;
            // What a node of another version says differently is left out, not the rest of it.
            told.extend(tallies.into_iter().filter_map(|tally| tally_from_wire(tally).ok()));
        }
        self.context.machine.read(|state| {
            // It may have been deleted meanwhile.
            if !state.endpoints.contains_key(&endpoint) {
                return Err(Error::new(Code::EndpointNotFound, format!("no endpoint `{endpoint}`")));
            }
            Ok(MirrorReport {
                endpoint: endpoint.to_string(),
                mirrors: mirror_verdicts(state, &endpoint, told),
                nodes_heard: heard,
                nodes: u32::try_from(state.nodes.len()).unwrap_or(u32::MAX),
            })
        })
    }
}
