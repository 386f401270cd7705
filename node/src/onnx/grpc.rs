//! The gRPC half of the ONNX server: the Open Inference Protocol's service, beside HTTP on the same port.

use std::sync::Arc;

use berth_proto::inference::v2::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    model_infer_response::InferOutputTensor,
    model_metadata_response::TensorMetadata,
};
use http::header::CONTENT_TYPE;
use tonic::{Request, Response, Status, codegen::Service};
use tract_onnx::prelude::Tensor;

use super::{
    http::{NAME, Shared, VERSION},
    model::{Model, Port},
    oip::PLATFORM,
    tensor::{self, Datatype},
};

/// The service over what every request of the server shares.
struct Inference(Arc<Shared>);

/// Returns whether a request is a gRPC call.
pub(super) fn is_call<B>(request: &http::Request<B>) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Answers a gRPC call; what goes wrong is in its trailers.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: http::Request<hyper::body::Incoming>,
) -> http::Response<tonic::body::Body> {
    let limit = shared.max_body_bytes();
    let mut service = GrpcInferenceServiceServer::new(Inference(shared))
        .max_decoding_message_size(limit)
        // An answer may be larger than its request; what the model made is sent.
        .max_encoding_message_size(usize::MAX);
    match service.call(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// Reads the tensors of a request in the model's order, and which outputs are wanted.
pub(super) fn read(model: &Model, request: &ModelInferRequest) -> Result<(Vec<Tensor>, Vec<usize>), String> {
    let raw = &request.raw_input_contents;
    if !raw.is_empty() && raw.len() != request.inputs.len() {
        return Err(format!("{} inputs, but {} raw contents", request.inputs.len(), raw.len()));
    }
    let mut given = Vec::with_capacity(request.inputs.len());
    for (at, input) in request.inputs.iter().enumerate() {
        let about = |problem: String| format!("input {}: {problem}", input.name);
        let datatype = Datatype::from_word(&input.datatype)
            .ok_or_else(|| about(format!("{} is not a datatype", input.datatype)))?;
        let shape: Result<Vec<_>, _> = input.shape.iter().map(|length| usize::try_from(*length)).collect();
        let shape = shape.map_err(|_| about(format!("{:?} is not a shape", input.shape)))?;
        let packed = match (raw.get(at), &input.contents) {
            (Some(_), Some(_)) => Err("both contents and raw contents are given".to_owned()),
            (Some(raw), None) => Ok(raw.to_vec()),
            (None, Some(contents)) => packed(datatype, contents),
            (None, None) => Err("no contents are given".to_owned()),
        };
        let tensor = packed.and_then(|bytes| tensor::from_binary(datatype, &shape, &bytes));
        given.push((input.name.clone(), tensor.map_err(about)?));
    }
    let wanted: Vec<_> = match request.outputs.as_slice() {
        [] => (0..model.outputs.len()).collect(),
        named => named.iter().map(|output| model.output_at(&output.name)).collect::<Result<_, _>>()?,
    };
    Ok((model.arrange(given)?, wanted))
}

/// Writes typed contents in the binary form, which every tensor is read from.
fn packed(datatype: Datatype, contents: &InferTensorContents) -> Result<Vec<u8>, String> {
    fn narrow<T, U: TryFrom<T> + Copy, const N: usize>(all: &[T], put: fn(U) -> [u8; N]) -> Result<Vec<u8>, String>
    where
        T: Copy + std::fmt::Display,
    {
        let mut out = Vec::with_capacity(all.len() * N);
        for value in all {
            let value = U::try_from(*value).map_err(|_| format!("{value} is out of range"))?;
            out.extend_from_slice(&put(value));
        }
        Ok(out)
    }
    match datatype {
        Datatype::Bool => Ok(contents.bool_contents.iter().map(|value| u8::from(*value)).collect()),
        Datatype::Int8 => narrow(&contents.int_contents, i8::to_le_bytes),
        Datatype::Int16 => narrow(&contents.int_contents, i16::to_le_bytes),
        Datatype::Int32 => narrow(&contents.int_contents, i32::to_le_bytes),
        Datatype::Int64 => narrow(&contents.int64_contents, i64::to_le_bytes),
        Datatype::Uint8 => narrow(&contents.uint_contents, u8::to_le_bytes),
        Datatype::Uint16 => narrow(&contents.uint_contents, u16::to_le_bytes),
        Datatype::Uint32 => narrow(&contents.uint_contents, u32::to_le_bytes),
        Datatype::Uint64 => narrow(&contents.uint64_contents, u64::to_le_bytes),
        Datatype::Fp32 => narrow(&contents.fp32_contents, f32::to_le_bytes),
        Datatype::Fp64 => narrow(&contents.fp64_contents, f64::to_le_bytes),
        Datatype::Fp16 => Err("FP16 has no typed contents: send raw_input_contents".to_owned()),
        Datatype::Bytes => {
            let mut out = Vec::new();
            for text in &contents.bytes_contents {
                let length = u32::try_from(text.len()).map_err(|_| "a BYTES element is over 4 GiB".to_owned())?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(text);
            }
            Ok(out)
        }
    }
}

fn render(
    model: &Model,
    request: ModelInferRequest,
    wanted: &[usize],
    results: &[Tensor],
) -> Result<ModelInferResponse, String> {
    let (mut outputs, mut raw) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len()));
    for at in wanted {
        let (Some(port), Some(result)) = (model.outputs.get(*at), results.get(*at)) else {
            return Err("the model gave fewer outputs than it has".to_owned());
        };
        let mut bytes = Vec::new();
        tensor::put_binary(result, &mut bytes)?;
        raw.push(bytes.into());
        let shape = result.shape().iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect();
        let (name, datatype) = (port.name.clone(), port.datatype.word().to_owned());
        outputs.push(InferOutputTensor { name, datatype, shape, ..Default::default() });
    }
    Ok(ModelInferResponse {
        model_name: request.model_name,
        model_version: version_or_own(request.model_version),
        id: request.id,
        outputs,
        raw_output_contents: raw,
        ..Default::default()
    })
}

fn version_or_own(asked: String) -> String {
    if asked.is_empty() { VERSION.to_owned() } else { asked }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: !self.0.is_draining() }))
    }

    async fn model_ready(&self, _: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        Ok(Response::new(ModelReadyResponse { ready: !self.0.is_draining() }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(ServerMetadataResponse { name: NAME.to_owned(), version, extensions: Vec::new() }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let port = |port: &Port| TensorMetadata {
            name: port.name.clone(),
            datatype: port.datatype.word().to_owned(),
            shape: port.wire_shape(),
        };
        let model = self.0.model();
        Ok(Response::new(ModelMetadataResponse {
            name,
            versions: vec![version_or_own(version)],
            platform: PLATFORM.to_owned(),
            inputs: model.inputs.iter().map(port).collect(),
            outputs: model.outputs.iter().map(port).collect(),
        }))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let request = request.into_inner();
        let answer = self.0.infer(move |model| {
            let (inputs, wanted) = read(model, &request).map_err(Ok)?;
            let results = model.run(inputs).map_err(Err)?;
            render(model, request, &wanted, &results).map_err(Err)
        });
        Ok(Response::new(answer.await?))
    }
}
