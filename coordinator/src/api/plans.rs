//! What if: the planner on a copy of this member's state, as it is once everything committed before is applied.

use berth_core::{
    error::{Code, Error},
    whatif::{Bounds, ask},
};
use berth_proto::api::{
    plan_changes, plan_question, plan_report,
    v1::{PlanReport, PlanRequest, plans_server::Plans},
};
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, answer},
};

#[tonic::async_trait]
impl Plans for Api {
    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanReport>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Plans/Plan", self.what_if(&call, &request.into_inner())).await
    }
}

// === impl Api ===

impl Api {
    async fn what_if(&self, call: &Call, request: &PlanRequest) -> Result<PlanReport, Error> {
        let question = plan_question(request)?;
        let turn = tokio::time::timeout_at(call.deadline, self.context.whatif.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| too_late())?.map_err(|error| stopped(&error))?;
        self.context.proposer.barrier(call.deadline).await?;
        // Copied, so that nothing waits while it is played through.
        let state = self.context.machine.read(Clone::clone);
        let asked = tokio::task::spawn_blocking(move || {
            let changes = plan_changes(&state, &question);
            let outcome = ask(&state, &question, Bounds::default());
            // Held until it is done, also when the caller has gone: the next one would only make both slower.
            drop(turn);
            outcome.map(|outcome| plan_report(&question, changes, &outcome, state.applied.0))
        });
        match tokio::time::timeout_at(call.deadline, asked).await {
            Ok(report) => report.map_err(|error| stopped(&error))?,
            Err(_) => Err(too_late()),
        }
    }
}

fn too_late() -> Error {
    Error::new(Code::Timeout, "what would happen was not found out in time")
        .why("one question is answered at a time, and a large fleet takes a while")
        .try_("ask again, or ask for less at once")
}

fn stopped(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Internal, "the what-if stopped").why(error.to_string())
}
