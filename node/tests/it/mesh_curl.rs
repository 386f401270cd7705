//! What people try first: the curl of the system, over each transport, on the paths that its users know.

use std::{net::SocketAddr, path::Path, process::Stdio, sync::Arc};

use berth_node::mesh::MeshHandle;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    sync::{Semaphore, mpsc},
};

use crate::{
    mesh_stream::stream_of,
    mesh_support::{Body, Deployed, Node, backend, body_of, endpoint, full, node, within},
    mesh_tls::{made, secured, write},
};

/// More than curl sends without asking whether it may.
const LARGE: usize = 4 << 20;

const EVENTS: usize = 3;

/// Returns whether there is a curl that speaks HTTP/2; who says that there has to be one wants this to run.
async fn is_there() -> bool {
    let version = Command::new("curl").arg("--version").output().await;
    let is_there = version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("HTTP2"));
    let required = std::env::var("BERTH_TEST_REQUIRE").unwrap_or_default();
    assert!(is_there || !required.split_whitespace().any(|tool| tool == "curl"), "curl is required and cannot be run");
    is_there
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Says what it was asked, packed for who understands that; where events are asked for, one for each permit.
async fn model(events: &Arc<Semaphore>) -> SocketAddr {
    let events = events.clone();
    backend(move |request| answer(request, events.clone())).await
}

async fn answer(request: Request<Incoming>, events: Arc<Semaphore>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let has = |name: &str, value: &[u8]| parts.headers.get(name).is_some_and(|is| is.as_bytes() == value);
    if parts.uri.path() == "/v1/chat/completions" {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for at in 0..EVENTS {
                events.acquire().await.expect("open").forget();
                let _ = sender.send(Frame::data(Bytes::from(format!("data: {at}\n\n")))).await;
            }
        });
        let mut response = Response::new(stream_of(receiver));
        response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
        return response;
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    let is_packed = if has("content-encoding", b"gzip") { " packed" } else { "" };
    let said = format!("{} {} {} {sum}{is_packed}\n", parts.method, parts.uri.path(), body.len());
    let understands = parts.headers.get("accept-encoding").and_then(|value| value.to_str().ok());
    let understands = understands.is_some_and(|codings| codings.contains("gzip"));
    let mut response = Response::new(body_of(if understands { packed(said.as_bytes()) } else { said.into() }));
    if understands {
        response.headers_mut().insert("content-encoding", "gzip".parse().expect("a value"));
    }
    response
}

fn serve(node: &Node, address: SocketAddr) {
    let deployed = Deployed::one("blue", node, 1, address);
    let mut route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    route.max_body_bytes = 2 * LARGE as u64;
    node.mesh.apply_table(full(1, vec![route])).expect("a table");
}

/// A transport: its flags, the address, and the version of HTTP that is to be spoken.
struct Over {
    flags: Vec<String>,
    url: String,
    version: &'static str,
}

impl Over {
    fn all(plain: &MeshHandle, tls: &MeshHandle, ca: &Path) -> Vec<Self> {
        let port = tls.ingress_addr().port();
        let trusting = ["--cacert", &ca.display().to_string(), "--resolve", &format!("localhost:{port}:127.0.0.1")];
        let over = |flags: &[&str], is_tls: bool, version| Self {
            flags: flags
                .iter()
                .chain(if is_tls { &trusting[..] } else { &[] })
                .map(|flag| (*flag).to_owned())
                .collect(),
            url: if is_tls { format!("https://localhost:{port}") } else { format!("http://{}", plain.ingress_addr()) },
            version,
        };
        vec![
            over(&["--http1.1"], false, "1.1"),
            over(&["--http2-prior-knowledge"], false, "2"),
            over(&["--http1.1"], true, "1.1"),
            // Agreed on within TLS.
            over(&["--http2"], true, "2"),
        ]
    }

    fn curl(&self, flags: &[&str], path: &str) -> Command {
        let mut curl = Command::new("curl");
        // Nothing of whose machine this is.
        curl.arg("-q").args(["-sS", "-m", "60", "--noproxy", "*"]).args(&self.flags).args(flags);
        curl.arg(format!("{}{path}", self.url)).stdin(Stdio::null()).kill_on_drop(true);
        curl
    }
}

#[tokio::test]
async fn curl_gets_what_the_model_says_over_every_transport() {
    if !is_there().await {
        return;
    }
    let (dir, made) = (TempDir::new().expect("a folder"), made());
    let (plain, tls) = (node(1), secured(2, write(dir.path(), &made)));
    let address = model(&Arc::new(Semaphore::new(0))).await;
    for node in [&plain, &tls] {
        serve(node, address);
    }
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("large"), vec![1; LARGE]).expect("written");
    std::fs::write(at("packed"), packed(b"tensors")).expect("written");
    let (large, small) = (format!("@{}", at("large")), format!("@{}", at("packed")));
    let sums = |file: &str| std::fs::read(at(file)).expect("read").iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let whole = format!("POST /score {LARGE} {}\n", sums("large"));
    let gzip = format!("POST /score {} {} packed\n", packed(b"tensors").len(), sums("packed"));
    let octets = "content-type: application/octet-stream";
    for over in Over::all(&plain.mesh, &tls.mesh, &dir.path().join("node.pem")) {
        for (flags, path, status, said) in [
            (&["-d", "{}"][..], "/e/fraud/score", "200", "POST /score 2 248\n"),
            (&["-d", "{}", "-H", "azureml-model-deployment: blue"], "/e/fraud/score", "200", "POST /score 2 248\n"),
            (&["--compressed", "-d", "{}"], "/e/fraud/score", "200", "POST /score 2 248\n"),
            (&["--data-binary", &small, "-H", "content-encoding: gzip"], "/e/fraud/score", "200", &gzip),
            (&["-H", "expect: 100-continue", "--data-binary", &large, "-H", octets], "/e/fraud/score", "200", &whole),
            (&["-T", &at("large"), "-X", "POST"], "/e/fraud/score", "200", &whole),
            (&["-H", "transfer-encoding: chunked", "--data-binary", &large], "/e/fraud/score", "200", &whole),
            // Answered before its body has come.
            (&["-d", "{}"], "/e/nobody/score", "404", ""),
            (&[], "/v2/health/ready", "200", ""),
            (&[], "/v2/models/fraud/ready", "200", "GET /v2/models/fraud/ready 0 0\n"),
            (&["-d", "{}"], "/v2/models/fraud/infer", "200", "POST /v2/models/fraud/infer 2 248\n"),
            (
                &["-d", r#"{"model":"fraud"}"#, "-H", "content-type: application/json"],
                "/v1/embeddings",
                "200",
                "POST /v1/embeddings 17 1501\n",
            ),
        ] {
            // HTTP/2 has frames in place of chunks: curl says so and sends them.
            let told = ["-w", "%{http_version} %{http_code}", "-o", &at("said")];
            let ran = within(over.curl(&[&told[..], flags].concat(), path).output()).await.expect("curl runs");
            let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert_eq!(stdout, format!("{} {status}", over.version), "{flags:?} {path}: {stderr}");
            let got = std::fs::read_to_string(at("said")).expect("text");
            assert!(got == said || said.is_empty(), "{flags:?} {path}: {got:?}, not {said:?}");
        }
        // The head alone, with the length of what would follow.
        let ran = within(over.curl(&["-I"], "/e/fraud/any").output()).await.expect("curl runs");
        let head = String::from_utf8_lossy(&ran.stdout).to_lowercase();
        let length = "HEAD /any 0 0\n".len();
        assert!(head.starts_with(&format!("http/{} 200", over.version)), "{head}");
        assert!(head.contains(&format!("content-length: {length}\r\n")) && ran.status.success(), "{head}");
        if over.version == "1.1" {
            // It waits for a word before it sends, and gets it.
            let flags = ["-v", "-H", "expect: 100-continue", "--expect100-timeout", "60", "--data-binary", &large];
            let ran = within(over.curl(&flags, "/e/fraud/score").output()).await.expect("curl runs");
            let stderr = String::from_utf8_lossy(&ran.stderr);
            assert!(stderr.contains("< HTTP/1.1 100 Continue") && stderr.contains("< HTTP/1.1 200"), "{stderr}");
        }
    }
}

#[tokio::test]
async fn curl_shows_each_event_before_the_next_is_made() {
    if !is_there().await {
        return;
    }
    let (dir, made) = (TempDir::new().expect("a folder"), made());
    let (plain, tls) = (node(1), secured(2, write(dir.path(), &made)));
    let events = Arc::new(Semaphore::new(0));
    let address = model(&events).await;
    for node in [&plain, &tls] {
        serve(node, address);
    }
    for over in Over::all(&plain.mesh, &tls.mesh, &dir.path().join("node.pem")) {
        let flags = ["-N", "-H", "content-type: application/json", "-d", r#"{"model":"fraud","stream":true}"#];
        let mut curl = over.curl(&flags, "/v1/chat/completions");
        let mut curl = curl.stdout(Stdio::piped()).spawn().expect("curl runs");
        let mut lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
        for at in 0..EVENTS {
            events.add_permits(1);
            for line in [format!("data: {at}"), String::new()] {
                assert_eq!(within(lines.next_line()).await.expect("text"), Some(line), "HTTP/{}", over.version);
            }
        }
        assert_eq!(within(lines.next_line()).await.expect("text"), None);
        assert!(within(curl.wait()).await.expect("it ends").success());
    }
}
