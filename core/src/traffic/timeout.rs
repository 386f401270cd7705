//! How long a gRPC caller waits, as it says so.

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
}
