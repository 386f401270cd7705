//! What all calls share: who asks, until when, under which request id; what is counted and how a refusal travels.

use std::{future::Future, time::Duration};

use berth_core::{
    error::{Code, Error, Problem},
    id::{Digest, RequestId},
};
use berth_proto::status::to_status;
use prost::Message;
use tokio::time::Instant;
use tonic::{Response, Status, metadata::MetadataMap};

use crate::{
    auth::{FORWARDED, Principal},
    metrics::Metrics,
    propose::Asker,
};

/// A call that names no deadline gets this: longer than an election, shorter than patience.
const DEADLINE: Duration = Duration::from_secs(10);

/// No call waits longer, whatever it asks for.
const DEADLINE_MAX: Duration = Duration::from_secs(120);

/// Longest request id. A UUID has 36 characters.
const REQUEST_ID_MAX: usize = 128;

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) principal: Principal,
    pub(super) deadline: Instant,
    /// Whether another member handed it on: it is answered here or not at all.
    pub(super) forwarded: bool,
}

/// Collects everything that is wrong with a request, so that all of it is reported at once.
#[derive(Debug, Default)]
pub(super) struct Checks {
    refusals: Vec<(&'static str, Error)>,
}

// === impl Call ===

impl Call {
    pub(super) fn of(metadata: &MetadataMap) -> Self {
        let asked = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout);
        Self {
            principal: Principal::of(metadata),
            deadline: Instant::now() + asked.unwrap_or(DEADLINE).min(DEADLINE_MAX),
            forwarded: metadata.contains_key(FORWARDED),
        }
    }

    /// Names a mutation across retries. The fingerprint is of the request as the caller sent it: what this member adds
    /// to it (keys, times) differs from try to try.
    pub(super) fn asker(&self, rpc: &str, request_id: &str, request: &impl Message) -> Result<Asker, Error> {
        let fits = (1..=REQUEST_ID_MAX).contains(&request_id.len()) && request_id.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            let problem = Problem {
                field: "request_id".to_owned(),
                what: "is not 1 to 128 printable characters".to_owned(),
                try_: "send a fresh UUID with every new change, and the same one with its retries".to_owned(),
            };
            let error = Error::new(Code::Invalid, "the request has a problem");
            return Err(Error { problems: vec![problem], ..error });
        }
        let mut bytes = rpc.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend(request.encode_to_vec());
        let digest = Digest::of(&bytes).0;
        let fingerprint = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Ok(Asker {
            principal: self.principal.name().to_owned(),
            request_id: Some(RequestId(request_id.to_owned())),
            fingerprint,
        })
    }
}

// === impl Checks ===

impl Checks {
    /// Keeps what is right, notes what is wrong.
    pub(super) fn check<T, E: Into<CheckError>>(&mut self, field: &'static str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.refusals.push((field, error.into().0));
                None
            }
        }
    }

    /// Returns whether nothing was noted.
    pub(super) fn is_clean(&self) -> bool {
        self.refusals.is_empty()
    }

    /// Returns everything that was noted as one error.
    pub(super) fn refusal(self) -> Error {
        let mut problems = Vec::new();
        let mut code = Code::Invalid;
        for (field, error) in self.refusals {
            code = error.code;
            if error.problems.is_empty() {
                let what = if error.why.is_empty() { error.what } else { format!("{}: {}", error.what, error.why) };
                problems.push(Problem { field: field.to_owned(), what, try_: error.try_ });
            } else {
                problems.extend(error.problems);
            }
        }
        let what = match problems.len() {
            1 => "the request has a problem".to_owned(),
            n => format!("the request has {n} problems"),
        };
        Error { problems, ..Error::new(code, what) }
    }
}

/// An error of a check, whatever its type was.
#[derive(Debug)]
pub(super) struct CheckError(Error);

impl From<Error> for CheckError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<berth_core::model::NameError> for CheckError {
    fn from(error: berth_core::model::NameError) -> Self {
        Self(Error::new(Code::Invalid, error.to_string()))
    }
}

/// Answers a call: counts it, logs what is Berth's own fault, puts a refusal on the wire.
pub(crate) async fn answer<T>(
    metrics: &Metrics,
    rpc: &'static str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<Response<T>, Status> {
    let begun = Instant::now();
    let result = work.await;
    metrics.answered(rpc, result.as_ref().err().map(|error| error.code), begun.elapsed());
    result.map(Response::new).map_err(|error| {
        match error.kind() {
            berth_core::error::ErrorKind::Internal => tracing::error!(rpc, %error, "a call failed"),
            _ => tracing::debug!(rpc, code = error.code.word(), what = error.what, "a call was refused"),
        }
        to_status(&error)
    })
}

/// Reads gRPC's `grpc-timeout`: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_deadline_is_read_as_grpc_writes_it() {
        for (text, expected) in [
            ("5S", Some(Duration::from_secs(5))),
            ("250m", Some(Duration::from_millis(250))),
            ("1H", Some(Duration::from_secs(3_600))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("5é", None),
        ] {
            assert_eq!(timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let mut checks = Checks::default();
        assert_eq!(checks.check("name", Ok::<_, Error>(1)), Some(1));
        checks.check("name", berth_core::model::EndpointName::new("?"));
        checks.check("spec", Err::<(), _>(Error::new(Code::Invalid, "no spec")));
        let error = checks.refusal();
        assert_eq!(error.problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["name", "spec"]);
        assert_eq!(error.what, "the request has 2 problems");
    }
}
