//! The built-in ONNX server over real sockets: answers equal to onnxruntime's, refusals in words, limits, and the end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_core::error::{Code, Error};
use berth_node::onnx::{OnnxOptions, OnnxServer};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No answer of these small models takes near as long; a test that waits longer has failed.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Case {
    inputs: BTreeMap<String, Tensor>,
    outputs: BTreeMap<String, Tensor>,
}

#[derive(Clone, Debug, Deserialize, serde::Serialize)]
struct Tensor {
    datatype: String,
    shape: Vec<usize>,
    data: Vec<Value>,
}

#[derive(Deserialize)]
struct Digit {
    data: Vec<u8>,
    label: i64,
}

#[derive(Deserialize)]
struct Expected {
    green: Vec<i64>,
    green_probability: Vec<f64>,
}

/// A running server; stopped when dropped or by [`Server::stop`].
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name)
}

pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits").join(name)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).expect("a file of this repository");
    serde_json::from_str(&text).expect("a file of this repository holds JSON")
}

fn cases() -> BTreeMap<String, Case> {
    read_json(&fixture("cases.json"))
}

pub(crate) fn options(model: PathBuf) -> OnnxOptions {
    OnnxOptions::new(model, "model", SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub(crate) async fn start(options: OnnxOptions) -> Server {
    let server = OnnxServer::bind(options).await.expect("the model loads");
    let address = server.local_addr().expect("a bound server has an address");
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    Server { address, stop, done }
}

async fn refusal(model: PathBuf) -> Error {
    let Err(error) = OnnxServer::bind(options(model)).await else { panic!("the model must not load") };
    error
}

// === impl Server ===

impl Server {
    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let exchange = async {
            let stream = TcpStream::connect(self.address).await.expect("the server listens");
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("the server speaks HTTP");
            tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await.expect("every request is answered").into_parts();
            let body = body.collect().await.expect("the answer is whole").to_bytes();
            Answer { status: head.status, headers: head.headers, body }
        };
        tokio::time::timeout(DEADLINE, exchange).await.expect("an answer within the deadline")
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).header("host", "test").body(Full::default()).expect("a request")).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::post(path).header("host", "test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into())).expect("a request")).await
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("the server still runs");
        tokio::time::timeout(DEADLINE, self.done).await.expect("the server ends").expect("the server does not panic");
    }
}

// === impl Answer ===

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error body has its sentence").to_owned()
    }

    fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

// === impl Tensor ===

impl Tensor {
    /// Renders the binary form as a stock client does.
    fn bytes(&self) -> Vec<u8> {
        let float = |value: &Value| if value.is_null() { f64::NAN } else { value.as_f64().expect("a number") };
        let mut out = Vec::new();
        for value in &self.data {
            let int = || value.as_i64().expect("an integer");
            let uint = || value.as_u64().expect("an unsigned integer");
            match self.datatype.as_str() {
                "BOOL" => out.push(u8::from(value.as_bool().expect("a boolean"))),
                "INT8" => out.extend((int() as i8).to_le_bytes()),
                "INT16" => out.extend((int() as i16).to_le_bytes()),
                "INT32" => out.extend((int() as i32).to_le_bytes()),
                "INT64" => out.extend(int().to_le_bytes()),
                "UINT8" => out.extend((uint() as u8).to_le_bytes()),
                "UINT16" => out.extend((uint() as u16).to_le_bytes()),
                "UINT32" => out.extend((uint() as u32).to_le_bytes()),
                "UINT64" => out.extend(uint().to_le_bytes()),
                // The fixtures use two values whose halves are known.
                "FP16" if float(value) == 0.5 => out.extend(0x3800_u16.to_le_bytes()),
                "FP16" if float(value) == -65504.0 => out.extend(0xfbff_u16.to_le_bytes()),
                "FP32" => out.extend((float(value) as f32).to_le_bytes()),
                "FP64" => out.extend(float(value).to_le_bytes()),
                "BYTES" => {
                    let text = value.as_str().expect("a string");
                    out.extend((text.len() as u32).to_le_bytes());
                    out.extend(text.as_bytes());
                }
                other => panic!("the fixtures hold no {other}"),
            }
        }
        out
    }
}

/// Compares a tensor of an answer with the reference: names of types exactly, floats to a few parts in 100,000.
fn assert_same(what: &str, got: &Value, want: &Tensor) {
    assert_eq!(got["datatype"], json!(want.datatype), "{what}");
    assert_eq!(got["shape"], json!(want.shape), "{what}");
    let got = got["data"].as_array().unwrap_or_else(|| panic!("{what}: no data"));
    assert_eq!(got.len(), want.data.len(), "{what}");
    for (got, want) in got.iter().zip(&want.data) {
        match (got.as_f64(), want.as_f64()) {
            (Some(g), Some(w)) if got.is_f64() || want.is_f64() => {
                assert!((g - w).abs() <= 5e-5 * w.abs().max(1.0), "{what}: {g} for {w}");
            }
            _ => assert_eq!(got, want, "{what}"),
        }
    }
}

fn infer_body(case: &Case) -> Value {
    let inputs: Vec<Value> = case
        .inputs
        .iter()
        .map(|(name, t)| json!({ "name": name, "shape": t.shape, "datatype": t.datatype, "data": t.data }))
        .collect();
    json!({ "id": "case", "inputs": inputs })
}

/// The request of a stock tritonclient: every input and output binary.
fn binary_body(case: &Case) -> (Vec<u8>, usize) {
    let mut tail = Vec::new();
    let mut inputs = Vec::new();
    for (name, tensor) in &case.inputs {
        let bytes = tensor.bytes();
        inputs.push(json!({
            "name": name, "shape": tensor.shape, "datatype": tensor.datatype,
            "parameters": { "binary_data_size": bytes.len() },
        }));
        tail.extend(bytes);
    }
    let head = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } }).to_string();
    let mut body = head.clone().into_bytes();
    body.extend(tail);
    (body, head.len())
}

#[tokio::test]
async fn every_fixture_answers_as_onnxruntime_does() {
    let cases = cases();
    assert!(cases.len() >= 18, "the fixtures are all there");
    for (name, case) in cases {
        let server = start(options(fixture(&format!("{name}.onnx")))).await;
        let answer = server.post("/v2/models/any/infer", &[], infer_body(&case).to_string()).await.ok().json();
        assert_eq!(answer["id"], "case");
        assert_eq!(answer["model_name"], "any");
        let outputs = answer["outputs"].as_array().expect("outputs");
        assert_eq!(outputs.len(), case.outputs.len(), "{name}");
        for output in outputs {
            let port = output["name"].as_str().expect("a name");
            assert_same(&format!("{name}.{port}"), output, &case.outputs[port]);
        }

        let (body, json_length) = binary_body(&case);
        let length = json_length.to_string();
        let answer =
            server.post("/v2/models/any/infer", &[("Inference-Header-Content-Length", &length)], body).await.ok();
        let json_length: usize =
            answer.headers["inference-header-content-length"].to_str().expect("text").parse().expect("a number");
        let (head, mut tail) = answer.body.split_at(json_length);
        let head: Value = serde_json::from_slice(head).expect("the head is JSON");
        for (output, from_json) in head["outputs"].as_array().expect("outputs").iter().zip(outputs) {
            let size = output["parameters"]["binary_data_size"].as_u64().expect("a size") as usize;
            let (mine, rest) = tail.split_at(size);
            tail = rest;
            assert_eq!(output["shape"], from_json["shape"]);
            let mut same: Tensor = serde_json::from_value(from_json.clone()).expect("a tensor");
            if same.datatype == "FP16" {
                // Its JSON form is exact for the two values used.
                same.data = case.outputs["fp16_out"].data.clone();
            }
            assert_eq!(mine, same.bytes(), "{name}: binary and JSON say the same");
        }
        assert!(tail.is_empty(), "{name}");

        let metadata = server.get("/v2/models/any").await.ok().json();
        let names: Vec<_> = metadata["inputs"].as_array().expect("inputs").iter().map(|i| i["name"].clone()).collect();
        for input in case.inputs.keys() {
            assert!(names.contains(&json!(input)), "{name}: {input} in {names:?}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn the_held_out_digits_are_read_as_recorded_at_training() {
    let digits: Vec<Digit> = read_json(&example("held-out.json"));
    let expected: Expected = read_json(&example("expected.json"));
    assert_eq!(digits.len(), 360);
    let server = start(options(example("green/model.onnx"))).await;
    let mut correct = 0;
    for (at, batch) in digits.chunks(45).enumerate() {
        let rows: Vec<_> = batch.iter().map(|digit| &digit.data).collect();
        let scored = server.post("/score", &[], json!({ "data": rows }).to_string()).await.ok().json();
        let inputs = json!([{ "name": "input", "shape": [batch.len(), 64], "datatype": "FP32", "data": rows }]);
        let inferred =
            server.post("/v2/models/digits/infer", &[], json!({ "inputs": inputs }).to_string()).await.ok().json();
        for (row, digit) in batch.iter().enumerate() {
            let index = at * 45 + row;
            let label = scored["predictions"][row].as_i64().expect("a label");
            assert_eq!(label, expected.green[index], "digit {index}");
            assert_eq!(inferred["outputs"][0]["data"][row], label);
            let best = scored["outputs"]["probabilities"][row]
                .as_array()
                .expect("a row of probabilities")
                .iter()
                .filter_map(Value::as_f64)
                .fold(0.0, f64::max);
            assert!((best - expected.green_probability[index]).abs() < 1e-4, "digit {index}");
            correct += usize::from(label == digit.label);
        }
    }
    assert!(correct >= 342, "{correct} of 360 is below 95 %");
    server.stop().await;
}

#[tokio::test]
async fn the_routes_of_the_protocol_answer() {
    let server = start(options(example("green/model.onnx"))).await;
    let probe = server.get("/").await.ok();
    assert_eq!(
        (&probe.body[..], &probe.headers["content-type"]),
        (&b"Healthy"[..], &"text/html; charset=utf-8".parse().expect("a value"))
    );
    assert_eq!(server.get("/v2/health/live").await.ok().json(), json!({ "live": true }));
    assert_eq!(server.get("/v2/health/ready").await.ok().json(), json!({ "ready": true }));
    assert_eq!(server.get("/v2/models").await.ok().json(), json!({ "models": ["model"] }));
    assert_eq!(server.get("/v2").await.ok().json()["extensions"], json!(["binary_tensor_data"]));
    assert_eq!(
        server.get("/v2/models/digits/versions/3/ready").await.ok().json(),
        json!({ "name": "digits", "ready": true })
    );
    assert_eq!(
        server.get("/v2/models/digits").await.ok().json(),
        json!({
            "name": "digits", "versions": ["1"], "platform": "onnx_onnxv1",
            "inputs": [{ "name": "input", "datatype": "FP32", "shape": [-1, 64] }],
            "outputs": [
                { "name": "label", "datatype": "INT64", "shape": [-1] },
                { "name": "probabilities", "datatype": "FP32", "shape": [-1, 10] },
            ],
        })
    );
    let described = server.get("/swagger.json").await.ok().json();
    let row = json!({ "type": "array", "items": { "type": "number" }, "minItems": 64, "maxItems": 64 });
    assert_eq!(
        described["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["data"],
        json!({ "type": "array", "items": row })
    );
    assert!(described["paths"]["/v2/models/model/infer"]["post"].is_object(), "{described}");
    assert_eq!(server.get("/swagger.json?version=3").await.ok().json()["openapi"], "3.0.3");
    assert_eq!(server.get("/swagger.json?version=2").await.status, StatusCode::NOT_FOUND);
    let missing = server.get("/v2/models/digits/stats").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.error().contains("/v2/models/digits/stats"));
    let wrong = server.get("/score").await;
    assert_eq!(
        (wrong.status, &wrong.headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().expect("a value"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_request_chooses_outputs_and_their_form() {
    let server = start(options(example("green/model.onnx"))).await;
    let input = json!({ "name": "input", "shape": [1, 64], "datatype": "FP32", "data": vec![0; 64] });
    let body = json!({
        "inputs": [input],
        "outputs": [{ "name": "probabilities", "parameters": { "binary_data": true } }, { "name": "label" }],
    });
    let answer = server.post("/v2/models/m/versions/7/infer", &[], body.to_string()).await.ok();
    let length: usize =
        answer.headers["inference-header-content-length"].to_str().expect("text").parse().expect("a number");
    assert_eq!(answer.body.len() - length, 40, "ten probabilities of four bytes");
    let head: Value = serde_json::from_slice(&answer.body[..length]).expect("JSON");
    assert_eq!(head["model_version"], "7");
    assert_eq!(
        head["outputs"][0],
        json!({
            "name": "probabilities", "datatype": "FP32", "shape": [1, 10], "parameters": { "binary_data_size": 40 },
        })
    );
    assert!(head["outputs"][1]["data"][0].is_i64());
    server.stop().await;
}

/// Each row: body of `POST /v2/models/digits/infer`, parts of the sentence that refuses it.
#[tokio::test]
async fn wrong_infer_requests_are_refused_in_words() {
    let server = start(options(example("green/model.onnx"))).await;
    let input = |change: Value| {
        let mut input = json!({ "name": "input", "shape": [1, 64], "datatype": "FP32", "data": vec![0; 64] });
        for (key, value) in change.as_object().expect("an object") {
            input[key] = value.clone();
        }
        json!({ "inputs": [input] }).to_string()
    };
    let twice = json!({ "name": "input", "shape": [1, 64], "datatype": "FP32", "data": vec![0; 64] });
    for (body, parts) in [
        (String::new(), vec!["not an infer request"]),
        ("{".to_owned(), vec!["not an infer request"]),
        ("[]".to_owned(), vec!["not an infer request"]),
        ("{}".to_owned(), vec!["missing field `inputs`"]),
        (r#"{"inputs":[]}"#.to_owned(), vec!["input input is missing", "FP32 [-1, 64]"]),
        (json!({ "inputs": [twice, twice] }).to_string(), vec!["given twice"]),
        (input(json!({ "name": "image" })), vec!["input input is missing", "image is not an input", "FP32 [-1, 64]"]),
        (input(json!({ "shape": [64] })), vec!["has shape [64]", "expected FP32 [-1, 64]"]),
        (input(json!({ "shape": [2, 32] })), vec!["has shape [2, 32]", "expected FP32 [-1, 64]"]),
        (input(json!({ "shape": [1, 63] })), vec!["holds 63 elements, the data has 64"]),
        (input(json!({ "shape": [-1, 64] })), vec!["invalid value"]),
        (input(json!({ "shape": [0, 64], "data": [] })), vec!["holds no element"]),
        (input(json!({ "shape": [u64::MAX, u64::MAX] })), vec!["too large"]),
        (input(json!({ "datatype": "INT64" })), vec!["is INT64", "expected FP32 [-1, 64]"]),
        (input(json!({ "datatype": "FLOAT" })), vec!["FLOAT is not a datatype"]),
        (input(json!({ "data": ["a"] })), vec!["expected a number"]),
        (input(json!({ "data": null })), vec!["neither data nor binary_data_size"]),
        (input(json!({ "parameters": { "binary_data_size": 256 } })), vec!["both data and binary_data_size"]),
        (
            input(json!({ "data": null, "parameters": { "binary_data_size": 256 } })),
            vec!["binary_data_size is 256, but only 0 bytes are left"],
        ),
        (input(json!({ "data": null, "parameters": { "shared_memory_region": "r" } })), vec!["shared memory"]),
        (
            json!({ "inputs": [twice], "outputs": [{ "name": "nope" }] }).to_string(),
            vec!["output nope", "label INT64 [-1], probabilities FP32 [-1, 10]"],
        ),
        (
            json!({ "inputs": [twice], "outputs": [{ "name": "label", "parameters": { "classification": 3 } }] })
                .to_string(),
            vec!["classification is not supported"],
        ),
    ] {
        let answer = server.post("/v2/models/digits/infer", &[], body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.headers["content-type"], "application/json");
        for part in parts {
            assert!(answer.error().contains(part), "{body}: {}", answer.error());
        }
    }
    for (length, part) in [("9999999", "the body has only"), ("x", "is not a number"), ("2", "missing field")] {
        let headers = [("Inference-Header-Content-Length", length)];
        let answer = server.post("/v2/models/digits/infer", &headers, "{}").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.error().contains(part), "{}", answer.error());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_score_request_has_several_forms() {
    let server = start(options(example("green/model.onnx"))).await;
    let digits: Vec<Digit> = read_json(&example("held-out.json"));
    let expected: Expected = read_json(&example("expected.json"));
    let rows = json!([digits[0].data, digits[1].data]);
    let names: Vec<String> = (0..64).map(|pixel| format!("pixel_{pixel}")).collect();
    for body in [
        json!({ "data": rows }),
        json!({ "input_data": rows }),
        json!({ "inputs": rows }),
        json!({ "inputs": { "input": rows } }),
        json!({ "input": rows }),
        json!({ "input_data": { "columns": names, "index": [0, 1], "data": rows } }),
        rows.clone(),
    ] {
        let answer = server.post("/score", &[], body.to_string()).await.ok().json();
        assert_eq!(answer["predictions"], json!(expected.green[..2]));
        assert_eq!(answer["outputs"]["label"], answer["predictions"]);
    }
    let one = server.post("/score", &[], json!({ "data": digits[0].data }).to_string()).await.ok().json();
    assert_eq!(one["predictions"], json!(expected.green[..1]), "one row may stand alone");
    for (body, part) in [
        ("", "not JSON"),
        ("{}", "none of data, input_data, inputs"),
        (r#"{"data": 3}"#, "not a list"),
        (r#"{"data": [["a"]]}"#, "expected a number"),
        (r#"{"data": [[1,2,3]]}"#, "expected FP32 [-1, 64]"),
        (r#"{"data": {"pixels": [[1]]}}"#, "pixels is not an input"),
        (r#"{"data": {"columns": ["a"], "data": [[1, 2]]}}"#, "2 cells for 1 columns"),
    ] {
        let answer = server.post("/score", &[], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.error().contains(part), "{body}: {}", answer.error());
    }
    server.stop().await;

    let server = start(options(fixture("columns.onnx"))).await;
    for body in [
        json!({ "data": { "area": [[40], [62.5]], "rooms": [[2], [3]] } }),
        json!({ "data": { "area": [40, 62.5], "rooms": [2, 3] } }),
        json!({ "input_data": { "columns": ["rooms", "area"], "data": [[2, 40], [3, 62.5]] } }),
    ] {
        let answer = server.post("/score", &[], body.to_string()).await.ok().json();
        assert_eq!(answer["predictions"], json!([80.0, 187.5]), "{body}");
    }
    for (body, part) in [
        (json!({ "data": [[1, 2]] }), "2 inputs: name them"),
        (json!({ "data": { "area": [[1]] } }), "input rooms is missing"),
        (json!({ "data": { "area": [[1]], "rooms": [[1], [2]] } }), "free dimension is 1 in another input"),
    ] {
        let answer = server.post("/score", &[], body.to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.error().contains(part), "{body}: {}", answer.error());
    }
    server.stop().await;
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bounded() {
    let server = start(OnnxOptions { max_body_bytes: 100_000, ..options(example("green/model.onnx")) }).await;
    let body = json!({ "data": [vec![0; 64]] }).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).expect("a vector takes bytes");
    let gzip = gzip.finish().expect("a vector takes bytes");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(body.as_bytes()).expect("a vector takes bytes");
    let zlib = zlib.finish().expect("a vector takes bytes");
    for (encoding, body) in [("gzip", gzip.clone()), ("deflate", zlib), ("identity", body.into_bytes())] {
        let answer = server.post("/score", &[("content-encoding", encoding)], body).await.ok();
        assert!(answer.json()["predictions"][0].is_i64(), "{encoding}");
    }
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 10_000_000]).expect("a vector takes bytes");
    let bomb = bomb.finish().expect("a vector takes bytes");
    assert!(bomb.len() < 100_000);
    for (encoding, body, status) in [
        ("gzip", bomb, StatusCode::PAYLOAD_TOO_LARGE),
        ("gzip", gzip[..gzip.len() / 2].to_vec(), StatusCode::BAD_REQUEST),
        ("deflate", b"plain".to_vec(), StatusCode::BAD_REQUEST),
        ("br", b"?".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("identity", vec![b' '; 100_001], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = server.post("/score", &[("content-encoding", encoding)], body).await;
        assert_eq!(answer.status, status, "{encoding}");
        assert!(!answer.error().is_empty());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_chunked_body_past_the_limit_is_refused() {
    let server = start(OnnxOptions { max_body_bytes: 1_000, ..options(example("green/model.onnx")) }).await;
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    stream
        .write_all(format!("POST /score HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n{chunk}").as_bytes())
        .await
        .expect("the server reads");
    let mut answer = [0; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    server.stop().await;
}

/// A caller in the middle of its body takes the only place; the next one is told so, and served once the first leaves.
#[tokio::test]
async fn waiting_requests_are_bounded_and_leave_with_their_caller() {
    let server = start(OnnxOptions { workers: 1, max_waiting: 0, ..options(example("green/model.onnx")) }).await;
    let mut slow = TcpStream::connect(server.address).await.expect("the server listens");
    slow.write_all(b"POST /score HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12").await.expect("the server reads");
    let body = json!({ "data": [vec![0; 64]] }).to_string();
    let until = async |status: StatusCode| {
        let wait = async {
            while server.post("/score", &[], body.clone()).await.status != status {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{status} within the deadline"));
    };
    until(StatusCode::SERVICE_UNAVAILABLE).await;
    server.get("/v2/health/ready").await.ok();
    drop(slow);
    until(StatusCode::OK).await;
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_an_open_request_finish() {
    let server = start(options(example("green/model.onnx"))).await;
    let body = json!({ "data": [vec![0; 64]] }).to_string();
    let (first, rest) = body.split_at(10);
    let mut open = TcpStream::connect(server.address).await.expect("the server listens");
    let head =
        format!("POST /score HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
    open.write_all(head.as_bytes()).await.expect("the server reads");
    // The interim answer shows that the request has begun.
    let mut go = [0; 25];
    tokio::time::timeout(DEADLINE, open.read_exact(&mut go)).await.expect("in time").expect("100 Continue");
    open.write_all(first.as_bytes()).await.expect("the server reads");
    let Server { address, stop, done } = server;
    stop.send(()).expect("the server still runs");
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("new connections are refused");
    open.write_all(rest.as_bytes()).await.expect("the open one is read");
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, open.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    tokio::time::timeout(DEADLINE, done).await.expect("the server ends").expect("without panic");
}

#[tokio::test]
async fn models_that_cannot_be_served_say_why() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("the directory is writable");
        path
    };
    let whole = std::fs::read(fixture("linear.onnx")).expect("a fixture");
    for (path, code, part) in [
        (fixture("refused_svm.onnx"), Code::ModelUnreadable, "ai.onnx.ml.SVMClassifier"),
        (write("empty.onnx", b""), Code::ModelUnreadable, "not an ONNX file"),
        (write("text.onnx", b"PK\x03\x04 certainly not"), Code::ModelUnreadable, "not an ONNX file"),
        (write("cut.onnx", &whole[..whole.len() / 2]), Code::ModelUnreadable, "not an ONNX file"),
        (dir.path().join("absent.onnx"), Code::PathMissing, "No such file"),
        (dir.path().to_path_buf(), Code::PathMissing, "several .onnx files"),
    ] {
        let error = refusal(path.clone()).await;
        assert_eq!(error.code, code, "{}: {error}", path.display());
        assert!(error.why.contains(part), "{}: {error}", path.display());
        assert!(error.what.contains(&path.display().to_string()), "{error}");
    }
    // Any single damaged byte either still loads or is refused; nothing else.
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        if let Err(error) = OnnxServer::bind(options(write("damaged.onnx", &damaged))).await {
            assert_eq!(error.code, Code::ModelUnreadable, "byte {at}: {error}");
        }
    }
}

#[tokio::test]
async fn a_folder_with_one_model_is_its_model() {
    let server = start(options(example("green"))).await;
    server.get("/v2/health/ready").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let listen = taken.local_addr().expect("an address");
    let Err(error) = OnnxServer::bind(OnnxOptions { listen, ..options(fixture("linear.onnx")) }).await else {
        panic!("two listeners on one port");
    };
    assert_eq!(error.code, Code::ReplicaStart);
    assert!(error.what.contains(&listen.to_string()));
}
