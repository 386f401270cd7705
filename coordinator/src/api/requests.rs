//! Requests: what became of one, asked of every node's ingress through the leader's sessions.

use berth_core::error::{Code, Error};
use berth_proto::{
    api::v1::{ExplainRequestRequest, RequestReport, requests_client::RequestsClient, requests_server::Requests},
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
    forward::{Leader, handed_on},
};
use crate::{controller::Lead, session::RequestAsk};

/// A node answers within this or is passed over: it only looks into its memory.
const ANSWER: Duration = Duration::from_secs(3);

/// The longest id that is looked for. The mesh keeps none that is longer.
const ID_MAX: usize = 64;

#[tonic::async_trait]
impl Requests for Api {
    async fn explain(&self, request: Request<ExplainRequestRequest>) -> Result<Response<RequestReport>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Requests/Explain", self.explain_request(&call, request)).await
    }
}

// === impl Api ===

impl Api {
    async fn explain_request(&self, call: &Call, request: ExplainRequestRequest) -> Result<RequestReport, Error> {
        if request.id.is_empty() || request.id.len() > ID_MAX {
            return Err(Error::new(Code::Invalid, format!("`{}` is no id of a request", request.id))
                .why(format!("an id has 1 to {ID_MAX} bytes"))
                .try_("the x-request-id of the answer, or your own x-ms-client-request-id"));
        }
        match self.leader(call)? {
            Leader::Here(lead) => {
                self.find_request(&lead, &request.id, call.deadline.min(Instant::now() + ANSWER)).await
            }
            Leader::There(channel) => {
                let answered = RequestsClient::new(channel).explain(handed_on(call, request)).await;
                Ok(answered.map_err(|status| from_status(&status))?.into_inner())
            }
        }
    }

    /// Takes the first report there is. Nodes that do not answer are counted: it may be theirs.
    async fn find_request(&self, lead: &Lead, id: &str, deadline: Instant) -> Result<RequestReport, Error> {
        let nodes = lead.sessions.nodes();
        let mut answers: FuturesUnordered<_> = nodes
            .iter()
            .map(|node| {
                let (answer, answered) = oneshot::channel();
                lead.sessions.ask_request(*node, RequestAsk { id: id.to_owned(), answer });
                async move { (*node, timeout_at(deadline, answered).await) }
            })
            .collect();
        let mut silent = 0;
        while let Some((node, answer)) = answers.next().await {
            match answer {
                Ok(Ok(Some(report))) => {
                    let name = |node: &berth_core::model::Node| node.profile.name.to_string();
                    let node = self.context.machine.read(|state| state.nodes.get(&node).map(name));
                    return Ok(RequestReport { node: node.unwrap_or_default(), ..report });
                }
                Ok(Ok(None)) => {}
                Ok(Err(_)) | Err(_) => silent += 1,
            }
        }
        let all = self.context.machine.read(|state| state.nodes.len());
        let unheard = silent + all.saturating_sub(nodes.len());
        let unheard = if unheard == 0 { String::new() } else { format!("; {unheard} of {all} nodes did not answer") };
        Err(Error::new(Code::RequestNotFound, format!("no node remembers a request `{id}`"))
            .why(format!("each core of a node's ingress remembers its last 4096 requests until it ends{unheard}"))
            .try_("ask sooner, or look into the access log of the node that took it"))
    }
}
