//! The API over HTTP and JSON: every route of the document against a live coordinator, and the pages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::api_fleet::{Fleet, PATIENCE};

/// An answer over HTTP/1.1.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request as any client would, without a library of ours.
async fn send(fleet: &Fleet, verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let address = fleet.members[0].address;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let mut head = format!("{verb} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: {address}\r\n"));
    }
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
    // A refusal may come, and the connection end, before all of the body was read.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("in time").expect("an answer");
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let rest = bytes[end + 4..].to_vec();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer { status, head, body: if chunked { dechunked(&rest) } else { rest } }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|part| part == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let length = length.expect("a length");
        whole.extend_from_slice(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 2 + length + 2..];
    }
    whole
}

async fn get(fleet: &Fleet, path: &str) -> Answer {
    send(fleet, "GET", path, &[], b"").await
}

async fn post(fleet: &Fleet, path: &str, body: &Value) -> Answer {
    send(fleet, "POST", path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
}

async fn document(fleet: &Fleet) -> Value {
    let answer = get(fleet, "/openapi.json").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns what a value breaks of a schema: types, unknown properties, enums.
fn breaks(value: &Value, schema: &Value, document: &Value) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#'));
        return match found {
            Some(found) => breaks(value, found, document),
            None => Some(format!("{reference} is not in the document")),
        };
    }
    if let Some(words) = schema["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("{value} is not in {words:?}"));
    }
    match schema["type"].as_str() {
        Some("object") => value.as_object().map_or(Some(format!("{value} is no object")), |fields| {
            fields.iter().find_map(|(name, field)| {
                let of_field = match schema["properties"].get(name) {
                    Some(of_field) => of_field,
                    None if schema["additionalProperties"].is_object() => &schema["additionalProperties"],
                    None => return Some(format!("{name} is not described")),
                };
                breaks(field, of_field, document).map(|why| format!("{name}: {why}"))
            })
        }),
        Some("array") => value.as_array().map_or(Some(format!("{value} is no array")), |items| {
            items.iter().find_map(|item| breaks(item, &schema["items"], document))
        }),
        Some("string") => (!value.is_string()).then(|| format!("{value} is no text")),
        Some("boolean") => (!value.is_boolean()).then(|| format!("{value} is no bool")),
        Some("integer") => {
            (value.as_i64().is_none() && value.as_u64().is_none()).then(|| format!("{value} is no integer"))
        }
        Some("number") => (!value.is_number()).then(|| format!("{value} is no number")),
        _ => None,
    }
}

/// Every reference of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Whatever can be sent or is answered, in the words of the protos.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_in_the_document_is_described() {
    let fleet = Fleet::start(1).await;
    let document = document(&fleet).await;
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let said = |of: &Value| of["description"].as_str().is_some_and(|text| text.len() > 3);
    let mut silent = Vec::new();
    let mut seen = 0;
    for (name, schema) in schemas {
        if !said(schema) {
            silent.push(name.clone());
        }
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            seen += 1;
            if !said(property) {
                silent.push(format!("{name}.{field}"));
            }
        }
    }
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for parameter in verbs["get"]["parameters"].as_array().into_iter().flatten() {
            seen += 1;
            if !said(parameter) {
                silent.push(format!("{path}?{}", parameter["name"]));
            }
        }
    }
    assert!(silent.is_empty() && seen > 500, "{} of {seen} say nothing: {silent:#?}", silent.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_the_document_answers_as_it_says() {
    let fleet = Fleet::start(1).await;
    fleet.put_endpoint(0, "fraud").await.expect("created");
    fleet.put_deployment(0, "fraud", "blue", 1).await.expect("created");
    let document = document(&fleet).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    let dangling: Vec<_> = found.iter().filter(|at| document.pointer(at.trim_start_matches('#')).is_none()).collect();
    assert!(dangling.is_empty(), "{dangling:?}");
    let said = &document["paths"]["/api/v1/endpoints/delete"]["post"]["description"];
    assert_eq!(said, "Deletes the endpoint with all its deployments.", "comments of the protos describe the routes");
    let (mut statuses, mut operations) = (BTreeMap::new(), BTreeSet::new());
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        let verbs = verbs.as_object().expect("verbs");
        assert_eq!(verbs.len(), 1, "{path}");
        for (verb, operation) in verbs {
            let (summary, description) = (operation["summary"].as_str(), operation["description"].as_str());
            let (summary, description) = (summary.unwrap_or_default(), description.unwrap_or_default());
            let is_short = (10..=120).contains(&summary.len()) && !summary.ends_with('.');
            assert!(is_short && description.starts_with(summary), "{path}: {summary:?} of {description:?}");
            let id = operation["operationId"].as_str().expect("an id");
            assert!(operations.insert(id.to_owned()), "{id} is there twice");
            let media = operation["requestBody"]["content"].as_object().and_then(|content| content.keys().next());
            let headers: Vec<_> = media.iter().map(|media| ("content-type", media.as_str())).collect();
            // What the query may hold, with values that exist; a watch ends at what there is now.
            let pairs: Vec<_> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|it| match (it["name"].as_str()?, path.as_str()) {
                    ("name", "/api/v1/endpoints/get") | ("endpoint", _) => {
                        Some(format!("{}=fraud", it["name"].as_str()?))
                    }
                    ("name", _) => Some("name=blue".to_owned()),
                    ("once", _) => Some("once=true".to_owned()),
                    _ => None,
                })
                .collect();
            let target = if pairs.is_empty() { path.clone() } else { format!("{path}?{}", pairs.join("&")) };
            let body: &[u8] = if media.is_some_and(|media| media == "application/json") { b"{}" } else { b"" };
            let answer = send(&fleet, &verb.to_ascii_uppercase(), &target, &headers, body).await;
            let described = &operation["responses"];
            let (media, content) = described[if answer.status == 200 { "200" } else { "default" }]["content"]
                .as_object()
                .and_then(|content| content.iter().next())
                .expect("a description");
            assert!(
                answer.head.to_ascii_lowercase().contains(&format!("content-type: {media}")),
                "{path}: {}",
                answer.head
            );
            let text = answer.text();
            let lines: Vec<_> = if media.ends_with("ndjson") { text.lines().collect() } else { vec![text.as_str()] };
            for line in lines {
                let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}: {error}: {line}"));
                assert_eq!(breaks(&value, &content["schema"], &document), None, "{path}: {line}");
                if answer.status != 200 {
                    let code = value["code"].as_str().unwrap_or_default();
                    assert!(
                        code.starts_with("E_") && code != "E_INTERNAL" && code != "E_ROUTE_NOT_FOUND",
                        "{path}: {line}"
                    );
                }
            }
            *statuses.entry(answer.status).or_insert(0) += 1;
        }
    }
    assert!(statuses.get(&200).is_some_and(|count| *count >= 12), "most reads find something: {statuses:?}");
    assert!(statuses.keys().all(|status| *status < 500 || *status == 503), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_is_described() {
    let fleet = Fleet::start(1).await;
    fleet.put_endpoint(0, "fraud").await.expect("created");
    fleet.put_deployment(0, "fraud", "blue", 1).await.expect("created");
    let answer = get(&fleet, "/endpoints/fraud/swagger.json").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json();
    let found = get(&fleet, "/api/v1/endpoints/get?name=fraud").await.json();
    assert_eq!((&document["info"]["title"], &document["openapi"]), (&json!("fraud"), &json!("3.1.0")));
    assert_eq!(document["info"]["version"], found["revision"].to_string());
    assert_eq!(document["components"]["parameters"]["deployment"]["schema"]["enum"], json!(["blue"]));
    let mut at = BTreeSet::new();
    references(&document, &mut at);
    assert!(at.iter().all(|at| document.pointer(at.trim_start_matches('#')).is_some()), "{at:?}");
    for path in ["/endpoints/nobody/swagger.json", "/endpoints/a%26b/swagger.json"] {
        let refused = get(&fleet, path).await;
        assert_eq!((refused.status, &refused.json()["code"]), (404, &json!("E_ENDPOINT_NOT_FOUND")), "{path}");
    }
    let foreign = send(&fleet, "GET", "/endpoints/fraud/swagger.json", &[("host", "evil.example")], b"").await;
    assert_eq!(foreign.status, 403, "{}", foreign.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_over_http_is_the_life_over_grpc() {
    let fleet = Fleet::start(1).await;
    let put = json!({ "name": "fraud", "spec": { "auth_mode": "AUTH_MODE_KEY", "max_body_bytes": 1_048_576 } });
    let made = post(&fleet, "/api/v1/endpoints/put", &put).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["name"], &made["provisioning_state"]), (&json!("fraud"), &json!("Succeeded")));
    assert!(made["revision"].is_u64(), "numbers are numbers: {made}");
    fleet.put_deployment(0, "fraud", "blue", 1).await.expect("created");

    let split = json!({ "endpoint": "fraud", "split": { "percent": { "blue": 100 } }, "request_id": "once" });
    let first = post(&fleet, "/api/v1/endpoints/set-traffic", &split).await.json();
    assert_eq!(first["traffic"], json!({ "blue": 100 }));
    let again = post(&fleet, "/api/v1/endpoints/set-traffic", &split).await.json();
    assert_eq!(again["revision"], first["revision"], "the same request id is applied once");
    let got = get(&fleet, "/api/v1/endpoints/get?name=fraud").await.json();
    assert_eq!(got, first);

    let scale = json!({ "endpoint": "fraud", "name": "blue", "instance_count": 3 }).to_string();
    let key = [("content-type", "application/json; charset=utf-8"), ("idempotency-key", "three")];
    let scaled = send(&fleet, "POST", "/api/v1/deployments/scale", &key, scale.as_bytes()).await.json();
    let twice = send(&fleet, "POST", "/api/v1/deployments/scale", &key, scale.as_bytes()).await.json();
    assert_eq!((&scaled["desired"], &scaled["revision"]), (&json!(3), &twice["revision"]));

    let asset = b"a model";
    let digest = berth_core::id::Digest::of(asset).to_string();
    let path = format!("/api/v1/assets/upload?digest={digest}&size_bytes={}", asset.len());
    let bytes = [("content-type", "application/octet-stream")];
    let uploaded = send(&fleet, "POST", &path, &bytes, asset).await;
    assert_eq!((uploaded.status, uploaded.json()["digest"].as_str()), (200, Some(digest.as_str())));
    let missing = post(&fleet, "/api/v1/assets/missing", &json!({ "digests": [digest, "ab".repeat(32)] })).await;
    assert_eq!(missing.json()["digests"], json!(["ab".repeat(32)]));
    let path = format!("/api/v1/assets/upload?digest={}&size_bytes=7", "ab".repeat(32));
    let damaged = send(&fleet, "POST", &path, &bytes, b"another").await;
    assert!(damaged.status >= 400 && damaged.json()["code"].is_string(), "{}", damaged.text());

    let events = get(&fleet, "/api/v1/watch/events?once=true").await.text();
    let seqs: Vec<_> = events
        .lines()
        .flat_map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["events"].as_array().cloned().unwrap_or_default()
        })
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    assert!(seqs.len() >= 3 && seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_over_http_says_what_why_and_what_to_try() {
    let fleet = Fleet::start(1).await;
    fleet.put_endpoint(0, "fraud").await.expect("created");
    let json_ = ("content-type", "application/json");
    for (verb, path, headers, body, status, code, says) in [
        ("GET", "/api/v1/endpoints/get?name=nobody", vec![], "", 404, "E_ENDPOINT_NOT_FOUND", "nobody"),
        ("GET", "/api/v1/endpoints/gett", vec![], "", 404, "E_ROUTE_NOT_FOUND", "/api/v1/endpoints/get"),
        ("GET", "/api/v1/endpoints/get?nam=x", vec![], "", 400, "E_INVALID", "`name`"),
        ("GET", "/api/v1/watch/events?once=maybe", vec![], "", 400, "E_INVALID", "maybe"),
        ("POST", "/api/v1/endpoints/get", vec![json_], "{}", 405, "E_INVALID", "GET /api/v1/endpoints/get"),
        ("GET", "/api/v1/endpoints/put", vec![], "", 405, "E_INVALID", "POST"),
        ("POST", "/api/v1/endpoints/put", vec![], "{}", 400, "E_INVALID", "application/json"),
        ("POST", "/api/v1/endpoints/put", vec![("content-type", "text/plain")], "{}", 400, "E_INVALID", "text/plain"),
        ("POST", "/api/v1/endpoints/put", vec![json_], "{", 400, "E_INVALID", "no JSON"),
        ("POST", "/api/v1/endpoints/put", vec![json_], r#"{"nam":"x"}"#, 400, "E_INVALID", "nam"),
        ("POST", "/api/v1/endpoints/put", vec![json_], r#"{"name":7}"#, 400, "E_INVALID", "PutEndpointRequest"),
        ("POST", "/api/v1/endpoints/put", vec![json_], r#"{"name":"?"}"#, 400, "E_INVALID", "spec"),
        (
            "POST",
            "/api/v1/endpoints/put",
            vec![json_],
            r#"{"name":"fraud","mode":"PUT_MODE_CREATE","spec":{"auth_mode":"AUTH_MODE_KEY","max_body_bytes":1048576}}"#,
            409,
            "E_ALREADY_EXISTS",
            "fraud",
        ),
        ("GET", "/api/v1/endpoints/list", vec![("origin", "http://evil.example")], "", 403, "E_FORBIDDEN", "evil"),
        ("GET", "/openapi.json", vec![("host", "evil.example")], "", 403, "E_FORBIDDEN", "evil"),
    ] {
        let answer = send(&fleet, verb, path, &headers, body.as_bytes()).await;
        let said = answer.json();
        assert_eq!((answer.status, said["code"].as_str()), (status, Some(code)), "{verb} {path} {body}: {said}");
        assert!(said.to_string().contains(says), "{verb} {path} {body}: {said}");
        assert!(["what", "why", "try", "problems"].iter().all(|field| said.get(field).is_some()), "{said}");
    }
    let large = vec![b' '; (8 << 20) + 1];
    let refused = send(&fleet, "POST", "/api/v1/endpoints/put", &[json_], &large).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (413, Some("E_TOO_LARGE")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_bring_everything_with_them() {
    let fleet = Fleet::start(1).await;
    let document = document(&fleet).await;
    let mut asked = BTreeSet::new();
    for page in ["/", "/docs"] {
        let answer = get(&fleet, page).await;
        let (text, head) = (answer.text(), answer.head.to_ascii_lowercase());
        assert_eq!(answer.status, 200);
        assert!(text.starts_with("<!doctype html>") && text.contains("<title>Berth"), "{page}");
        for wanted in ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff"] {
            assert!(head.contains(wanted), "{page}: {head}");
        }
        assert!(!text.contains("://"), "{page} names no other host");
        assert!(!text.contains("<script>") && !text.contains("style="), "{page} is allowed no inline code");
        let linked = text.split(['"', '\'']).filter(|part| part.starts_with("/page/"));
        for path in linked.map(str::to_owned).collect::<Vec<_>>() {
            let file = get(&fleet, &path).await;
            assert_eq!(file.status, 200, "{path}");
            let text = file.text().replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("://") && !text.contains("innerHTML"), "{path}");
            // What the scripts read is in the document.
            for before in ["read(\"", "/api/v1/", "() => \"", "null ? \""] {
                for part in text.split(before).skip(1) {
                    let path: String =
                        part.chars().take_while(|c| c.is_ascii_lowercase() || "-/".contains(*c)).collect();
                    asked.extend((path.contains('/')).then_some(path));
                }
            }
            // Every element a script looks for is on its page.
            for id in text.split("el(\"").skip(1).filter_map(|part| part.split('"').next()) {
                let page = answer.text();
                assert!(page.contains(&format!("id=\"{id}\"")), "{page} has no #{id}");
            }
        }
    }
    assert!(["alerts/list", "boards/follow", "watch/events"].iter().all(|path| asked.contains(*path)), "{asked:?}");
    for path in asked {
        assert!(document["paths"].get(format!("/api/v1/{path}")).is_some(), "{path} is no route");
    }
}
