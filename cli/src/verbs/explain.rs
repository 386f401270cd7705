//! `berth explain`: the verdict on a deployment, or what became of a request.

use berth_core::error::{Code, Error};

use super::Context;
use crate::{
    args::{ExplainArgs, parse_key},
    output::{Fault, Misused, now_ms},
    view,
};

pub(super) async fn run(context: &Context, args: ExplainArgs) -> Result<(), Fault> {
    let out = &context.out;
    match (args.of.as_str(), args.id) {
        ("request", Some(id)) => {
            let report = context.client.explain_request(&id).await?;
            Ok(out.value(&report, &id, || out.line(view::request(&report, now_ms())))?)
        }
        ("request", None) => {
            let error = Error::new(Code::Invalid, "no request is named");
            Err(Fault::misused(error.try_("berth explain request ID, with the x-request-id of its answer")))
        }
        (_, Some(id)) => {
            let error = Error::new(Code::Invalid, format!("`{id}` is one word too many"));
            Err(Fault::misused(error.try_("berth explain ENDPOINT/DEPLOYMENT, or berth explain request ID")))
        }
        (of, None) => {
            let key = parse_key(of).or_misused()?;
            let verdict = context.client.explain_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?;
            let mut standing = Vec::new();
            // Nothing is refused and nothing is waited for: then where it is and what it survives is the answer.
            if !out.is_for_programs() && verdict.ready >= verdict.desired && verdict.desired > 0 {
                let (endpoint, name) = (key.endpoint.as_str(), key.deployment.as_str());
                let deployment = context.client.get_deployment(endpoint, name).await?;
                let replicas = context.client.list_replicas(endpoint, name).await?;
                let slots = context.client.list_slots(endpoint, name).await?;
                standing = view::standing::lines(&deployment, &replicas, &slots);
            }
            Ok(out.value(&verdict, of, || {
                out.line(verdict.text.trim_end());
                standing.iter().for_each(|line| out.line(line));
            })?)
        }
    }
}
