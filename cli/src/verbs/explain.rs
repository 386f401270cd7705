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
            Ok(out.value(&verdict, of, || out.line(verdict.text.trim_end()))?)
        }
    }
}
