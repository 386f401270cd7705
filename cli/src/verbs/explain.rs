//! `berth explain`: the verdict.

use super::Context;
use crate::{
    args::{ExplainArgs, parse_key},
    output::Fault,
};

pub(super) async fn run(context: &Context, args: ExplainArgs) -> Result<(), Fault> {
    let key = parse_key(&args.deployment)?;
    let verdict = context.client.explain_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?;
    Ok(context.out.value(&verdict, &args.deployment, || context.out.line(verdict.text.trim_end()))?)
}
