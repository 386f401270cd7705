//! The ONNX server over gRPC, as any client of the Open Inference Protocol calls it.

use berth_proto::inference::v2::{
    InferTensorContents, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest,
    ServerMetadataRequest, ServerReadyRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use tonic::{Code, transport::Channel};

use crate::onnx::{example, options, start};

async fn connect(address: std::net::SocketAddr) -> GrpcInferenceServiceClient<Channel> {
    GrpcInferenceServiceClient::connect(format!("http://{address}")).await.expect("the server speaks HTTP/2")
}

/// Asks for the label of an empty image, with its elements as typed contents.
fn typed() -> ModelInferRequest {
    let contents = InferTensorContents { fp32_contents: vec![0.0; 64], ..Default::default() };
    ModelInferRequest {
        model_name: "digits".into(),
        id: "one".into(),
        inputs: vec![InferInputTensor {
            name: "input".into(),
            datatype: "FP32".into(),
            shape: vec![1, 64],
            contents: Some(contents),
            ..Default::default()
        }],
        outputs: vec![InferRequestedOutputTensor { name: "label".into(), ..Default::default() }],
        ..Default::default()
    }
}

/// The same in the binary form.
fn raw() -> ModelInferRequest {
    let mut request = typed();
    request.inputs[0].contents = None;
    request.raw_input_contents = vec![vec![0; 256].into()];
    request
}

#[tokio::test]
async fn both_forms_of_a_tensor_give_the_same_answer() {
    let server = start(options(example("green/model.onnx"))).await;
    let mut client = connect(server.address).await;
    assert!(client.server_live(ServerLiveRequest {}).await.expect("live").into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.expect("ready").into_inner().ready);
    assert!(client.model_ready(ModelReadyRequest::default()).await.expect("ready").into_inner().ready);
    let about = client.server_metadata(ServerMetadataRequest {}).await.expect("metadata").into_inner();
    assert_eq!(about.name, "berth-onnx");
    let named = ModelMetadataRequest { name: "digits".into(), ..Default::default() };
    let model = client.model_metadata(named).await.expect("metadata").into_inner();
    let input = &model.inputs[0];
    assert_eq!((model.name.as_str(), input.name.as_str(), input.datatype.as_str()), ("digits", "input", "FP32"));
    let answer = client.model_infer(typed()).await.expect("an answer").into_inner();
    assert_eq!((answer.model_name.as_str(), answer.id.as_str()), ("digits", "one"));
    let names: Vec<_> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!((names, answer.raw_output_contents.len()), (vec!["label"], 1), "only the requested output");
    assert_eq!(client.model_infer(raw()).await.expect("an answer").into_inner(), answer);
    let all = ModelInferRequest { outputs: Vec::new(), ..raw() };
    assert!(client.model_infer(all).await.expect("an answer").into_inner().outputs.len() > 1);
    server.stop().await;
}

#[tokio::test]
async fn bad_tensors_are_refused_in_words() {
    let server = start(options(example("green/model.onnx"))).await;
    let mut client = connect(server.address).await;
    let with = |change: fn(&mut ModelInferRequest)| {
        let mut request = typed();
        change(&mut request);
        request
    };
    for (request, words) in [
        (with(|request| request.inputs[0].datatype = "FP8".into()), "FP8 is not a datatype"),
        (with(|request| request.inputs[0].shape = vec![-1, 64]), "is not a shape"),
        (with(|request| request.inputs[0].shape = vec![2, 64]), "input input:"),
        (with(|request| request.inputs[0].contents = None), "no contents are given"),
        (with(|request| request.raw_input_contents = vec![vec![0; 256].into()]), "both contents and raw contents"),
        (with(|request| request.raw_input_contents = vec![vec![].into(); 2]), "1 inputs, but 2 raw contents"),
        (with(|request| request.outputs[0].name = "lable".into()), "output lable is not of this model"),
        (with(|request| request.inputs.clear()), "input"),
    ] {
        let status = client.model_infer(request).await.expect_err(words);
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(words), "{words}: {status:?}");
    }
    server.stop().await;
}
