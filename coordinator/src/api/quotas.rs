//! Quotas: show, set, lend, return. What is allowed is decided where the entry is applied.

use berth_core::{
    error::{Code, Error},
    id::{Digest, LoanId, RequestId},
    model::{Family, ProjectName},
    quota::QuotaReport as Report,
    state::Command,
    time::Millis,
};
use berth_proto::api::{
    if_revision, loan_message, project, quota_limits, quota_report,
    v1::{
        LendQuotaRequest, Loan, Mutation, QuotaReport, ReturnLoanRequest, SetQuotaRequest, ShowQuotaRequest,
        quotas_server::Quotas,
    },
};
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, Checks, answer},
};

#[tonic::async_trait]
impl Quotas for Api {
    async fn show(&self, request: Request<ShowQuotaRequest>) -> Result<Response<QuotaReport>, Status> {
        let call = Call::of(request.metadata());
        let name = request.into_inner().project;
        answer(&self.context.metrics, "Quotas/Show", async {
            let name = if name.is_empty() { None } else { Some(named(&name)?) };
            self.context.proposer.barrier(call.deadline).await?;
            self.quota_report(name.as_ref())
        })
        .await
    }

    async fn set(&self, request: Request<SetQuotaRequest>) -> Result<Response<QuotaReport>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Quotas/Set", self.set_quota(&call, request.into_inner())).await
    }

    async fn lend(&self, request: Request<LendQuotaRequest>) -> Result<Response<Loan>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Quotas/Lend", self.lend_quota(&call, request.into_inner())).await
    }

    async fn r#return(&self, request: Request<ReturnLoanRequest>) -> Result<Response<Mutation>, Status> {
        let call = Call::of(request.metadata());
        let request = request.into_inner();
        answer(&self.context.metrics, "Quotas/Return", async {
            let asker = call.asker("Quotas/Return", &request.request_id, &request)?;
            let loan = match request.loan.parse() {
                Ok(whole) => whole,
                Err(_) => {
                    self.context.proposer.barrier(call.deadline).await?;
                    let answered = RequestId(request.request_id.clone());
                    self.context.machine.read(|state| match state.quotas.loan(&request.loan) {
                        // The retry of a return that was done: its answer is kept under its request id.
                        Err(_) if state.replies.get(&answered).is_some() => Ok(LoanId::default()),
                        found => found.map(|loan| loan.id),
                    })?
                }
            };
            let revision = self.context.proposer.change(asker, Command::QuotaReturn { loan }, call.deadline).await?;
            Ok(Mutation { revision: revision.0 })
        })
        .await
    }
}

// === impl Api ===

impl Api {
    async fn set_quota(&self, call: &Call, request: SetQuotaRequest) -> Result<QuotaReport, Error> {
        let mut checks = Checks::default();
        let asker = checks.check("request_id", call.asker("Quotas/Set", &request.request_id, &request));
        let limits = checks.check("limits", quota_limits(&request));
        let owner = match request.project.as_str() {
            "" => Some(None),
            text => checks.check("project", project(text)).map(Some),
        };
        let (Some(asker), Some(limits), Some(owner)) = (asker, limits, owner) else { return Err(checks.refusal()) };
        let if_revision = if_revision(request.if_revision);
        let command = match &owner {
            Some(project) => Command::QuotaSet { project: project.clone(), limits, if_revision },
            None => Command::PoolSet { amounts: limits, if_revision },
        };
        self.context.proposer.change(asker, command, call.deadline).await?;
        match self.quota_report(owner.as_ref()) {
            // Its last limit was taken away and it owns nothing: there is nothing left to show.
            Err(error) if error.code == Code::ProjectNotFound => Ok(QuotaReport::default()),
            answer => answer,
        }
    }

    async fn lend_quota(&self, call: &Call, request: LendQuotaRequest) -> Result<Loan, Error> {
        let mut checks = Checks::default();
        let asker = checks.check("request_id", call.asker("Quotas/Lend", &request.request_id, &request));
        let owner = checks.check("project", project(&request.project));
        let family = checks.check("family", Family::named(&request.family));
        let (Some(asker), Some(project), Some(family)) = (asker, owner, family) else { return Err(checks.refusal()) };
        // Made of the request's id, so that a retry names the same loan.
        let digest = Digest::of(format!("loan\0{}", request.request_id).as_bytes()).0;
        let loan = LoanId(digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)));
        let within = Millis(request.within_ms);
        let command = Command::QuotaLend { loan, project, family, milli: request.milli, within };
        self.context.proposer.change(asker, command, call.deadline).await?;
        self.context.machine.read(|state| state.quotas.loan(&loan.to_string()).map(loan_message))
    }

    fn quota_report(&self, name: Option<&ProjectName>) -> Result<QuotaReport, Error> {
        self.context.machine.read(|state| Report::of(state, name).map(|report| quota_report(state, &report)))
    }
}

fn named(text: &str) -> Result<ProjectName, Error> {
    let mut checks = Checks::default();
    checks.check("project", project(text)).ok_or_else(|| checks.refusal())
}
