//! Requests that name their endpoint as other systems' clients do, and what those clients ask about models.

use std::{io::Write as _, net::SocketAddr};

use berth_core::{id::Digest, model::AuthMode, traffic::table::EndpointRoute};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};

use crate::mesh_support::{Deployed, Node, backend, body_of, call, echo, endpoint, full, header, node, post};

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
    let messages = "x".repeat(40_000);
    for body in [
        r#"{"model":"llm","messages":[]}"#.to_owned(),
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
    assert_eq!((&model["name"], &model["object"], &model["ready"]), (&"fraud".into(), &"model".into(), &true.into()));
    let (parts, _) = call(ingress, get("/v1/models/llm")).await;
    assert_eq!(parts.status, 404, "who has no key does not learn that it is there");
    let (parts, body) = call(ingress, get("/e/fraud/v1/models")).await;
    assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"blue:"[..]), "an endpoint's own list is its server's");
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
