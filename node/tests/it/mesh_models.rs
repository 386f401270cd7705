//! Requests that name their endpoint as other systems' clients do, and what those clients ask about models.

use std::{io::Write as _, net::SocketAddr};

use berth_core::{
    id::{Digest, NodeId},
    model::{AuthMode, ReplicaState},
    traffic::table::{EndpointRoute, RouteRuntime},
};
use berth_node::mesh::Mesh;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use prometheus_client::registry::Registry;

use crate::mesh_support::{
    Deployed, Node, backend, body_of, call, counters, echo, endpoint, full, header, node, options, post, simple,
};

/// `fraud` for everyone, with two deployments, and `llm` for who has the key.
async fn cluster() -> (Node, SocketAddr) {
    let n1 = node(1);
    let (blue, green, llm) = (echo("blue").await, echo("green").await, echo("llm").await);
    let mut scored = Deployed::one("blue", &n1, 1, blue).publish("fraud");
    scored.scoring_path = "/predict".into();
    let fraud =
        endpoint("fraud", &[("blue", 100)], vec![scored, Deployed::one("green", &n1, 2, green).publish("fraud")]);
    let llm = EndpointRoute {
        auth_mode: AuthMode::Key,
        key_hashes: vec![Digest::of(b"secret").0],
        ..endpoint("llm", &[("one", 100)], vec![Deployed::one("one", &n1, 3, llm).publish("llm")])
    };
    n1.mesh.apply_table(full(1, vec![fraud, llm])).expect("a table");
    let ingress = n1.mesh.ingress_addr();
    (n1, ingress)
}

fn keyed(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().insert("authorization", "Bearer secret".parse().expect("a value"));
    request
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "any").body(Full::default()).expect("a request")
}

#[tokio::test]
async fn an_openai_body_names_its_endpoint_wherever_the_name_stands() {
    let (_n1, ingress) = cluster().await;
    let (messages, prompt) = ("x".repeat(40_000), r#"\"]},"#.repeat(200_000));
    for body in [
        r#"{"model":"llm","messages":[]}"#.to_owned(),
        // As OpenAI's own library writes it.
        format!(r#"{{"messages":[{{"role":"user","content":"{prompt}"}}],"model":"llm"}}"#),
        format!(r#"{{"messages":[{{"role":"user","content":"{messages}"}}],"model":"llm","stream":true}}"#),
    ] {
        let sent = Bytes::from(body);
        let request =
            Request::post("/v1/chat/completions").header("host", "any").header("content-type", "application/json");
        let (parts, got) = call(ingress, keyed(request.body(Full::new(sent.clone())).expect("a request"))).await;
        assert_eq!(parts.status, 200);
        assert_eq!(header(&parts, "x-berth-endpoint"), "llm");
        assert_eq!(got.strip_prefix(b"llm:"), Some(&sent[..]), "the replica gets every byte");
    }
    let (parts, _) = call(ingress, post("/v1/chat/completions", r#"{"model":"llm"}"#)).await;
    assert_eq!(parts.status, 401, "a name is no key");
    let (parts, _) = call(ingress, keyed(post("/v1/chat/completions", r#"{"model":"none"}"#))).await;
    assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-error")), (404, "E_ENDPOINT_NOT_FOUND"));
}

/// A node that keeps so much of one request, and of all.
fn keeping(replay_bytes: usize, replay_bytes_per_node: usize) -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(1, &dir);
    options.limits.replay_bytes = replay_bytes;
    options.limits.replay_bytes_per_node = replay_bytes_per_node;
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    Node { mesh, id: NodeId(1), dir }
}

#[tokio::test]
async fn a_model_behind_a_long_prompt_is_looked_for_within_bounds() {
    const KIB: usize = 1 << 10;
    for (key, bytes, one, all, status, code, why) in [
        ("secret", 900 * KIB, 900 * KIB + 100, 64 << 20, 200, "", "it is found"),
        ("secret", 900 * KIB, 900 * KIB, 64 << 20, 413, "E_TOO_LARGE", "further behind than one may be kept"),
        ("secret", 900 * KIB, 64 << 20, 100 * KIB, 413, "E_TOO_LARGE", "further behind than there is room"),
        ("secret", 1100 * KIB, 64 << 20, 64 << 20, 413, "E_TOO_LARGE", "more than any endpoint takes"),
        ("none", 100 * KIB, 64 << 20, 64 << 20, 401, "E_UNAUTHENTICATED", "nothing is kept for a stranger"),
        ("none", 40 * KIB, 64 << 20, 64 << 20, 401, "E_UNAUTHENTICATED", "nor said to one"),
    ] {
        let n1 = keeping(one, all);
        let route = EndpointRoute {
            auth_mode: AuthMode::Key,
            key_hashes: vec![Digest::of(b"secret").0],
            ..endpoint("llm", &[("one", 100)], vec![Deployed::one("one", &n1, 1, echo("llm").await).publish("llm")])
        };
        n1.mesh.apply_table(full(1, vec![route])).expect("a table");
        let body = format!(r#"{{"messages":"{}","model":"llm"}}"#, "x".repeat(bytes));
        let request = Request::post("/v1/chat/completions")
            .header("host", "any")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {key}"))
            .body(Full::new(Bytes::from(body.clone())))
            .expect("a request");
        let (parts, got) = call(n1.mesh.ingress_addr(), request).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-error")), (status, code), "{why}");
        if status == 200 {
            assert_eq!(got.strip_prefix(b"llm:"), Some(body.as_bytes()), "{why}");
        } else if why.starts_with("further") {
            assert!(String::from_utf8_lossy(&got).contains("/e/NAME/v1/..."), "it says what to do: {got:?}");
            let named = Request::post("/e/llm/v1/chat/completions")
                .header("host", "any")
                .header("authorization", "Bearer secret")
                .body(Full::new(Bytes::from(body.clone())))
                .expect("a request");
            let (parts, _) = call(n1.mesh.ingress_addr(), named).await;
            assert_eq!(parts.status, 200, "{why}: which helps");
        }
    }
}

#[tokio::test]
async fn models_are_listed_to_who_may_call_them() {
    let (_n1, ingress) = cluster().await;
    for (request, names) in
        [(get("/v1/models"), vec!["fraud"]), (keyed(get("/openai/v1/models")), vec!["fraud", "llm"])]
    {
        let (parts, body) = call(ingress, request).await;
        assert_eq!(parts.status, 200);
        let list: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(list["object"], "list");
        assert_eq!(list["models"], serde_json::json!(names));
        let ids: Vec<_> = list["data"].as_array().expect("a list").iter().map(|model| model["id"].as_str()).collect();
        assert_eq!(ids, names.into_iter().map(Some).collect::<Vec<_>>());
    }
    let (_, body) = call(ingress, get("/v1/models/fraud")).await;
    let model: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    // OpenAI's shape and KServe's in one; a time is in whole seconds there.
    let whole = serde_json::json!({
        "id": "fraud", "object": "model", "created": 1_790_000_000, "owned_by": "berth", "name": "fraud", "ready": true,
    });
    assert_eq!(model, whole);
    let (parts, _) = call(ingress, get("/v1/models/llm")).await;
    assert_eq!(parts.status, 404, "who has no key does not learn that it is there");
    let (parts, body) = call(ingress, get("/e/fraud/v1/models")).await;
    assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"blue:"[..]), "an endpoint's own list is its server's");
}

/// What Triton's clients say of a model in its repository, or of how it is traced, is for the model's server.
#[tokio::test]
async fn calls_about_one_model_reach_its_server() {
    let (_n1, ingress) = cluster().await;
    for path in [
        "/v2/repository/models/fraud/load",
        "/v2/repository/models/fraud/unload",
        "/v2/repository/any/models/fraud/load",
        "/v2/models/fraud/trace/setting",
    ] {
        let (parts, _) = call(ingress, post(path, "{}")).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "seen-uri")), (200, path));
        assert_eq!(header(&parts, "x-berth-endpoint"), "fraud");
    }
    let (parts, body) = call(ingress, post("/v2/repository/models/none/load", "{}")).await;
    assert_eq!((parts.status.as_u16(), header(&parts, "x-berth-error")), (404, "E_ENDPOINT_NOT_FOUND"));
    assert!(body.starts_with(br#"{"error":"#), "as Triton's clients read it");
    let (parts, _) = call(ingress, post("/v2/repository/models/llm/load", "{}")).await;
    assert_eq!(parts.status, 401);
    for path in ["/v2/trace/setting", "/v2/logging", "/v2/systemsharedmemory/status"] {
        let (parts, _) = call(ingress, get(path)).await;
        assert_eq!(parts.status, 501, "{path} is a server's, and none is named");
        let (parts, _) = call(ingress, get(&format!("/e/fraud{path}"))).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "seen-uri")), (200, path));
    }
}

#[tokio::test]
async fn an_index_of_what_is_ready_has_nothing_else() {
    let n1 = node(1);
    let (blue, green) = (echo("blue").await, echo("green").await);
    let warm = Deployed { state: ReplicaState::Warm, ..Deployed::one("green", &n1, 2, green) };
    let deployments = vec![Deployed::one("blue", &n1, 1, blue).publish("fraud"), warm.publish("fraud")];
    n1.mesh.apply_table(full(1, vec![endpoint("fraud", &[("blue", 100)], deployments)])).expect("a table");
    let ingress = n1.mesh.ingress_addr();
    for (body, versions) in [
        ("", vec!["blue", "green"]),
        ("{}", vec!["blue", "green"]),
        (r#"{"ready":false}"#, vec!["blue", "green"]),
        (r#"{"ready":true}"#, vec!["blue"]),
    ] {
        for path in ["/v2/repository/index", "/v2/repository/any/index"] {
            let (parts, got) = call(ingress, post(path, body)).await;
            assert_eq!(parts.status, 200, "{body}");
            let index: serde_json::Value = serde_json::from_slice(&got).expect("JSON");
            let rows = index.as_array().expect("a list").iter();
            assert_eq!(rows.map(|row| row["version"].as_str().expect("text")).collect::<Vec<_>>(), versions, "{body}");
        }
    }
    for body in ["{", "[]", r#"{"ready":1}"#] {
        let (parts, _) = call(ingress, post("/v2/repository/index", body)).await;
        assert_eq!(parts.status, 400, "{body}");
    }
    for (message, versions) in [(&b""[..], 2), (b"\x10\x01", 1), (b"\x0a\x01r\x10\x01", 1), (b"\x10\x00", 2)] {
        let framed = [&[0, 0, 0, 0, message.len() as u8], message].concat();
        let request = Request::post("/inference.GRPCInferenceService/RepositoryIndex")
            .header("host", "any")
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from(framed)))
            .expect("a request");
        let (_, got) = call(ingress, request).await;
        let rows = got.windows(5).filter(|window| window == b"fraud").count();
        assert_eq!(rows, versions, "{message:?}");
    }
}

/// gRPC: "If a client message is compressed by an algorithm that is not supported by a server, the message will result in an
/// UNIMPLEMENTED error status", with the algorithms that are.
#[tokio::test]
async fn an_index_is_asked_for_in_packed_messages_as_well() {
    let (_n1, ingress) = cluster().await;
    let asked = b"\x0a\x01r\x10\x01";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(asked).expect("packed");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(asked).expect("packed");
    let (gzip, zlib) = (gzip.finish().expect("packed"), zlib.finish().expect("packed"));
    for (flag, encoding, message, grpc_status, why) in [
        (1, "gzip", &gzip[..], "", "packed"),
        (1, "deflate", &zlib, "", "packed otherwise"),
        (0, "gzip", asked, "", "it may be left as it is"),
        (1, "zstd", asked, "12", "not known here"),
        (1, "gzip", asked, "3", "not what it says"),
        (1, "", &gzip, "3", "it does not say how"),
    ] {
        let framed = [&[flag, 0, 0, 0, message.len() as u8], message].concat();
        let mut request = Request::post("/inference.GRPCInferenceService/RepositoryIndex")
            .header("host", "any")
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from(framed)))
            .expect("a request");
        if !encoding.is_empty() {
            request.headers_mut().insert("grpc-encoding", encoding.parse().expect("a value"));
        }
        let (parts, got) = call(ingress, request).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "grpc-status")), (200, grpc_status), "{encoding}: {why}");
        let accepted = if grpc_status == "12" { "identity,deflate,gzip" } else { "" };
        assert_eq!(header(&parts, "grpc-accept-encoding"), accepted, "{encoding}: {why}");
        assert_eq!(got.windows(5).any(|window| window == b"fraud"), grpc_status.is_empty(), "{encoding}: {why}");
    }
}

/// As with `compression_algorithm="gzip"` of Triton's clients.
#[tokio::test]
async fn a_packed_message_names_its_model() {
    let (_n1, ingress) = cluster().await;
    let message = [b"\x0a\x05fraud\x12\x05green\x3a\xa0\x9c\x01", &[7; 20_000][..]].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&message).expect("packed");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    zlib.write_all(&message).expect("packed");
    for (encoding, message, model) in [
        ("gzip", gzip.finish().expect("packed"), "fraud"),
        ("deflate", zlib.finish().expect("packed"), "fraud"),
        ("gzip", message, ""),
    ] {
        let sent = Bytes::from([&[1], &(message.len() as u32).to_be_bytes()[..], &message].concat());
        let request = Request::post("/inference.GRPCInferenceService/ModelInfer")
            .header("host", "any")
            .header("content-type", "application/grpc")
            .header("grpc-encoding", encoding)
            .body(Full::new(sent.clone()))
            .expect("a request");
        let (parts, got) = call(ingress, request).await;
        assert_eq!(header(&parts, "x-berth-endpoint"), model, "{encoding}");
        if model.is_empty() {
            assert_eq!(header(&parts, "grpc-status"), "5", "what it says is not to be had");
        } else {
            assert_eq!(header(&parts, "azureml-model-deployment"), "green", "{encoding}: a version is a pin");
            assert_eq!(got.strip_prefix(b"green:"), Some(&sent[..]), "{encoding}: as it came");
        }
    }
}

/// A server that knows no such question is ready when it serves, and one that does answers itself.
#[tokio::test]
async fn whether_a_model_is_ready_is_said_by_who_knows() {
    for (runtime, status, said, ready, answered, why) in [
        (RouteRuntime::Command, 404, "<html>", "", 200, "OpenAI's or another, which has no such path"),
        (RouteRuntime::Command, 404, r#"{"error":{"message":"no route"}}"#, "", 200, "OpenAI's, in its own words"),
        (RouteRuntime::Command, 405, "", "", 200, "a path that is for POST only"),
        (
            RouteRuntime::Command,
            404,
            r#"{"error":"no model fraud"}"#,
            "no model fraud",
            404,
            "it knows, and has it not",
        ),
        (RouteRuntime::Command, 503, "", "", 503, "it is not ready"),
        (RouteRuntime::Command, 200, "yes", "yes", 200, "it is"),
        (RouteRuntime::Python, 500, "asked", "", 200, "a scoring script is not asked"),
    ] {
        let n1 = node(1);
        let address = backend(move |_| async move {
            let mut response = Response::new(body_of(said));
            *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            response
        })
        .await;
        simple(&n1, &Deployed { runtime, ..Deployed::one("blue", &n1, 1, address) });
        for path in ["/v2/models/fraud/ready", "/e/fraud/v2/models/any/ready", "/v2/models/fraud/versions/blue/ready"] {
            let (parts, body) = call(n1.mesh.ingress_addr(), get(path)).await;
            assert_eq!(parts.status, answered, "{path}: {why}");
            assert_eq!(header(&parts, "azureml-model-deployment"), "blue", "{why}");
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains(ready), "{why}: {text}");
            assert_eq!(text.contains(r#""ready":true"#), answered == 200 && ready.is_empty(), "{why}: {text}");
        }
        assert_eq!(counters(&n1, "blue").answers, [(answered, 3)].into(), "what callers saw: {why}");
    }
}

/// The same over gRPC: what is counted is what the caller was told, not that its server does not know the question.
#[tokio::test]
async fn whether_a_model_is_ready_is_said_over_grpc_by_who_knows() {
    for (status, grpc_status, ready, why) in [
        (404, "", true, "a server of HTTP"),
        (501, "", true, "another one"),
        (200, "12", true, "another service"),
        (200, "5", false, "it has no such model"),
    ] {
        let n1 = node(1);
        let address = backend(move |_| async move {
            let mut response = Response::new(body_of(""));
            *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            if !grpc_status.is_empty() {
                response.headers_mut().insert("grpc-status", grpc_status.parse().expect("a value"));
            }
            response
        })
        .await;
        simple(&n1, &Deployed::one("blue", &n1, 1, address));
        let request = Request::post("/e/fraud/inference.GRPCInferenceService/ModelReady")
            .header("host", "any")
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .expect("a request");
        let (parts, body) = call(n1.mesh.ingress_addr(), request).await;
        let said = if ready { &[0, 0, 0, 0, 2, 8, 1][..] } else { &[] };
        assert_eq!((parts.status.as_u16(), &*body), (200, said), "{why}");
        let counted = if ready { 200 } else { 404 };
        assert_eq!(counters(&n1, "blue").answers, [(counted, 1)].into(), "{why}");
    }
}

#[tokio::test]
async fn azures_clients_of_openai_call_a_model_a_deployment() {
    let (_n1, ingress) = cluster().await;
    let keyed = |path: &str| {
        let request = Request::post(path).header("host", "any").header("content-type", "application/json");
        request.header("api-key", "secret").body(Full::new(Bytes::from_static(b"{}"))).expect("a request")
    };
    for (path, seen) in [
        (
            "/openai/deployments/llm/chat/completions?api-version=2024-10-21",
            "/v1/chat/completions?api-version=2024-10-21",
        ),
        ("/openai/deployments/llm/embeddings", "/v1/embeddings"),
        ("/e/llm/openai/deployments/x/embeddings?a=b", "/openai/deployments/x/embeddings?a=b"),
    ] {
        let (parts, body) = call(ingress, keyed(path)).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "seen-uri")), (200, seen));
        assert_eq!(&body[..], b"llm:{}");
        assert_eq!(header(&parts, "seen-api-key"), "", "the replica does not see the key");
    }
    let (parts, _) = call(ingress, post("/openai/deployments/llm/completions", "{}")).await;
    assert_eq!(parts.status, 401, "a name is no key");
    let (parts, body) = call(ingress, keyed("/openai/deployments/none/completions")).await;
    assert_eq!(parts.status, 404);
    let error: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(error["error"]["code"], "E_ENDPOINT_NOT_FOUND", "as OpenAI's clients read it");
}

#[tokio::test]
async fn other_meshes_clients_find_their_endpoint() {
    let (_n1, ingress) = cluster().await;
    for (path, name, value, seen, deployment) in [
        ("/v1/models/fraud:predict", "", "", "/v1/models/fraud:predict", "blue"),
        ("/endpoints/fraud/invocations", "", "", "/predict", "blue"),
        ("/endpoints/fraud/invocations-response-stream", "", "", "/predict", "blue"),
        ("/endpoints/fraud/invocations", "x-amzn-sagemaker-target-variant", "green", "/score", "green"),
        ("/any", "seldon-model", "fraud", "/any", "blue"),
        ("/any", "mm-vmodel-id", "fraud", "/any", "blue"),
    ] {
        let mut request = post(path, "x");
        if !name.is_empty() {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let (parts, _) = call(ingress, request).await;
        assert_eq!(parts.status, 200, "{path}");
        assert_eq!(
            (header(&parts, "seen-uri"), header(&parts, "azureml-model-deployment")),
            (seen, deployment),
            "{path}"
        );
    }
}

/// What the mesh does not understand it passes on: compressed bodies and binary metadata, both ways, over two hops.
#[tokio::test]
async fn compressed_bodies_and_binary_metadata_pass_untouched() {
    let (n1, n2) = (node(1), node(2));
    let address = backend(|request| async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let mut response = Response::new(body_of(body));
        for name in ["content-encoding", "trace-bin", "content-type"] {
            response
                .headers_mut()
                .extend(parts.headers.get(name).map(|value| (http::HeaderName::from_static(name), value.clone())));
        }
        response
    })
    .await;
    let route = endpoint("fraud", &[("blue", 100)], vec![Deployed::one("blue", &n2, 1, address).publish("fraud")]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zip.write_all(&[7; 10_000]).expect("in memory");
    let sent = Bytes::from(zip.finish().expect("in memory"));
    for content_type in ["application/json", "application/grpc"] {
        let request = Request::post("/e/fraud/echo.Echo/Say")
            .header("host", "any")
            .header("content-type", content_type)
            .header("content-encoding", "gzip")
            .header("trace-bin", "AAECAw==")
            .body(Full::new(sent.clone()))
            .expect("a request");
        let (parts, got) = call(n1.mesh.ingress_addr(), request).await;
        assert_eq!((parts.status.as_u16(), header(&parts, "content-encoding")), (200, "gzip"), "{content_type}");
        assert_eq!(header(&parts, "trace-bin"), "AAECAw==");
        assert_eq!(got, sent);
    }
}

/// The `user` of an OpenAI body keeps a caller's requests together as the header does, wherever it stands in the body.
#[tokio::test]
async fn an_openai_user_stays_with_a_deployment_unless_a_header_says_otherwise() {
    let n1 = node(1);
    let (blue, green) = (echo("blue").await, echo("green").await);
    let deployments = || {
        let blue = Deployed::one("blue", &n1, 1, blue).publish("llm");
        vec![blue, Deployed::one("green", &n1, 2, green).publish("llm")]
    };
    n1.mesh
        .apply_table(full(1, vec![endpoint("llm", &[("blue", 50), ("green", 50)], deployments())]))
        .expect("a table");
    let ask = async |path: &str, body: String, key: Option<&str>| {
        let request = Request::post(path).header("host", "any").header("content-type", "application/json");
        let request = key.into_iter().fold(request, |request, key| request.header("x-berth-key", key));
        let sent = Bytes::from(body);
        let (parts, got) =
            call(n1.mesh.ingress_addr(), request.body(Full::new(sent.clone())).expect("a request")).await;
        let deployment = header(&parts, "azureml-model-deployment").to_owned();
        assert_eq!(parts.status, 200, "{path}");
        assert_eq!(got.strip_prefix(format!("{deployment}:").as_bytes()), Some(&sent[..]), "every byte");
        deployment
    };
    let messages = "x".repeat(20_000);
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..16 {
        let user = format!("user-{at}");
        let first = ask("/e/llm/v1/chat/completions", "{}".to_owned(), Some(&user)).await;
        for (path, body) in [
            ("/e/llm/v1/chat/completions", format!(r#"{{"messages":"{messages}","model":"any","user":"{user}"}}"#)),
            ("/v1/chat/completions", format!(r#"{{"model":"llm","user":"{user}","messages":"{messages}"}}"#)),
        ] {
            assert_eq!(ask(path, body.clone(), None).await, first, "{user} by {path}");
            assert_eq!(ask(path, body, Some("user-0")).await, ask("/e/llm/any", String::new(), Some("user-0")).await);
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "not all of sixteen go to one");
    // Who says nothing is drawn, one by one.
    let mut drawn = Vec::new();
    for body in ["{}", r#"{"user":""}"#, r#"{"user":7}"#, "no json"] {
        drawn.push(ask("/e/llm/v1/chat/completions", body.to_owned(), None).await);
    }
    assert_eq!(drawn.iter().filter(|name| *name == "blue").count(), 2, "{drawn:?}");
}
