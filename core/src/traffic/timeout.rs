//! How long a caller waits, as gRPC says it, and how long a replica is told to have.

use super::status::Dialect;

/// Digits the amount may have (the gRPC protocol's `TimeoutValue`).
const DIGITS_MAX: usize = 8;

/// Reads `grpc-timeout` (`250m`, `5S`) in milliseconds, rounding up; nothing when it is none.
pub fn grpc_timeout_ms(text: &[u8]) -> Option<u64> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount: u64, digit| 10 * amount + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(amount * 3_600_000),
        b'M' => Some(amount * 60_000),
        b'S' => Some(amount * 1_000),
        b'm' => Some(amount),
        b'u' => Some(amount.div_ceil(1_000)),
        b'n' => Some(amount.div_ceil(1_000_000)),
        _ => None,
    }
}

/// Writes `grpc-timeout`; what is too long for it in milliseconds in seconds, and never more than it can say.
pub fn grpc_timeout(ms: u64) -> String {
    const MOST: u64 = 10_u64.pow(DIGITS_MAX as u32) - 1;
    if ms <= MOST { format!("{ms}m") } else { format!("{}S", (ms / 1_000).min(MOST)) }
}

/// Returns how long a replica is told that it has, in milliseconds from the caller's first word; nothing where it is told
/// nothing. `own_ms` is what the caller said, `limit_ms` what the deployment grants until the head of an answer.
///
/// A gRPC server ends a call at its timeout, streams too, for which the limit is none: it goes only with calls that are known
/// to have one answer. The head of other protocols is a header of ours, and a conversation has no end.
pub fn told_ms(dialect: Dialect, path: &str, switches: bool, own_ms: Option<u64>, limit_ms: u64) -> Option<u64> {
    match dialect {
        _ if switches => None,
        Dialect::Grpc if !has_one_answer(path) => own_ms,
        _ => Some(own_ms.map_or(limit_ms, |own| own.min(limit_ms))),
    }
}

/// Returns whether a gRPC call is known to have one request and one answer.
pub fn has_one_answer(path: &str) -> bool {
    path.strip_prefix("/inference.GRPCInferenceService/").is_some_and(|call| call != "ModelStreamInfer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_in_every_unit() {
        for (text, ms) in [
            ("250m", Some(250)),
            ("5S", Some(5_000)),
            ("1M", Some(60_000)),
            ("2H", Some(7_200_000)),
            ("99999999H", Some(359_999_996_400_000)),
            ("1500u", Some(2)),
            ("1n", Some(1)),
            ("0n", Some(0)),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("5x", None),
            ("-5S", None),
            ("+5S", None),
            ("5 S", None),
        ] {
            assert_eq!(grpc_timeout_ms(text.as_bytes()), ms, "{text}");
        }
    }

    #[test]
    fn grpc_timeouts_are_written_as_they_are_read() {
        for (ms, text, read) in [
            (0, "0m", 0),
            (250, "250m", 250),
            (99_999_999, "99999999m", 99_999_999),
            (100_000_999, "100000S", 100_000_000),
            (u64::MAX, "99999999S", 99_999_999_000),
        ] {
            assert_eq!(grpc_timeout(ms), text);
            assert_eq!(grpc_timeout_ms(text.as_bytes()), Some(read));
        }
    }

    #[test]
    fn a_replica_is_told_of_the_shorter_time_unless_that_would_end_a_stream() {
        const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
        const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
        for (dialect, path, switches, own, told, why) in [
            (Dialect::Azure, "/score", false, None, Some(5_000), "the limit alone"),
            (Dialect::Azure, "/score", false, Some(250), Some(250), "the caller's is shorter"),
            (Dialect::OpenAi, "/v1/chat/completions", false, Some(60_000), Some(5_000), "the limit is shorter"),
            (Dialect::Azure, "/ws", true, Some(250), None, "a conversation goes on"),
            (Dialect::Grpc, INFER, false, None, Some(5_000), "one answer, so the limit holds for all of it"),
            (Dialect::Grpc, STREAM, false, None, None, "a stream may go on for longer than until its head"),
            (Dialect::Grpc, STREAM, false, Some(9_000), Some(9_000), "what the caller wants is its own"),
            (Dialect::Grpc, "/echo.Echo/Say", false, None, None, "nobody knows whether it is a stream"),
        ] {
            assert_eq!(told_ms(dialect, path, switches, own, 5_000), told, "{why}");
        }
    }
}
