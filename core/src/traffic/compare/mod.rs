//! The verdict on a mirror: whether it answered what the primary did.
//!
//! What counts as the same depends on what was asked: tensors within a tolerance, JSON place by place, text exactly. What
//! cannot be judged (an answer that was cut, or is too large to be kept whole) is said to be so and never guessed at.

mod difference;
mod json;
mod oip;
pub mod path;
pub mod tally;
mod tensor;

use difference::Findings;
pub use difference::{Difference, Kind, Rules};
use path::{Place, Step};
use serde_json::Value;

use super::status::Dialect;

/// Bytes of JSON that are read beside tensors: as values they take many times the room. Elements that travel as bytes are
/// compared where they lie, however many.
const JSON_BYTES_MAX: usize = 8 << 20;

/// Bytes of an answer over gRPC whose typed fields are read, for the same reason: a small number becomes sixteen bytes.
const TYPED_BYTES_MAX: usize = 1 << 20;

/// An answer as far as it was kept.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The model's own status.
    pub status: u16,
    /// gRPC's, from the trailers or the head.
    pub grpc_status: Option<&'a str>,
    /// What the body is.
    pub content_type: &'a str,
    /// Where the JSON ends and bytes begin, of an answer with binary tensors.
    pub json_bytes: Option<usize>,
    /// The body, or its beginning.
    pub body: &'a [u8],
    /// How long all of it was.
    pub bytes: u64,
    /// A checksum over all of it.
    pub checksum: u32,
    /// Whether the body is packed in a way that was not undone.
    pub encoded: bool,
}

/// What was asked, as far as it decides how answers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Outputs of a model, over HTTP.
    Inference,
    /// One answer with outputs, over gRPC.
    ModelInfer,
    /// A stream of them.
    ModelStreamInfer,
    /// Another call over gRPC.
    Call,
    /// One of OpenAI's objects.
    OpenAi,
    /// Anything: what the body is says how.
    Any,
}

/// Why two answers were not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unjudged {
    /// The primary gave none, or not all of it.
    NoPrimary,
    /// They are not the same bytes, and too large to be kept whole.
    TooLarge,
    /// They are not the same bytes, and packed in a way that is not undone here.
    Encoded,
    /// The comparator had too much to do.
    Busy,
}

/// Why a copy brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    /// As many copies as may be were under way.
    Budget,
    /// Nobody was there to take it.
    NoReplica,
    /// The replica's gate did not start it.
    Refused,
    /// The replica could not be reached, or broke off.
    Broken,
    /// It took longer than the deployment's time limit.
    Timeout,
    /// It read its request more slowly than there was room to keep it.
    Behind,
    /// The caller did not send the request to its end.
    Cut,
}

/// The verdict on one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same.
    Match,
    /// Not the same.
    Mismatch(Difference),
    /// Not compared.
    Unjudged(Unjudged),
}

// === impl Asked ===

impl Asked {
    /// Returns whether outputs may travel as bytes in an answer to it, so that a large one can be judged.
    pub fn may_be_bytes(self, has_json_bytes: bool) -> bool {
        match self {
            Self::Inference => has_json_bytes,
            Self::ModelInfer | Self::ModelStreamInfer => true,
            Self::Call | Self::OpenAi | Self::Any => false,
        }
    }

    /// Tells what a request asked.
    pub fn of(dialect: Dialect, path: &str) -> Self {
        match dialect {
            Dialect::Grpc => match path.strip_prefix("/inference.GRPCInferenceService/") {
                Some("ModelInfer") => Self::ModelInfer,
                Some("ModelStreamInfer") => Self::ModelStreamInfer,
                _ => Self::Call,
            },
            Dialect::Inference if path.ends_with("/infer") => Self::Inference,
            Dialect::OpenAi => Self::OpenAi,
            Dialect::Inference | Dialect::Azure => Self::Any,
        }
    }
}

// === impl Unjudged ===

impl Unjudged {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NoPrimary, Self::TooLarge, Self::Encoded, Self::Busy];

    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoPrimary => "no-primary",
            Self::TooLarge => "too-large",
            Self::Encoded => "encoded",
            Self::Busy => "busy",
        }
    }

    /// Reads a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.word() == word)
    }
}

// === impl Missed ===

impl Missed {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Budget, Self::NoReplica, Self::Refused, Self::Broken, Self::Timeout, Self::Behind, Self::Cut];

    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::NoReplica => "no-replica",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Behind => "behind",
            Self::Cut => "cut",
        }
    }

    /// Reads a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.word() == word)
    }
}

// === impl Answer ===

impl Answer<'_> {
    fn is_whole(&self) -> bool {
        self.body.len() as u64 == self.bytes
    }

    /// Returns the media type without its parameters.
    fn media_type(&self) -> &str {
        self.content_type.split(';').next().unwrap_or_default().trim()
    }

    fn is_json(&self) -> bool {
        let media_type = self.media_type().to_ascii_lowercase();
        media_type.is_empty() || media_type.ends_with("/json") || media_type.ends_with("+json")
    }

    fn is_events(&self) -> bool {
        self.media_type().eq_ignore_ascii_case("text/event-stream")
    }
}

/// Judges a mirror's answer by the primary's.
pub fn judge(rules: &Rules, asked: Asked, primary: &Answer<'_>, mirror: &Answer<'_>) -> Verdict {
    let mut findings = Findings::new(rules);
    let (ours, theirs) = (primary, mirror);
    if ours.status != theirs.status {
        findings.note(Kind::Status, u64::MAX, "status", ours.status, theirs.status);
    } else if ours.grpc_status != theirs.grpc_status {
        let told = |status: Option<&str>| status.unwrap_or("none").to_owned();
        findings.note(Kind::Status, u64::MAX, "grpc-status", told(ours.grpc_status), told(theirs.grpc_status));
    } else if !ours.media_type().eq_ignore_ascii_case(theirs.media_type()) {
        findings.note(Kind::Form, u64::MAX, "content-type", ours.media_type(), theirs.media_type());
    } else if ours.status < 400 && !are_same_bytes(ours, theirs) {
        // Of an answer that reports an error the status is compared: its words name times and addresses.
        if ours.encoded || theirs.encoded {
            return Verdict::Unjudged(Unjudged::Encoded);
        }
        if is_exact(asked, ours) {
            exactly(&mut findings, ours, theirs);
        } else if ours.is_whole() && theirs.is_whole() {
            bodies(&mut findings, asked, ours, theirs);
        } else {
            return Verdict::Unjudged(Unjudged::TooLarge);
        }
    }
    findings.verdict()
}

fn are_same_bytes(ours: &Answer<'_>, theirs: &Answer<'_>) -> bool {
    let same = (ours.bytes, ours.checksum, ours.encoded) == (theirs.bytes, theirs.checksum, theirs.encoded);
    let kept = ours.body.len().min(theirs.body.len());
    same && ours.body[..kept] == theirs.body[..kept]
}

/// Returns whether other bytes are another answer, however little of them was kept.
fn is_exact(asked: Asked, answer: &Answer<'_>) -> bool {
    match asked {
        Asked::Call => true,
        Asked::Any => !answer.is_json() && !answer.is_events(),
        Asked::Inference | Asked::ModelInfer | Asked::ModelStreamInfer | Asked::OpenAi => false,
    }
}

fn bodies(findings: &mut Findings<'_>, asked: Asked, ours: &Answer<'_>, theirs: &Answer<'_>) {
    let compared = match asked {
        Asked::ModelInfer => messages(findings, ours, theirs, oip::of_message),
        Asked::ModelStreamInfer => messages(findings, ours, theirs, oip::of_stream_message),
        Asked::Call => None,
        Asked::Inference => inference(findings, ours, theirs),
        Asked::OpenAi | Asked::Any => None,
    };
    if compared.is_some() {
        return;
    }
    let texts = (str::from_utf8(ours.body), str::from_utf8(theirs.body));
    match (asked, texts) {
        (Asked::ModelInfer | Asked::ModelStreamInfer | Asked::Call, _) => exactly(findings, ours, theirs),
        (_, (Ok(expected), Ok(got))) if ours.is_events() => {
            events(findings, asked, json::events(expected), json::events(got));
        }
        _ if ours.is_json() => match (serde_json::from_slice(ours.body), serde_json::from_slice(theirs.body)) {
            (Ok(expected), Ok(got)) => values(findings, asked, expected, got),
            _ => exactly(findings, ours, theirs),
        },
        _ => exactly(findings, ours, theirs),
    }
}

fn values(findings: &mut Findings<'_>, asked: Asked, mut expected: Value, mut got: Value) {
    if asked == Asked::OpenAi {
        [&mut expected, &mut got].into_iter().for_each(json::strip_openai);
    }
    json::values(findings, &mut Place::default(), &expected, &got);
}

fn events(findings: &mut Findings<'_>, asked: Asked, mut expected: Value, mut got: Value) {
    if asked == Asked::OpenAi {
        let each = [&mut expected, &mut got].into_iter().filter_map(Value::as_array_mut).flatten();
        each.for_each(json::strip_openai);
    }
    json::values(findings, &mut Place(vec![Step::Key("events")]), &expected, &got);
}

/// Compares outputs that came as JSON. Nothing when one of the answers has another form.
fn inference(findings: &mut Findings<'_>, ours: &Answer<'_>, theirs: &Answer<'_>) -> Option<()> {
    let split = |answer: &Answer<'_>| answer.json_bytes.unwrap_or(answer.body.len()).min(answer.body.len());
    if split(ours).max(split(theirs)) > JSON_BYTES_MAX {
        findings.leave();
        return Some(());
    }
    let ((expected, raw), (got, other_raw)) = (ours.body.split_at(split(ours)), theirs.body.split_at(split(theirs)));
    let (expected, got): (Value, Value) = (serde_json::from_slice(expected).ok()?, serde_json::from_slice(got).ok()?);
    tensor::outputs(findings, &oip::of_json(&expected, raw)?, &oip::of_json(&got, other_raw)?);
    Some(())
}

/// Compares answers message by message. Nothing when one of them cannot be read.
fn messages<'a>(
    findings: &mut Findings<'_>,
    ours: &Answer<'a>,
    theirs: &Answer<'a>,
    read: fn(&'a [u8], bool) -> Option<Vec<tensor::Tensor<'a>>>,
) -> Option<()> {
    let (expected, got) = (oip::messages(ours.body)?, oip::messages(theirs.body)?);
    if expected.len() != got.len() {
        findings.note(Kind::Form, u64::MAX, "messages", expected.len(), got.len());
        return Some(());
    }
    let typed = ours.body.len().max(theirs.body.len()) <= TYPED_BYTES_MAX;
    let read_all =
        |messages: Vec<&'a [u8]>| messages.into_iter().map(|message| read(message, typed)).collect::<Option<Vec<_>>>();
    for (expected, got) in read_all(expected)?.iter().zip(read_all(got)?) {
        tensor::outputs(findings, expected, &got);
    }
    Some(())
}

/// Notes where the bytes of two answers differ.
fn exactly(findings: &mut Findings<'_>, ours: &Answer<'_>, theirs: &Answer<'_>) {
    let (expected, got) = (ours.body, theirs.body);
    if expected == got && ours.is_whole() && theirs.is_whole() {
        return;
    }
    let off = ours.bytes.abs_diff(theirs.bytes);
    let at = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    if at == expected.len().min(got.len()) && !(ours.is_whole() && theirs.is_whole()) {
        // It lies behind what was kept.
        let told = |answer: &Answer<'_>| format!("{} bytes, checksum {:08x}", answer.bytes, answer.checksum);
        return findings.note(Kind::Text, off, format_args!("behind byte {at}"), told(ours), told(theirs));
    }
    // From the first difference on, as far as an example shows it.
    let shown = |bytes: &[u8]| bytes[at..bytes.len().min(at + 256)].escape_ascii().to_string();
    findings.note(Kind::Text, off, format_args!("byte {at}"), shown(expected), shown(got));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::MirrorRules;

    fn answer<'a>(status: u16, content_type: &'a str, body: &'a [u8]) -> Answer<'a> {
        Answer {
            status,
            grpc_status: None,
            content_type,
            json_bytes: None,
            body,
            bytes: body.len() as u64,
            // Any function of the bytes will do here.
            checksum: body.iter().fold(7, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))),
            encoded: false,
        }
    }

    fn told(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Match => "match".to_owned(),
            Verdict::Mismatch(difference) => format!("{} at {}", difference.kind.word(), difference.place),
            Verdict::Unjudged(why) => format!("unjudged: {}", why.word()),
        }
    }

    #[test]
    fn answers_are_judged_by_what_was_asked() {
        let rules = Rules::of(&MirrorRules { ignore: vec!["took_ms".into()], ..MirrorRules::default() });
        let (json, text, sse) = ("application/json", "text/plain", "text/event-stream");
        let oip = br#"{"model_name":"a","id":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1]}]}"#;
        let other = br#"{"model_name":"b","id":"2","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[2]}]}"#;
        let renamed =
            br#"{"model_name":"b","id":"2","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.0]}]}"#;
        let rows: [(Asked, Answer<'_>, Answer<'_>, &str); 16] = [
            (Asked::Any, answer(200, json, b"[1.0]"), answer(200, json, b"[ 1.0 ]"), "match"),
            (Asked::Any, answer(200, json, b"[1.0]"), answer(200, json, b"[1.5]"), "value at [0]"),
            (Asked::Any, answer(200, json, b"{\"took_ms\":1}"), answer(200, json, b"{\"took_ms\":2}"), "match"),
            (Asked::Any, answer(200, "", b"[1]"), answer(200, "", b"[ 1]"), "match"),
            (Asked::Any, answer(200, json, b"[1"), answer(200, json, b"[1]"), "text at byte 2"),
            (Asked::Any, answer(200, text, b"yes"), answer(200, text, b"yes"), "match"),
            (Asked::Any, answer(200, text, b"1.0"), answer(200, text, b"1.00"), "text at byte 3"),
            (Asked::Any, answer(200, text, b"a"), answer(200, "text/html", b"a"), "form at content-type"),
            (Asked::Any, answer(200, json, b"1"), answer(200, "Application/JSON; charset=utf-8", b"1"), "match"),
            (Asked::Any, answer(200, json, b"1"), answer(500, json, b"1"), "status at status"),
            (Asked::Any, answer(500, text, b"at 10:00"), answer(500, text, b"at 10:01"), "match"),
            (Asked::Inference, answer(200, json, oip), answer(200, json, renamed), "match"),
            (Asked::Inference, answer(200, json, oip), answer(200, json, other), "value at outputs.y[0]"),
            (Asked::Inference, answer(200, json, b"{}"), answer(200, json, b"{\"a\":1}"), "form at a"),
            (
                Asked::OpenAi,
                answer(200, sse, b"data: {\"id\":\"1\",\"c\":\"a\"}\n\ndata: [DONE]\n\n"),
                answer(200, sse, b"data: {\"id\":\"2\",\"c\":\"a\"}\n\ndata: [DONE]\n\n"),
                "match",
            ),
            (
                Asked::OpenAi,
                answer(200, json, b"{\"id\":\"1\",\"c\":\"a\"}"),
                answer(200, json, b"{\"id\":\"2\",\"c\":\"b\"}"),
                "value at c",
            ),
        ];
        for (at, (asked, primary, mirror, expected)) in rows.iter().enumerate() {
            assert_eq!(told(&judge(&rules, *asked, primary, mirror)), *expected, "row {at}");
        }
    }

    #[test]
    fn grpc_is_compared_by_tensors_and_by_status() {
        let rules = Rules::of(&MirrorRules::default());
        let body = |values: [f32; 2], raw| {
            let message = oip::tests::response(&values, raw);
            [&[0, 0, 0, 0, message.len() as u8][..], &message].concat()
        };
        let (ours, packed, other) = (body([1.0, 2.0], false), body([1.0, 2.0], true), body([1.0, 3.0], true));
        let grpc = |body, status| Answer { grpc_status: Some(status), ..answer(200, "application/grpc", body) };
        for (asked, mirror, expected, why) in [
            (Asked::ModelInfer, grpc(&packed, "0"), "match", "the same elements, another way"),
            (Asked::ModelInfer, grpc(&other, "0"), "value at outputs.y[1]", "another element"),
            (Asked::ModelInfer, grpc(&ours, "13"), "status at grpc-status", "another status"),
            (Asked::Call, grpc(&packed, "0"), "text at byte 4", "bytes of unknown messages are exact"),
            (Asked::ModelInfer, grpc(b"\x01\0\0\0\x01x", "0"), "text at byte 0", "compressed and not the same"),
        ] {
            assert_eq!(told(&judge(&rules, asked, &grpc(&ours, "0"), &mirror)), expected, "{why}");
        }
    }

    /// Of a question that is exact a checksum answers it.
    #[test]
    fn what_has_to_be_the_same_bytes_is_judged_however_much_was_kept() {
        let rules = Rules::of(&MirrorRules::default());
        let cut = |kind, body, bytes, checksum| Answer { bytes, checksum, ..answer(200, kind, body) };
        let (text, json, sse, grpc) = ("text/plain", "application/json", "text/event-stream", "application/grpc");
        for (asked, kind, theirs, told_so, why) in [
            (Asked::Any, text, (&b"yes"[..], 9, 1), "match", "the same"),
            (Asked::Any, text, (b"yes", 9, 2), "text at behind byte 3", "the same beginning, another end"),
            (Asked::Any, text, (b"yes", 8, 1), "text at behind byte 3", "a shorter end"),
            (Asked::Any, text, (b"yet", 9, 2), "text at byte 2", "another beginning"),
            (Asked::Any, text, (b"", 9, 2), "text at behind byte 0", "nothing was kept of it"),
            (Asked::Call, grpc, (b"yes", 9, 2), "text at behind byte 3", "an unknown call"),
            (Asked::Any, json, (b"yes", 9, 2), "unjudged: too-large", "numbers may be near enough"),
            (Asked::Any, sse, (b"yes", 9, 2), "unjudged: too-large", "so in events"),
            (Asked::OpenAi, text, (b"yes", 9, 2), "unjudged: too-large", "an id may be another"),
            (Asked::ModelInfer, grpc, (b"yes", 9, 2), "unjudged: too-large", "floats"),
        ] {
            let theirs = cut(kind, theirs.0, theirs.1, theirs.2);
            assert_eq!(told(&judge(&rules, asked, &cut(kind, b"yes", 9, 1), &theirs)), told_so, "{why}");
        }
    }

    #[test]
    fn large_tensors_are_compared_where_they_lie_and_typed_ones_are_not_read() {
        const COUNT: usize = 400_000;
        let rules = Rules::of(&MirrorRules { rtol_ppb: 1_000_000, ..MirrorRules::default() });
        let body = |count: usize, last: f32, raw| {
            let values: Vec<f32> = (0..count).map(|at| if at + 1 == count { last } else { at as f32 }).collect();
            let message = oip::tests::response(&values, raw);
            [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
        };
        for (raw, count, last, told_so, why) in [
            (true, COUNT, 7.0, "match", "the same"),
            (true, COUNT, 7.000_1, "match", "within the tolerance"),
            (true, COUNT, 7.1, "value at outputs.y[399999]", "beyond it"),
            (false, COUNT, 7.0, "match", "the same bytes"),
            (false, COUNT, 7.1, "unjudged: too-large", "as values they would take too much room"),
            (false, 1, 7.0, "form at outputs.y", "another shape, whatever the elements are"),
        ] {
            let (ours, theirs) = (body(COUNT, 7.0, raw), body(count, last, raw));
            assert!(ours.len() > TYPED_BYTES_MAX);
            let grpc = |body| Answer { grpc_status: Some("0"), ..answer(200, "application/grpc", body) };
            assert_eq!(told(&judge(&rules, Asked::ModelInfer, &grpc(&ours), &grpc(&theirs))), told_so, "{why}");
        }
    }

    #[test]
    fn what_was_not_kept_whole_is_equal_or_not_judged() {
        let rules = Rules::of(&MirrorRules::default());
        let cut = |checksum| Answer { bytes: 1_000, checksum, ..answer(200, "application/json", b"[1") };
        assert_eq!(told(&judge(&rules, Asked::Any, &cut(1), &cut(1))), "match");
        assert_eq!(told(&judge(&rules, Asked::Any, &cut(1), &cut(2))), "unjudged: too-large");
        let packed = |body| Answer { encoded: true, ..answer(200, "application/json", body) };
        assert_eq!(told(&judge(&rules, Asked::Any, &packed(b"x"), &packed(b"x"))), "match");
        assert_eq!(told(&judge(&rules, Asked::Any, &packed(b"x"), &packed(b"y"))), "unjudged: encoded");
    }

    proptest! {
        /// Whatever the bodies are, an answer matches itself, and nothing panics.
        #[test]
        fn an_answer_matches_itself(ours in prop::collection::vec(any::<u8>(), 0..60), theirs in prop::collection::vec(any::<u8>(), 0..60), at in 0..6_usize, kind in 0..4_usize) {
            let rules = Rules::of(&MirrorRules::default());
            let asked = [Asked::Inference, Asked::ModelInfer, Asked::ModelStreamInfer, Asked::Call, Asked::OpenAi, Asked::Any][at];
            let kind = ["application/json", "text/plain", "text/event-stream", ""][kind];
            let (ours, theirs) = (answer(200, kind, &ours), answer(200, kind, &theirs));
            prop_assert_eq!(judge(&rules, asked, &ours, &ours), Verdict::Match);
            let _ = judge(&rules, asked, &ours, &theirs);
        }
    }
}
