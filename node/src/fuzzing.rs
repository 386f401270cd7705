//! What is promised of the readers of other programs' bytes, as functions over any bytes; see `berth_core::fuzzing`.

use crate::{
    capacity::{self, CapacityOverride},
    gpu::fake::FakeGpus,
    hand_over::{read_left, write_left},
    mesh, process,
};

/// What comes on a connection of HTTP/2, behind a byte that says in which pieces and to which side: nothing it does depends
/// on the pieces, and what is kept of it and answered to it is bounded. The same bytes as steps of its peer and its program,
/// in turns: no window is exceeded, and no stream is kept that nobody wants.
pub fn frames(bytes: &[u8]) {
    crate::http2::promises::frames(bytes);
}

/// The head of a request or of an answer, `name: value` line by line, as a gate and an ingress read it: what ends at this hop
/// does not go on, no wait becomes longer, and what only gates may say is heard from nobody else.
pub fn gate(bytes: &[u8]) {
    mesh::promises::head(bytes);
}

/// What a host, its flags and the process before this one say of it: counts of requests, `stat` lines and environments of
/// processes, lines of cgroups, a capacity, made-up GPUs.
pub fn host(bytes: &[u8]) {
    process::promise_of_inspect(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    let left = read_left(text);
    assert_eq!(read_left(&write_left(&left)), left);
    capacity::promise_of_cgroup(text);
    for refused in [text.parse::<CapacityOverride>().err(), text.parse::<FakeGpus>().err()].into_iter().flatten() {
        assert!(!refused.problems.is_empty(), "refused without a word");
    }
}

/// A request to the built-in ONNX server, behind a byte that says for which of some models and in which form it comes:
/// JSON, JSON with binary data, Azure's scoring body, a gRPC message. Refused in words, or the same tensors in another form
/// are understood the same.
#[cfg(feature = "onnx")]
pub fn tensors(bytes: &[u8]) {
    crate::onnx::promises::tensors(bytes);
}

/// A model's file, up to where the engine takes over.
#[cfg(feature = "onnx")]
pub fn models(bytes: &[u8]) {
    crate::onnx::promises::models(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// What fuzzers and people have tried, and what it was about.
    #[test]
    fn inputs_that_once_mattered() {
        for text in [
            // Two lists of what ends at the hop.
            "connection: keep-alive\nconnection: x-a\nx-a: 1\nte: gzip\nte: trailers",
            // A wait that is over, and the longest there is.
            "content-type: application/grpc\ngrpc-timeout: 0n",
            "content-type: application/grpc\ngrpc-timeout: 99999999H",
            "x-request-timeout-ms: 18446744073709551616",
            "x-berth-gate-replica: zz\nx-berth-gate-deadline-ms: -1",
            "x-berth-not-started: ",
            // What no gate of this version knows.
            "x-berth-gate-later: 1",
        ] {
            super::gate(text.as_bytes());
        }
        for text in [
            "0123456789abcdef=18446744073709551615 0123456789abcdef=1",
            // More slices than any card has memory for, in a number that overflows.
            "1x80GiB:A/7x1g.9007199254740992gb",
            "cpu=18446744073709551615,memory=99999999999999999999GiB",
            "4:memory:../../etc",
            "4:/a,memory:/b",
            "1 (a) b) S",
            "BERTH_REPLICA_ROOT=",
        ] {
            super::host(text.as_bytes());
        }
    }

    proptest! {
        /// Frames with short payloads, the last of them cut anywhere.
        #[test]
        fn empty_frames_are_found_however_they_come(
            size: u8,
            sent in prop::collection::vec((0..3_u8, any::<u8>(), 0..40_usize), 0..12),
            cut in 0..12_usize,
        ) {
            let mut bytes = vec![size];
            for (kind, flags, length) in sent {
                // Half of them are empty.
                let length = length.saturating_sub(20);
                bytes.extend([0, 0, length as u8, kind, flags, 0, 0, 0, 1]);
                bytes.extend(std::iter::repeat_n(0, length));
            }
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            super::frames(&bytes);
        }

        /// Headers that a gate looks for, with values near to what it takes.
        #[test]
        fn heads_keep_what_is_promised(
            lines in prop::collection::vec((
                "(x-request-timeout-ms|grpc-timeout|connection|te|upgrade|expect|content-type|authorization|x-berth-gate-(replica|deadline-ms|broken)|x-berth-not-started|x-a)",
                "(application/grpc|trailers|gzip, trailers|x-a|te, x-a|[0-9]{1,20}[HMSmun]?|[0-9a-f]{16}|full|head| )",
            ), 0..8),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            super::gate(text.as_bytes());
            super::gate(&[text.as_bytes(), &bytes].concat());
        }

        #[test]
        fn what_a_host_says_is_read_or_refused(
            text in "([0-9a-f]{16}=[0-9]{1,20}|[0-9]x[0-9]{1,20}GiB:[A-Z0-9]{1,4}(/[0-9]x[0-9]g.[0-9]{1,20}gb)?|(cpu|memory|gpu|disk)=[0-9]{1,20}(GiB)?|[0-9]:[a-z,]{0,6}:[/.a-z]{0,9}|[),= ]){0,4}",
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            super::host(text.as_bytes());
            super::host(&bytes);
        }

        #[test]
        fn whatever_comes_is_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::frames(&bytes);
        }
    }
    #[cfg(feature = "onnx")]
    mod onnx {
        use prost::Message as _;
        use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto};

        use super::*;

        /// Where the model of one element type lies, and the one of all: see `promises::MODELS`.
        const FP32: u8 = 10;
        const FP64: u8 = 11;

        fn body(model: u8, form: u8, body: &[u8]) -> Vec<u8> {
            [&[model * 4 + form][..], body].concat()
        }

        /// Requests that are right, in every form, then cut and changed.
        fn right(model: u8, word: &str, cells: &str) -> Vec<Vec<u8>> {
            let json =
                format!(r#"{{"inputs":[{{"name":"{word}","shape":[1,2],"datatype":"{word}","data":{cells}}}]}}"#);
            let (score, named) = (format!(r#"{{"data":[{cells}]}}"#), format!(r#"{{"{word}":[{cells}]}}"#));
            let table = format!(r#"{{"input_data":{{"columns":["a","b"],"data":[{cells}]}}}}"#);
            [(0, json), (2, score), (2, named), (2, table)]
                .map(|(form, text)| body(model, form, text.as_bytes()))
                .to_vec()
        }

        #[test]
        fn what_is_said_in_one_form_is_understood_in_every_other() {
            for (model, word, cells) in [
                (0, "BOOL", "[true,0]"),
                (1, "INT8", "[-128,127]"),
                (4, "INT64", "[-9223372036854775808,9223372036854775807]"),
                (8, "UINT64", "[0,18446744073709551615]"),
                (9, "FP16", "[0.1,null]"),
                (10, "FP32", "[0.1,1e39]"),
                (11, "FP64", "[3.154380843945479e-167,2.2250738585072014e-308]"),
                (12, "BYTES", r#"["","gr\u00fc\u00df"]"#),
            ] {
                right(model, word, cells).iter().for_each(|bytes| super::super::tensors(bytes));
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

            #[test]
            fn a_number_is_the_same_in_every_form(single: f32, double: f64) {
                for (model, word, cells) in
                    [(FP32, "FP32", format!("[{single:?},1]")), (FP64, "FP64", format!("[{double:?},1]"))]
                {
                    right(model, word, &cells).iter().for_each(|bytes| super::super::tensors(bytes));
                }
            }

            #[test]
            fn a_request_that_was_right_until_some_byte_changed(
                which in 0..4_usize,
                noise in prop::collection::vec(any::<u8>(), 0..6),
                cut: prop::sample::Index,
            ) {
                let mut bytes = right(FP32, "FP32", "[1.5,2]").swap_remove(which);
                let at = 1 + cut.index(bytes.len() - 1);
                super::super::tensors(&bytes[..at]);
                for byte in noise {
                    bytes[at] = byte;
                    super::super::tensors(&bytes);
                }
            }

            #[test]
            fn whatever_is_asked_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
                super::super::tensors(&bytes);
            }

            /// Operators that are spelled out, with attributes of chance.
            #[test]
            fn whatever_a_file_holds_is_read_or_refused(
                nodes in prop::collection::vec((0..8_usize, prop::collection::vec(attribute(), 0..12), 0..3_usize), 0..4),
            ) {
                let kinds = [
                    "TreeEnsembleClassifier", "TreeEnsembleRegressor", "LinearClassifier", "LabelEncoder", "Scaler",
                    "ReduceLogSumExp", "berth.Trees", "Imputer",
                ];
                let node = nodes.into_iter().map(|(kind, attribute, outputs)| NodeProto {
                    op_type: kinds[kind].to_owned(),
                    attribute,
                    input: vec!["x".to_owned()],
                    output: vec!["y".to_owned(); outputs],
                    ..NodeProto::default()
                });
                let graph = GraphProto { node: node.collect(), ..GraphProto::default() };
                super::super::models(&ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec());
            }

            #[test]
            fn whatever_lies_in_a_file_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
                super::super::models(&bytes);
            }
        }

        fn attribute() -> impl Strategy<Value = AttributeProto> {
            let names = [
                "nodes_treeids",
                "nodes_nodeids",
                "nodes_featureids",
                "nodes_values",
                "nodes_modes",
                "class_ids",
                "nodes_truenodeids",
                "nodes_falsenodeids",
                "target_ids",
                "target_nodeids",
                "target_treeids",
                "target_weights",
                "classlabels_int64s",
                "classlabels_strings",
                "base_values",
                "n_targets",
                "columns",
                "leaf_treeids",
                "leaf_nodeids",
                "leaf_ids",
                "leaf_weights",
            ];
            let numbers = prop::collection::vec(-1..4_i64, 0..4);
            (prop::sample::select(names.to_vec()), any::<i64>(), numbers).prop_map(|(name, i, ints)| {
                let floats = ints.iter().map(|number| *number as f32).collect();
                let strings =
                    ints.iter().map(|number| if *number > 1 { b"LEAF".to_vec() } else { b"BRANCH_LEQ".to_vec() });
                let strings = strings.collect();
                let name = name.to_owned();
                AttributeProto { name, i, ints, floats, strings, ..AttributeProto::default() }
            })
        }
    }
}
