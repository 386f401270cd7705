//! `berth invoke`: one call, its answer, and who gave it.

use std::{fmt, io::Read, path::Path, time::Instant};

use berth_client::{Answer, InferClient, Trust};
use berth_core::{
    error::{Code, Error},
    model::DeploymentName,
};
use hyper::header::HeaderName;
use serde::Serialize;

use super::Context;
use crate::{
    args::InvokeArgs,
    output::{Fault, Misused},
};

/// The largest body that is read into memory.
const BODY_BYTES_MAX: u64 = 1 << 30;

pub(super) async fn run(context: &Context, mut args: InvokeArgs) -> Result<(), Fault> {
    // `-d` of Azure's invoke names a deployment; a body beside a body it cannot be.
    if args.request_file.is_some()
        && let Some(word) = args.data.take()
    {
        let is_name = word.parse::<DeploymentName>().is_ok();
        if !is_name || args.deployment.as_ref().is_some_and(|named| *named != word) {
            let error = Error::new(Code::Invalid, "the request is given twice");
            return Err(Fault::misused(error.try_("-f FILE or -d '{…}'; `--deployment NAME` asks one deployment")));
        }
        args.deployment = Some(word);
    }
    let name = args.name.get();
    let body = read_body(&args).or_misused()?;
    let trust = args.ingress_ca.as_deref().map(Trust::read).transpose().or_misused()?;
    let mut client = match &args.ingress {
        None => match &trust {
            None => context.client.infer(name).await?,
            Some(trust) => context.client.infer_over_tls(name, trust).await?,
        },
        Some(ingress) => {
            let keys = context.client.list_keys(name).await?;
            let client = match &trust {
                None => InferClient::new([ingress], name)?,
                Some(trust) => InferClient::over_tls([ingress], name, trust)?,
            };
            client.with_key(&keys.primary_key)
        }
    };
    if let Some(deployment) = &args.deployment {
        client = client.pinned_to(deployment);
    }
    let started = Instant::now();
    let answer = client.post(&args.path, &args.content_type, body).await?;
    let total_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let who = Who::of(&answer, total_ms);
    let deployment = answer.deployment().map(str::to_owned);
    let answer = answer.into_success();
    if let Ok(answer) = &answer {
        context.out.bytes(&answer.body);
    }
    if context.out.is_for_programs() {
        context.out.note_json(&who)?;
    } else {
        context.out.aside(who.to_string());
    }
    match answer {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(with_advice(context, name, args.deployment.is_some(), deployment.as_deref(), error).await.into())
        }
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
async fn with_advice(
    context: &Context,
    endpoint: &str,
    is_pinned: bool,
    deployment: Option<&str>,
    error: Error,
) -> Error {
    let advice = match error.code {
        Code::RouteNotFound | Code::DeploymentNotFound | Code::NotReady => {
            let deployments = context.client.list_deployments(endpoint).await.unwrap_or_default();
            let names: Vec<_> = deployments.iter().map(|deployment| deployment.name.as_str()).collect();
            let is_idle = deployments.iter().all(|deployment| deployment.traffic_percent == 0);
            match names.first() {
                None => "create one: `berth deployment create -f FILE --all-traffic`".to_owned(),
                Some(first) if is_idle && !is_pinned => {
                    format!("give one traffic: `berth traffic {endpoint} {first}=100`")
                }
                Some(_) if error.code == Code::NotReady => format!("`berth status {endpoint}` says why"),
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

/// Who answered, as far as the answer tells.
#[derive(Serialize)]
struct Who {
    status: u16,
    deployment: Option<String>,
    replica: Option<String>,
    queue_ms: u64,
    total_ms: u64,
    request_id: Option<String>,
}

// === impl Who ===

impl Who {
    fn of(answer: &Answer, total_ms: u64) -> Self {
        let header = |name: &'static str| answer.header(&HeaderName::from_static(name));
        Self {
            status: answer.status.as_u16(),
            deployment: answer.deployment().map(str::to_owned),
            replica: answer.replica().map(str::to_owned),
            queue_ms: header("x-berth-queue-ms").and_then(|text| text.parse().ok()).unwrap_or(0),
            total_ms,
            request_id: header("x-request-id").map(str::to_owned),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.deployment.clone());
        parts.extend(self.replica.as_ref().map(|id| format!("replica {}", id.get(..8).unwrap_or(id))));
        parts.extend((self.queue_ms > 0).then(|| format!("queued {} ms", self.queue_ms)));
        parts.push(format!("{} ms in all", self.total_ms));
        parts.extend(self.request_id.as_ref().map(|id| format!("request {id}")));
        f.write_str(&parts.join(" · "))
    }
}
