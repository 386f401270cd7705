//! Alerts: how every rule stands, and whether a receiver takes what it is told.

use berth_core::{
    alert::Standing,
    error::{Code, Error},
    state::ClusterState,
};
use berth_proto::{
    api::v1::{
        AlertReceiver, AlertStatus, ListAlertsRequest, ListAlertsResponse, TestReceiverRequest, TestReceiverResponse,
        alerts_client::AlertsClient, alerts_server::Alerts,
    },
    status::from_status,
};
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, answer},
    endpoints::name,
    forward::{Leader, handed_on},
};
use crate::clock::wall;

#[tonic::async_trait]
impl Alerts for Api {
    async fn list(&self, request: Request<ListAlertsRequest>) -> Result<Response<ListAlertsResponse>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Alerts/List", async {
            let lead = match self.leader(&call)? {
                Leader::Here(lead) => lead,
                Leader::There(channel) => {
                    let answered = AlertsClient::new(channel).list(handed_on(&call, request)).await;
                    return Ok(answered.map_err(|status| from_status(&status))?.into_inner());
                }
            };
            self.context.proposer.barrier(call.deadline).await?;
            let wanted = if request.endpoint.is_empty() { None } else { Some(name(&request.endpoint)?) };
            let standings = lead.alerts.standings();
            self.context.machine.read(|state| {
                if let Some(wanted) = &wanted {
                    state.endpoint(wanted)?;
                }
                let fits = |standing: &&Standing| wanted.as_ref().is_none_or(|name| *name == standing.key.endpoint);
                Ok(ListAlertsResponse {
                    alerts: standings.iter().filter(fits).map(|standing| status(state, standing)).collect(),
                    receivers: self
                        .context
                        .alerts
                        .receivers()
                        .map(|it| AlertReceiver { name: it.name.clone(), kind: it.kind.word().to_owned() })
                        .collect(),
                    index: state.applied.0,
                })
            })
        })
        .await
    }

    async fn test(&self, request: Request<TestReceiverRequest>) -> Result<Response<TestReceiverResponse>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Alerts/Test", async {
            if let Leader::There(channel) = self.leader(&call)? {
                let answered = AlertsClient::new(channel).test(handed_on(&call, request)).await;
                return Ok(answered.map_err(|status| from_status(&status))?.into_inner());
            }
            let tested = self.context.alerts.test(&request.receiver, self.context.raft.cluster_id()).await;
            match tested {
                Ok(()) => Ok(TestReceiverResponse { delivered: true, why: String::new() }),
                Err(error) if error.code == Code::Upstream => {
                    Ok(TestReceiverResponse { delivered: false, why: error.why })
                }
                Err(error) => Err::<_, Error>(error),
            }
        })
        .await
    }
}

fn status(state: &ClusterState, standing: &Standing) -> AlertStatus {
    let alert = state.alerts.get(&standing.key).filter(|alert| alert.is_firing());
    let rule = &standing.rule;
    AlertStatus {
        endpoint: standing.key.endpoint.to_string(),
        rule: rule.name.clone(),
        when: rule.when.to_string(),
        deployment: rule.deployment.as_ref().map(ToString::to_string).unwrap_or_default(),
        severity: rule.severity.word().to_owned(),
        state: standing.stand.word().to_owned(),
        value: standing.value.map(|value| rule.when.measure.amount(value)).unwrap_or_default(),
        since_ms: alert.map_or_else(|| wall().millis().saturating_sub(standing.held.0), |alert| alert.since.millis()),
        text: alert.map(|alert| alert.text.clone()).unwrap_or_default(),
        notify: rule.notify.clone(),
        told: alert.is_some_and(|alert| alert.told),
    }
}
