//! The bodies of the Open Inference Protocol v2: an infer request in, an infer response out, tensors as JSON or binary.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tract_onnx::prelude::Tensor;

use super::model::{Model, Port};
use super::tensor::{self, Datatype};

/// The platform that models say they are of: what Triton says of an ONNX file.
pub(super) const PLATFORM: &str = "onnx_onnxv1";

/// What a caller asked for beside the tensors.
#[derive(Debug)]
pub(super) struct Wanted {
    id: Option<String>,
    outputs: Vec<WantedOutput>,
}

#[derive(Debug)]
struct WantedOutput {
    /// Position among the model's outputs.
    index: usize,
    binary: bool,
}

/// A rendered body; `json_length` is set when binary data follows the JSON.
pub(super) struct Rendered {
    pub(super) body: Vec<u8>,
    pub(super) json_length: Option<usize>,
}

#[derive(Deserialize)]
struct Request<'a> {
    id: Option<String>,
    #[serde(default)]
    parameters: RequestParameters,
    #[serde(borrow)]
    inputs: Vec<RequestInput<'a>>,
    outputs: Option<Vec<RequestOutput>>,
}

#[derive(Default, Deserialize)]
struct RequestParameters {
    binary_data_output: Option<bool>,
}

#[derive(Deserialize)]
struct RequestInput<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: InputParameters,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<usize>,
    shared_memory_region: Option<String>,
}

#[derive(Deserialize)]
struct RequestOutput {
    name: String,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<bool>,
    classification: Option<u64>,
    shared_memory_region: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<ResponseOutput<'a>>,
}

#[derive(Serialize)]
struct ResponseOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// Reads an infer request into the model's inputs, in the model's order.
///
/// `json_length` is the value of `Inference-Header-Content-Length`: where the JSON ends and binary data begins.
pub(super) fn read(model: &Model, body: &[u8], json_length: Option<usize>) -> Result<(Vec<Tensor>, Wanted), String> {
    let (json, mut binary) = match json_length {
        None => (body, &[][..]),
        Some(length) => body.split_at_checked(length).ok_or_else(|| {
            format!("Inference-Header-Content-Length is {length}, but the body has only {} bytes", body.len())
        })?,
    };
    let request: Request<'_> =
        serde_json::from_slice(json).map_err(|cause| format!("the body is not an infer request: {cause}"))?;
    let mut given = Vec::with_capacity(request.inputs.len());
    for input in &request.inputs {
        let about = |problem: String| format!("input {}: {problem}", input.name);
        let datatype = Datatype::from_word(&input.datatype).ok_or_else(|| {
            about(format!("{} is not a datatype: expected BOOL, INT*, UINT*, FP*, or BYTES", input.datatype))
        })?;
        if input.parameters.shared_memory_region.is_some() {
            return Err(about("shared memory is not supported: send the data".to_owned()));
        }
        let tensor = match (input.data, input.parameters.binary_data_size) {
            (Some(data), None) => tensor::from_json(datatype, &input.shape, data),
            (None, Some(size)) => match binary.split_at_checked(size) {
                Some((mine, rest)) => {
                    binary = rest;
                    tensor::from_binary(datatype, &input.shape, mine)
                }
                None => Err(format!("binary_data_size is {size}, but only {} bytes are left", binary.len())),
            },
            (Some(_), Some(_)) => Err("both data and binary_data_size are given".to_owned()),
            (None, None) => Err("neither data nor binary_data_size is given".to_owned()),
        };
        given.push((input.name.clone(), tensor.map_err(about)?));
    }
    if !binary.is_empty() {
        return Err(format!("{} bytes of binary data belong to no input", binary.len()));
    }
    let wanted = wanted(model, request)?;
    Ok((model.arrange(given)?, wanted))
}

fn wanted(model: &Model, request: Request<'_>) -> Result<Wanted, String> {
    let binary_by_default = request.parameters.binary_data_output.unwrap_or(false);
    let outputs = match request.outputs {
        // An empty list asks for everything, as tritonclient sends it when no output is named.
        None => None,
        Some(list) if list.is_empty() => None,
        Some(list) => Some(list),
    };
    let all = || (0..model.outputs.len()).map(|index| WantedOutput { index, binary: binary_by_default }).collect();
    let named = |list: Vec<RequestOutput>| -> Result<Vec<WantedOutput>, String> {
        list.into_iter()
            .map(|output| {
                let index = model.output_at(&output.name)?;
                if output.parameters.classification.is_some_and(|classes| classes > 0) {
                    return Err(format!("output {}: classification is not supported", output.name));
                }
                if output.parameters.shared_memory_region.is_some() {
                    return Err(format!("output {}: shared memory is not supported", output.name));
                }
                Ok(WantedOutput { index, binary: output.parameters.binary_data.unwrap_or(binary_by_default) })
            })
            .collect()
    };
    Ok(Wanted { id: request.id, outputs: outputs.map_or_else(|| Ok(all()), named)? })
}

/// Renders the answer of the model as the caller wanted it.
pub(super) fn render(
    model: &Model,
    (name, version): (&str, &str),
    wanted: &Wanted,
    results: &[Tensor],
) -> Result<Rendered, String> {
    let mut binary = Vec::new();
    let mut any_binary = false;
    let mut outputs = Vec::with_capacity(wanted.outputs.len());
    for WantedOutput { index, binary: as_binary } in &wanted.outputs {
        let (Some(port), Some(result)) = (model.outputs.get(*index), results.get(*index)) else {
            return Err("the model gave fewer outputs than it has".to_owned());
        };
        let (parameters, data) = if *as_binary {
            any_binary = true;
            let before = binary.len();
            tensor::put_binary(result, &mut binary)?;
            (Some(BinarySize { binary_data_size: binary.len() - before }), None)
        } else {
            (None, Some(tensor::to_json(result, false)?))
        };
        let shape = result.shape();
        outputs.push(ResponseOutput { name: &port.name, datatype: port.datatype.word(), shape, parameters, data });
    }
    let response = Response { model_name: name, model_version: version, id: wanted.id.as_deref(), outputs };
    let mut body = serde_json::to_vec(&response).map_err(|cause| cause.to_string())?;
    let json_length = any_binary.then_some(body.len());
    body.append(&mut binary);
    Ok(Rendered { body, json_length })
}

/// Renders the model's metadata.
pub(super) fn metadata(model: &Model, name: &str, version: &str) -> serde_json::Value {
    let port = |port: &Port| serde_json::json!({ "name": port.name, "datatype": port.datatype.word(), "shape": port.wire_shape() });
    serde_json::json!({
        "name": name,
        "versions": [version],
        "platform": PLATFORM,
        "inputs": model.inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": model.outputs.iter().map(port).collect::<Vec<_>>(),
    })
}
