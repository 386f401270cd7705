//! What is promised of the readers of requests and of model files, each over any bytes; see [`crate::fuzzing`].

use std::{collections::BTreeMap, sync::LazyLock};

use berth_proto::inference::v2::{ModelInferRequest, model_infer_request::InferInputTensor};
use prost::Message as _;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use tract_onnx::{
    model::OnnxOpRegister,
    pb::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension::Value},
        type_proto,
    },
    prelude::Tensor,
};

use super::{
    grpc,
    model::{self, Model, Port},
    oip, rewrite, score,
    tensor::{self, Datatype},
    trees,
};

/// Element types by their words, with the numbers of `TensorProto.DataType`.
const TYPES: [(&str, i32); 13] = [
    ("BOOL", 9),
    ("INT8", 3),
    ("INT16", 5),
    ("INT32", 6),
    ("INT64", 7),
    ("UINT8", 2),
    ("UINT16", 4),
    ("UINT32", 12),
    ("UINT64", 13),
    ("FP16", 10),
    ("FP32", 1),
    ("FP64", 11),
    ("BYTES", 8),
];

/// Models that give back what they take, rows of two: one for each element type with one input, and one with all of them.
static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let alone = TYPES.chunks(1).map(same);
    alone.chain([same(&TYPES)]).collect()
});

/// What the engine can build.
static KNOWN: LazyLock<OnnxOpRegister> = LazyLock::new(|| tract_onnx::onnx().op_register);

/// Loads a model whose inputs are called by their types.
fn same(types: &[(&str, i32)]) -> Model {
    let port = |name: &str, elem_type: i32| {
        let dim = |value| Dimension { value: Some(value), ..Default::default() };
        let dim = vec![dim(Value::DimParam("rows".to_owned())), dim(Value::DimValue(2))];
        let tensor = type_proto::Tensor { elem_type, shape: Some(TensorShapeProto { dim }) };
        let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: name.to_owned(), r#type: Some(r#type), ..Default::default() }
    };
    let mut graph = GraphProto { name: "same".to_owned(), ..Default::default() };
    for (name, elem_type) in types {
        let out = format!("{name}.out");
        graph.input.push(port(name, *elem_type));
        graph.output.push(port(&out, *elem_type));
        let (input, output) = (vec![(*name).to_owned()], vec![out]);
        graph.node.push(NodeProto { input, output, op_type: "Identity".to_owned(), ..Default::default() });
    }
    let opset_import = vec![OperatorSetIdProto { version: 17, ..Default::default() }];
    let proto = ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("same.onnx");
    std::fs::write(&file, proto.encode_to_vec()).expect("a file");
    Model::load(&file).expect("the model is well-formed")
}

/// A request behind a byte that says for which model and in which form it comes: whoever says the same tensors in another
/// form is understood the same.
pub(crate) fn tensors(bytes: &[u8]) {
    let [kind, body @ ..] = bytes else { return };
    let (form, model) = (kind % 4, &MODELS[usize::from(kind / 4) % MODELS.len()]);
    let read = match form {
        0 => oip::read(model, body, None).map(|(inputs, _)| inputs),
        1 => {
            let Some((length, body)) = body.split_first_chunk() else { return };
            oip::read(model, body, Some(usize::from(u16::from_le_bytes(*length)))).map(|(inputs, _)| inputs)
        }
        2 => score::read(model, body),
        _ => {
            let Ok(request) = ModelInferRequest::decode(body) else { return };
            grpc::read(model, &request).map(|(inputs, _)| inputs)
        }
    };
    match read {
        Ok(inputs) => is_read_in_every_form(model, &inputs),
        Err(why) => assert!(!why.is_empty(), "refused without a word"),
    }
}

fn is_read_in_every_form(model: &Model, inputs: &[Tensor]) {
    let (bytes, body, length) = in_bytes(model, inputs);
    let (again, _) = oip::read(model, &body, Some(length)).expect("binary data is read");
    assert!(again.iter().map(bits).eq(inputs.iter().map(bits)), "over HTTP in bytes");
    let (again, _) = grpc::read(model, &bytes).expect("raw contents are read");
    assert!(again.iter().map(bits).eq(inputs.iter().map(bits)), "over gRPC");
    let (again, _) = oip::read(model, &as_lists(model, inputs), None).expect("a list");
    assert!(again.iter().map(text).eq(inputs.iter().map(text)), "as JSON");
    let nested: BTreeMap<_, _> = model.inputs.iter().map(|port| &port.name).zip(inputs.iter().map(nested)).collect();
    let body = serde_json::to_vec(&BTreeMap::from([("data", nested)])).expect("JSON");
    let again = score::read(model, &body).expect("lists by name are read");
    assert!(again.iter().map(text).eq(inputs.iter().map(text)), "as a scoring request");
}

/// Writes tensors as raw contents of a gRPC call, and as binary data over HTTP with the length of the JSON before it.
fn in_bytes(model: &Model, inputs: &[Tensor]) -> (ModelInferRequest, Vec<u8>, usize) {
    let (mut request, mut heads, mut binary) = (ModelInferRequest::default(), Vec::new(), Vec::new());
    for (port, tensor) in model.inputs.iter().zip(inputs) {
        let (name, datatype, (shape, bytes)) = (port.name.clone(), port.datatype.word(), bits(tensor));
        let size = json!({ "binary_data_size": bytes.len() });
        heads.push(json!({ "name": name, "datatype": datatype, "shape": shape, "parameters": size }));
        binary.extend_from_slice(&bytes);
        let shape = shape.iter().map(|length| i64::try_from(*length).expect("a length")).collect();
        request.inputs.push(InferInputTensor { name, datatype: datatype.to_owned(), shape, ..Default::default() });
        request.raw_input_contents.push(bytes.into());
    }
    let mut body = json!({ "inputs": heads }).to_string().into_bytes();
    let length = body.len();
    body.append(&mut binary);
    (request, body, length)
}

/// Writes tensors as flat lists.
fn as_lists(model: &Model, inputs: &[Tensor]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Input<'a> {
        name: &'a str,
        datatype: &'a str,
        shape: &'a [usize],
        data: Box<RawValue>,
    }
    let input = |(port, tensor): (&'_ Port, &'_ Tensor)| {
        let data = tensor::to_json(tensor, false).expect("what was read is written");
        serde_json::to_string(&Input { name: &port.name, datatype: port.datatype.word(), shape: tensor.shape(), data })
    };
    let inputs: Result<Vec<_>, _> = model.inputs.iter().zip(inputs).map(input).collect();
    format!("{{\"inputs\":[{}]}}", inputs.expect("JSON").join(",")).into_bytes()
}

/// Every bit of a tensor, of which equality would find that no number equals itself.
fn bits(tensor: &Tensor) -> (Vec<usize>, Vec<u8>) {
    let mut bytes = Vec::new();
    tensor::put_binary(tensor, &mut bytes).expect("what was read is written");
    (tensor.shape().to_vec(), bytes)
}

/// What JSON can say of a tensor: there is one word for all that is no number.
fn text(tensor: &Tensor) -> String {
    nested(tensor).get().to_owned()
}

fn nested(tensor: &Tensor) -> Box<RawValue> {
    tensor::to_json(tensor, true).expect("what was read is written")
}

/// A model's file, up to where the engine takes over: it is refused, or every free dimension has a name, every operator that
/// is left is known or named as one that is not, and every walk down a tree ends.
pub(crate) fn models(bytes: &[u8]) {
    let Ok(mut proto) = ModelProto::decode(bytes) else { return };
    rewrite::rewrite(&mut proto);
    let unknown = rewrite::unknown_operators(&proto, &KNOWN);
    let Some(graph) = &proto.graph else { return };
    if let Ok(ports) = model::input_ports(graph) {
        let dims = ports.iter().filter_map(|port| port.dims.as_ref()).flatten();
        assert!(dims.clone().all(|dim| *dim != model::Dim::Fixed(0)), "a dimension of nothing");
        assert!(dims.clone().all(|dim| *dim != model::Dim::Free(String::new())), "a dimension without a name");
        assert!(ports.iter().all(|port| Datatype::from_word(port.datatype.word()) == Some(port.datatype)));
    }
    for node in &graph.node {
        if node.op_type == trees::OPERATOR {
            trees::walks_end(node);
        } else {
            let is_known = KNOWN.0.contains_key(&node.op_type);
            assert!(is_known || unknown.iter().any(|name| name.ends_with(&node.op_type)), "{} is lost", node.op_type);
        }
    }
}
