//! Whether a model is ready: what a server's answer to the question says.
//!
//! Servers of other protocols do not know the question. That is no answer of theirs and no failure: the router answers by its
//! table, and what it says is what is counted.

use super::status::Dialect;

/// What a server's answer says to who asks whether its model is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Its own word on the model, whatever that is.
    Known,
    /// It does not know the question.
    Unknown,
    /// It knows the question if it says so in the words of the Open Inference Protocol: then it lacks the model.
    InWords,
}

/// gRPC's `UNIMPLEMENTED`.
const UNIMPLEMENTED: &[u8] = b"12";

/// Tells what an answer says, from its head.
pub fn said(dialect: Dialect, status: u16, grpc_status: Option<&[u8]>) -> Said {
    match (dialect, status) {
        // A server of HTTP alone, and one of gRPC without this service.
        (Dialect::Grpc, 404 | 405 | 415 | 501) => Said::Unknown,
        (Dialect::Grpc, _) if grpc_status == Some(UNIMPLEMENTED) => Said::Unknown,
        (Dialect::Grpc, _) => Said::Known,
        (_, 404 | 405 | 501) => Said::InWords,
        _ => Said::Known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_know_the_question_is_told_from_who_says_no() {
        use Dialect::{Grpc, Inference};
        for (dialect, status, grpc_status, expected, why) in [
            (Inference, 200, None, Said::Known, "it is ready"),
            (Inference, 400, None, Said::Known, "not ready, as Triton says it"),
            (Inference, 503, None, Said::Known, "not ready"),
            (Inference, 500, None, Said::Known, "it failed"),
            (Inference, 401, None, Said::Known, "it wants a key of its own"),
            (Inference, 404, None, Said::InWords, "no such path, or no such model"),
            (Inference, 405, None, Said::InWords, "a path that is for POST only"),
            (Inference, 501, None, Said::InWords, "not built in"),
            (Inference, 200, Some(&b"12"[..]), Said::Known, "no word of this protocol"),
            (Grpc, 200, None, Said::Known, "the message says"),
            (Grpc, 200, Some(b"0"), Said::Known, "the same without a message"),
            (Grpc, 200, Some(b"5"), Said::Known, "it has no such model"),
            (Grpc, 200, Some(b"14"), Said::Known, "it is not able to"),
            (Grpc, 200, Some(b"12"), Said::Unknown, "another service"),
            (Grpc, 404, None, Said::Unknown, "a server of HTTP"),
            (Grpc, 405, None, Said::Unknown, "a server of HTTP that takes no POST there"),
            (Grpc, 415, None, Said::Unknown, "a server of JSON"),
            (Grpc, 501, None, Said::Unknown, "not built in"),
            (Grpc, 503, None, Said::Known, "a gateway before it"),
        ] {
            assert_eq!(said(dialect, status, grpc_status), expected, "{dialect:?} {status} {grpc_status:?}: {why}");
        }
    }
}
