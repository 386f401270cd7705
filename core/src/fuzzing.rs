//! What is promised of the parsers that meet strangers' bytes, each as one function over any bytes.
//!
//! The targets in `fuzz/` call them with bytes of a fuzzer's making and the tests below with some of chance's, so that the
//! same promises are kept everywhere. A broken one panics.

use std::str;

use crate::{
    id::{Digest, NodeId, ReplicaId},
    model::{
        Condition, DeploymentKey, DeploymentName, EndpointName, GpuAsk, MirrorRules, NodeName, ProjectName,
        ReplicaState, instance_type,
    },
    traffic::{
        compare::{self, Answer, Asked, Rules, Verdict, path::Pattern},
        json,
        load_report::LoadReport,
        pin::{self, Catalogue, Hints, Peek, Target},
        status::{self, Dialect},
        sticky,
        table::RouteTable,
        timeout::grpc_timeout_ms,
        trace::TraceContext,
    },
    units::{parse_cpu_milli, parse_mib},
    whatif::{NodeShape, SpikeTarget},
};

/// Words that people write: amounts, names, ids, places of an answer, shapes of a plan.
pub fn words(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for amount in [parse_cpu_milli(text).is_ok(), parse_mib(text).is_ok()] {
        assert!(!amount || text.bytes().any(|byte| byte.is_ascii_digit()), "`{text}` is an amount without a number");
    }
    for ask in [GpuAsk::parse(text), GpuAsk::parse_share(text)] {
        if let Err(error) = ask {
            assert!(!error.what.is_empty(), "`{text}` is refused without a word");
        }
    }
    // What is a name once is the same name when it is written out and read again.
    macro_rules! again {
        ($($type:ty),*) => {$(
            if let Ok(read) = text.parse::<$type>() {
                let written = read.to_string();
                assert_eq!(written.parse::<$type>().ok().as_ref(), Some(&read), "`{text}`");
            }
        )*};
    }
    again!(Condition);
    again!(EndpointName, DeploymentName, NodeName, ProjectName, DeploymentKey, NodeId, ReplicaId, Digest, ReplicaState);
    let _ = (instance_type(text), Pattern::parse(text), text.parse::<NodeShape>(), text.parse::<SpikeTarget>());
}

/// The head of a request: path, host, names and versions, in the order they are divided by newlines.
pub fn heads(bytes: &[u8]) {
    let keeps = status::keeps_request_id(bytes);
    assert!(!keeps || bytes.iter().all(u8::is_ascii_graphic), "an id is kept that no header may hold");
    if let Some(context) = TraceContext::parse(bytes) {
        assert_eq!(TraceContext::parse(&context.text()), Some(context));
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut parts = text.split('\n').map(Some).chain(std::iter::repeat(None));
    let mut next = || parts.next().flatten();
    let path = next().unwrap_or_default();
    let hints = Hints { path, host: next(), endpoint: next(), deployment: next(), model: next(), version: next() };
    let dialect = Dialect::of(path, next().map(str::as_bytes));
    let _ = (Asked::of(dialect, path), Catalogue::of("GET", path), Catalogue::of("POST", path), pin::names_model(path));
    let _ = (pin::asks_whether_ready("GET", path), pin::asks_whether_ready("POST", path));
    let table = RouteTable::default();
    for domain in ["", "localhost"] {
        let named = hints.is_named(domain);
        let target = Target::of(&hints, domain, &table);
        assert!(!named || target.is_some(), "what names an endpoint has a target");
        if let Some(target) = target {
            assert!(path.ends_with(target.path) || target.path == "/", "the replica sees a path nobody asked for");
        }
    }
}

/// What callers and replicas say beside their messages: how long one waits, how much another has to do.
pub fn metadata(bytes: &[u8]) {
    if let Some(ms) = grpc_timeout_ms(bytes) {
        assert!(bytes.len() <= 9, "a longer one is none");
        assert!(ms <= 99_999_999 * 3_600_000, "longer than can be said");
        // One digit more in front never makes it shorter.
        let longer = [b"1", bytes].concat();
        assert!(grpc_timeout_ms(&longer).is_none_or(|longer| longer >= ms));
    }
    // A key is any bytes; whom it leads to has a share, and keeps it when it grows.
    if let (Ok(endpoint), Ok(blue), Ok(green)) = ("a".parse(), "blue".parse(), "green".parse()) {
        let (blue, green): (DeploymentName, DeploymentName) = (blue, green);
        let to = |share| sticky::choose(&endpoint, &[(blue.clone(), share), (green.clone(), 100 - share)], bytes);
        assert_eq!((to(0), to(100)), (Some(1), Some(0)));
        assert!(to(10) == Some(1) || to(20) == Some(0), "a key moved away from a share that grew");
    }
    if let Some(report) = LoadReport::parse(bytes) {
        assert!(report.taken_milli <= 1_000 && report.waiting <= 10_000, "more than counts");
        let left = report.left_of(8_000);
        assert!((1_000..=8_000).contains(&left), "a replica is out of the choice, or larger than it is");
    }
}

/// The beginning of a body: what it says must not depend on how much of it has come, once it is enough.
pub fn peeks(bytes: &[u8]) {
    let whole = json::peek(bytes);
    for cut in cuts(bytes.len()) {
        let part = json::peek(&bytes[..cut]);
        if !part.more {
            assert_eq!((part.model, part.user), (whole.model.clone(), whole.user.clone()), "after {cut} bytes");
            break;
        }
    }
    // Nor on the pieces it comes in.
    let mut scanner = json::Scanner::default();
    bytes.chunks(3).for_each(|piece| _ = scanner.feed(piece));
    assert_eq!(scanner.wants_more(), whole.more, "in pieces");
    let found = scanner.into_peeked();
    assert_eq!((found.model, found.user), (whole.model, whole.user), "in pieces");
    for call in ["ModelInfer", "RepositoryModelLoad", "TraceSetting"] {
        let path = format!("/inference.GRPCInferenceService/{call}");
        let whole = pin::peek_model(&path, bytes);
        for cut in cuts(bytes.len()) {
            let part = pin::peek_model(&path, &bytes[..cut]);
            if part != Peek::More {
                assert_eq!(part, whole, "{call} after {cut} bytes");
                break;
            }
        }
    }
}

/// Two answers, divided by a newline, under every question: an answer is the same as itself, however it is looked at.
pub fn answers(bytes: &[u8]) {
    const TYPES: [&str; 4] = ["application/json", "text/event-stream", "application/grpc", "text/plain"];
    const ASKED: [Asked; 6] =
        [Asked::Inference, Asked::ModelInfer, Asked::ModelStreamInfer, Asked::Call, Asked::OpenAi, Asked::Any];
    let [kind, split, rest @ ..] = bytes else { return };
    let (one, other) = rest.split_at(usize::from(*split).min(rest.len()));
    let asked = ASKED[usize::from(*kind) % ASKED.len()];
    let content_type = TYPES[usize::from(*kind) / ASKED.len() % TYPES.len()];
    let json_bytes = (*kind >= 128).then_some(usize::from(*split) / 2);
    let rules =
        Rules::of(&MirrorRules { ignore: vec!["id".into(), "outputs[*].name".into()], ..MirrorRules::default() });
    fn of<'a>(body: &'a [u8], checksum: u32, content_type: &'a str, json_bytes: Option<usize>) -> Answer<'a> {
        let bytes = body.len() as u64;
        Answer { status: 200, grpc_status: None, content_type, json_bytes, body, bytes, checksum, encoded: false }
    }
    // Different checksums make it look further than the bytes.
    let (a, same) = (of(one, 1, content_type, json_bytes), of(one, 2, content_type, json_bytes));
    assert_eq!(compare::judge(&rules, asked, &a, &same), Verdict::Match, "{asked:?} {content_type}");
    let b = of(other, 3, content_type, json_bytes);
    let (there, back) = (compare::judge(&rules, asked, &a, &b), compare::judge(&rules, asked, &b, &a));
    assert!(
        !matches!(there, Verdict::Unjudged(_)) && !matches!(back, Verdict::Unjudged(_)),
        "whole answers are judged"
    );
}

/// Every length of a short body, some of a long one.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).step_by((length / 64).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that come near to what the parsers look for.
    fn near() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[a-z0-9.:/\\-]{0,12}".prop_map(String::into_bytes),
            prop::sample::select(vec![
                "{",
                "}",
                "[",
                "]",
                "\"model\"",
                "\"user\"",
                ":",
                ",",
                "\"fraud\"",
                "\\u0041",
                "null",
                "1e400",
                "-0.0",
                "/e/fraud",
                "/v2/models/fraud/versions/1/infer",
                "/endpoints/a/invocations",
                "/openai/v1/models",
                "fraud.localhost:80",
                "\n",
                "data: ",
                "\n\n",
                "[DONE]",
                "gpu",
                "80GiB",
                "1g.10gb",
                "2x",
                "500m",
                "Ki",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "outputs",
                "datatype",
                "FP32",
                "shape",
                "TEXT ",
                "JSON ",
                "named_metrics.",
                "kv_cache_usage_perc=",
                "\"named_metrics\"",
                "0.5",
            ])
            .prop_map(|word| word.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..6),
            // A field of a message: a small tag and a length.
            (
                prop::sample::select(vec![0x0a_u8, 0x12, 0x1a, 0x2a, 0x3a, 0x08, 0x0d, 0x09]),
                0_u8..9,
                prop::collection::vec(any::<u8>(), 0..9)
            )
                .prop_map(|(tag, length, mut bytes)| {
                    bytes.splice(0..0, [tag, length]);
                    bytes
                }),
            Just(vec![0, 0, 0, 0, 9]),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn words_are_read_or_refused(bytes in near()) {
            words(&bytes);
        }

        #[test]
        fn heads_lead_somewhere_or_nowhere(bytes in near()) {
            heads(&bytes);
        }

        #[test]
        fn metadata_is_read_or_passed_over(bytes in near(), digits in "[0-9+]{0,9}", unit in "[HMSmunx]?") {
            metadata(&bytes);
            metadata(format!("{digits}{unit}").as_bytes());
        }

        #[test]
        fn a_report_is_within_bounds(
            word in prop::sample::select(vec!["TEXT ", ""]),
            metrics in prop::collection::vec(("(named_metrics\\.|vllm:)?(num_requests_waiting|token_usage|cpu_utilization|x)", "-?[0-9]{0,3}(\\.[0-9]{0,25})?([eE][+-]?[0-9]{0,12})?"), 0..5),
        ) {
            let metrics: Vec<_> = metrics.iter().map(|(name, value)| format!("{name}={value}")).collect();
            metadata(format!("{word}{}", metrics.join(",")).as_bytes());
        }

        #[test]
        fn a_beginning_says_the_same_however_it_comes(bytes in near()) {
            peeks(&bytes);
        }

        #[test]
        fn an_answer_is_the_same_as_itself(bytes in near(), kind: u8, split: u8) {
            answers(&[&[kind, split], &bytes[..]].concat());
        }
    }
}
