//! What is promised of the readers of other programs' bytes, as functions over any bytes; see `berth_core::fuzzing`.

use crate::mesh::empty_frames;

/// Bytes of the head of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;

/// A connection's frames, behind a byte that says in which pieces they come: what is found does not depend on the pieces,
/// and is what one finds who has all of it at hand.
pub fn frames(bytes: &[u8]) {
    let [size, bytes @ ..] = bytes else { return };
    let whole = empty_frames([bytes]);
    let pieces = empty_frames(bytes.chunks(usize::from(*size).max(1)));
    assert_eq!(pieces, whole, "in pieces of {size}");
    let (mut rest, mut empty) = (bytes, 0);
    while let Some((head, payload)) = rest.split_first_chunk::<HEAD>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (is_data, ends) = (head[3] == 0, head[4] & 1 == 1);
        empty += u32::from(is_data && !ends && length == 0);
        rest = payload.get(length..).unwrap_or_default();
    }
    assert_eq!(whole, empty, "seen as a whole");
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
