//! Traces: the W3C trace context of a request, and whether a span of it is kept.
//!
//! Who called decides: a caller that samples gets its span, one that does not gets none, and its ids go on to the replica
//! either way. Only a request that came without a context begins a trace here, and a share of those is kept, drawn from the
//! trace's own id so that every router would decide alike.

/// Of how many traces that begin here a share is told.
pub const SHARE_OF: u32 = 100_000;

/// Length of a `traceparent` of version 00.
const TEXT_LEN: usize = 55;

/// What `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span that calls; never zero.
    pub span_id: u64,
    /// Whether the caller keeps its span.
    pub sampled: bool,
}

/// A request's own span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// What the replica is told.
    pub context: TraceContext,
    /// The caller's span; nothing when the trace begins here.
    pub parent: Option<u64>,
}

// === impl TraceContext ===

impl TraceContext {
    /// Reads a `traceparent`. What a later version adds behind is passed over; what breaks the rules is no context.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (head, rest) = text.split_at_checked(TEXT_LEN)?;
        let mut parts = head.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_version = version.len() == 2 && is_hex(version) && version != "ff";
        let fits_version = rest.is_empty() || (version != "00" && rest.starts_with('-'));
        let lengths = (trace.len(), span.len(), flags.len()) == (32, 16, 2);
        if parts.next().is_some()
            || !is_version
            || !fits_version
            || !lengths
            || ![trace, span, flags].into_iter().all(is_hex)
        {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// Writes the `traceparent`. Every request has one: the formatter would take ten times as long.
    pub fn text(&self) -> [u8; TEXT_LEN] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let parts =
            [(3, &self.trace_id.to_be_bytes()[..]), (36, &self.span_id.to_be_bytes()), (53, &[self.sampled.into()])];
        for (at, bytes) in parts {
            // The places have the lengths of the parts.
            let _ = hex::encode_to_slice(bytes, &mut text[at..at + 2 * bytes.len()]);
        }
        text
    }
}

/// Only lower-case digits are allowed (W3C Trace Context §3.2.2).
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Opens the span of a request. `drawn` are three random numbers; `share` of [`SHARE_OF`] traces that begin here is kept.
pub fn enter(caller: Option<TraceContext>, drawn: [u64; 3], share: u32) -> Entered {
    let [high, low, span] = drawn;
    // Zero is no id; the chance of drawing it is nil, and one is as good an id as any.
    let span_id = span.max(1);
    match caller {
        Some(caller) => Entered { context: TraceContext { span_id, ..caller }, parent: Some(caller.span_id) },
        None => {
            let trace_id = (u128::from(high) << 64 | u128::from(low)).max(1);
            let sampled = (low % u64::from(SHARE_OF)) < u64::from(share);
            Entered { context: TraceContext { trace_id, span_id, sampled }, parent: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    const SPAN: u64 = 0xb7ad_6b71_6920_3331;

    #[test]
    fn contexts_are_read_as_the_standard_says() {
        let read = |sampled| Some(TraceContext { trace_id: TRACE, span_id: SPAN, sampled });
        for (text, expected, why) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", read(true), "the standard's own"),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", read(false), "not sampled"),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", read(true), "other flags are others' affair"),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", read(true), "a later version may add"),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", None, "behind a dash"),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None, "version 00 adds nothing"),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None, "ff is no version"),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None, "no trace"),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None, "no span"),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None, "upper case"),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-011", None, "misplaced dashes"),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None, "too short"),
            ("", None, "empty"),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\u{e4}", None, "not of this alphabet"),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), expected, "{why}");
        }
        assert_eq!(TraceContext::parse(&[0xff; TEXT_LEN]), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        let context = TraceContext { trace_id: TRACE, span_id: SPAN, sampled: true };
        assert_eq!(&context.text(), b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        for sampled in [true, false] {
            let context = TraceContext { trace_id: TRACE, span_id: 1, sampled };
            assert_eq!(TraceContext::parse(&context.text()), Some(context));
        }
    }

    #[test]
    fn the_caller_decides_and_a_share_of_the_others_is_kept() {
        let caller = |sampled| Some(TraceContext { trace_id: TRACE, span_id: SPAN, sampled });
        let share = SHARE_OF / 4;
        for (caller, low, kept, why) in [
            (caller(true), u64::MAX, true, "the caller keeps its own"),
            (caller(false), 0, false, "the caller does not"),
            (None, 0, true, "within the share"),
            (None, u64::from(share) - 1, true, "the last of it"),
            (None, u64::from(share), false, "beyond it"),
        ] {
            let entered = enter(caller, [7, low, 9], share);
            assert_eq!((entered.context.sampled, entered.context.span_id), (kept, 9), "{why}");
            assert_eq!(entered.parent, caller.map(|caller| caller.span_id), "{why}");
            let trace = caller.map_or(7 << 64 | u128::from(low), |caller| caller.trace_id);
            assert_eq!(entered.context.trace_id, trace, "{why}");
        }
        let nothing = enter(None, [0; 3], 0).context;
        assert_eq!((nothing.trace_id, nothing.span_id, nothing.sampled), (1, 1, false), "zero is no id");
    }
}
