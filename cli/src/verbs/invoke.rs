//! `berth invoke`: one call, its answer, and who gave it.

use std::{io::Read, path::Path, time::Instant};

use berth_client::{Answer, InferClient};
use berth_core::error::{Code, Error};
use hyper::header::HeaderName;

use super::Context;
use crate::{args::InvokeArgs, output::Fault};

/// The largest body that is read into memory.
const BODY_BYTES_MAX: u64 = 1 << 30;

pub(super) async fn run(context: &Context, args: InvokeArgs) -> Result<(), Fault> {
    let name = args.name.get();
    let body = read_body(&args)?;
    let mut client = match &args.ingress {
        None => context.client.infer(name).await?,
        Some(ingress) => {
            let keys = context.client.list_keys(name).await?;
            InferClient::new([ingress], name)?.with_key(&keys.primary_key)
        }
    };
    if let Some(deployment) = &args.deployment {
        client = client.pinned_to(deployment);
    }
    let started = Instant::now();
    let answer = client.post(&args.path, &args.content_type, body).await?;
    let total_ms = started.elapsed().as_millis();
    let who = who(&answer, total_ms);
    let deployment = answer.deployment().map(str::to_owned);
    let answer = answer.into_success();
    if let Ok(answer) = &answer {
        context.out.bytes(&answer.body);
    }
    context.out.aside(who);
    match answer {
        Ok(_) => Ok(()),
        Err(error) => Err(with_advice(context, name, deployment.as_deref(), error).await.into()),
    }
}

fn read_body(args: &InvokeArgs) -> Result<Vec<u8>, Error> {
    if let Some(data) = &args.data {
        return Ok(data.clone().into_bytes());
    }
    let Some(path) = &args.request_file else {
        return Err(Error::new(Code::Invalid, "no request is given").try_("-f FILE, -f - for stdin, or -d '{…}'"));
    };
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(BODY_BYTES_MAX).read_to_end(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(BODY_BYTES_MAX).read_to_end(&mut body))
    };
    match read {
        Ok(_) => Ok(body),
        Err(error) => {
            Err(Error::new(Code::PathMissing, format!("`{}` cannot be read", path.display())).why(error.to_string()))
        }
    }
}

/// Adds what to try, where the cluster knows better than the ingress that answered.
async fn with_advice(context: &Context, endpoint: &str, deployment: Option<&str>, error: Error) -> Error {
    let advice = match error.code {
        Code::RouteNotFound => {
            let deployments = context.client.list_deployments(endpoint).await.unwrap_or_default();
            let names: Vec<_> = deployments.iter().map(|deployment| deployment.name.as_str()).collect();
            match names.first() {
                None => "create one: `berth deployment create -f FILE --all-traffic`".to_owned(),
                Some(first) if deployments.iter().all(|deployment| deployment.traffic_percent == 0) => {
                    format!("give one traffic: `berth traffic {endpoint} {first}=100`")
                }
                Some(_) => format!("it has {}", names.join(", ")),
            }
        }
        Code::Upstream => match deployment {
            Some(deployment) => format!("`berth logs {endpoint}/{deployment}` shows what it wrote"),
            None => return error,
        },
        _ => return error,
    };
    if error.try_.is_empty() { error.try_(advice) } else { error }
}

/// Says who answered, as far as the answer tells.
fn who(answer: &Answer, total_ms: u128) -> String {
    let header = |name: &'static str| answer.header(&HeaderName::from_static(name));
    let mut parts = Vec::new();
    parts.extend(answer.deployment().map(str::to_owned));
    parts.extend(answer.replica().map(|id| format!("replica {}", id.get(..8).unwrap_or(id))));
    parts.extend(header("x-berth-queue-ms").map(|ms| format!("queued {ms} ms")));
    parts.push(format!("{total_ms} ms in all"));
    parts.extend(header("x-request-id").map(|id| format!("request {id}")));
    parts.join(" · ")
}
