//! Errors on the wire: the one place that maps kinds to gRPC codes and to HTTP statuses of the API.

use berth_core::error::{Code, Error, ErrorKind, Problem};
use prost::Message;
use tonic::{Code as GrpcCode, Status};

use crate::api::v1::{ErrorDetail, Problem as ProblemDetail};

/// Returns the gRPC code of a kind.
pub fn grpc_code(kind: ErrorKind) -> GrpcCode {
    match kind {
        ErrorKind::Invalid => GrpcCode::InvalidArgument,
        ErrorKind::NotFound => GrpcCode::NotFound,
        ErrorKind::AlreadyExists => GrpcCode::AlreadyExists,
        ErrorKind::Conflict => GrpcCode::FailedPrecondition,
        ErrorKind::Unauthenticated => GrpcCode::Unauthenticated,
        ErrorKind::Forbidden => GrpcCode::PermissionDenied,
        ErrorKind::Exhausted => GrpcCode::ResourceExhausted,
        ErrorKind::Unavailable => GrpcCode::Unavailable,
        ErrorKind::Timeout => GrpcCode::DeadlineExceeded,
        ErrorKind::Internal => GrpcCode::Internal,
    }
}

/// Returns the HTTP status of an error, where the API is called over HTTP.
pub fn http_status(error: &Error) -> u16 {
    match error.kind() {
        // HTTP has a word of its own for it, and libraries act on that.
        _ if error.code == Code::TooLarge => 413,
        ErrorKind::Invalid => 400,
        ErrorKind::NotFound => 404,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => 409,
        ErrorKind::Unauthenticated => 401,
        ErrorKind::Forbidden => 403,
        ErrorKind::Exhausted => 429,
        ErrorKind::Unavailable => 503,
        ErrorKind::Timeout => 504,
        ErrorKind::Internal => 500,
    }
}

/// Puts an error on the wire: the message says what, the details carry everything.
pub fn to_status(error: &Error) -> Status {
    let detail = error_detail(error);
    Status::with_details(grpc_code(error.kind()), &error.what, detail.encode_to_vec().into())
}

/// Writes an error as the message that carries it.
pub fn error_detail(error: &Error) -> ErrorDetail {
    let problems = error.problems.iter().map(|problem| ProblemDetail {
        field: problem.field.clone(),
        what: problem.what.clone(),
        r#try: problem.try_.clone(),
    });
    ErrorDetail {
        code: error.code.word().to_owned(),
        what: error.what.clone(),
        why: error.why.clone(),
        r#try: error.try_.clone(),
        problems: problems.collect(),
    }
}

/// Takes an error off the wire. One that Berth did not make (a broken connection, another server) gets the nearest code.
pub fn from_status(status: &Status) -> Error {
    if let Some(error) = crate::tls::fault(status) {
        return error;
    }
    let detail = ErrorDetail::decode(status.details()).ok();
    if let Some(detail) = detail
        && let Some(code) = Code::from_word(&detail.code)
    {
        let problems = detail.problems.into_iter().map(|problem| Problem {
            field: problem.field,
            what: problem.what,
            try_: problem.r#try,
        });
        return Error { code, what: detail.what, why: detail.why, try_: detail.r#try, problems: problems.collect() };
    }
    let code = match status.code() {
        GrpcCode::InvalidArgument | GrpcCode::OutOfRange => Code::Invalid,
        GrpcCode::NotFound | GrpcCode::Unimplemented => Code::RouteNotFound,
        GrpcCode::AlreadyExists => Code::AlreadyExists,
        GrpcCode::FailedPrecondition | GrpcCode::Aborted => Code::Transition,
        GrpcCode::Unauthenticated => Code::Unauthenticated,
        GrpcCode::PermissionDenied => Code::Forbidden,
        GrpcCode::ResourceExhausted => Code::Limit,
        GrpcCode::DeadlineExceeded | GrpcCode::Cancelled => Code::Unknown,
        GrpcCode::Unavailable | GrpcCode::Unknown => Code::Unavailable,
        GrpcCode::Ok | GrpcCode::Internal | GrpcCode::DataLoss => Code::Internal,
    };
    Error::new(code, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in Code::ALL {
            let problem = Problem { field: "a.b".into(), what: "is wrong".into(), try_: String::new() };
            let error = Error { problems: vec![problem], ..Error::new(*code, "what").why("why").try_("try") };
            let status = to_status(&error);
            assert_eq!(status.code(), grpc_code(code.kind()));
            assert_eq!(from_status(&status), error);
        }
    }

    #[test]
    fn a_status_of_another_server_keeps_its_sense() {
        for (code, expected) in [
            (GrpcCode::Unavailable, Code::Unavailable),
            (GrpcCode::DeadlineExceeded, Code::Unknown),
            (GrpcCode::Unimplemented, Code::RouteNotFound),
        ] {
            assert_eq!(from_status(&Status::new(code, "no")).code, expected);
        }
    }
}
