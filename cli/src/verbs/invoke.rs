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
    let answer = answer.into_success();
    if let Ok(answer) = &answer {
        context.out.bytes(&answer.body);
    }
    context.out.aside(who);
    answer.map(drop).map_err(Fault::from)
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
