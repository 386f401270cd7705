//! Coordinators that speak mutual TLS, with real processes: a cluster that forms, serves and renews its certificates, and what
//! hears who does not belong to it.

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use berth_chaos_tests::cluster::{Cluster, ENDPOINT};
use berth_cli::fleet::FleetTls;
use berth_client::{InferClient, TlsFiles, Trust, TrustFiles};
use berth_proto::tls::{Inside, ServerFiles};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::BERTH;

/// An authority and what it signed, as files.
pub(crate) struct Authority {
    pub(crate) dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let dir = TempDir::new().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).expect("an authority").pem())
            .expect("written");
        Self { dir, issuer: Issuer::new(params, key) }
    }

    /// Signs a certificate, in the files of this name.
    pub(crate) fn signed(&self, file: &str, name: &str) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new([name.to_owned()]).expect("parameters").signed_by(&key, &self.issuer);
        let path = |kind: &str| self.dir.path().join(format!("{file}.{kind}"));
        let files = TlsFiles { cert: path("pem"), key: path("key") };
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        std::fs::write(&files.cert, certificate.expect("a certificate").pem()).expect("written");
        files
    }

    /// Tells a verb whom to believe and what to show.
    pub(crate) fn flags(&self, own: &TlsFiles) -> Vec<String> {
        let ca = self.dir.path().join("ca.pem");
        [("--ca", ca.as_path()), ("--client-cert", &own.cert), ("--client-key", &own.key)]
            .iter()
            .flat_map(|(flag, file)| [(*flag).to_owned(), file.display().to_string()])
            .collect()
    }
}

/// Runs a verb, and returns what it wrote.
pub(crate) fn berth(api: &str, flags: &[String], words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(BERTH);
    ["BERTH_API", "BERTH_CA", "BERTH_CLIENT_CERT", "BERTH_CLIENT_KEY"].iter().for_each(|name| {
        command.env_remove(name);
    });
    let output = command.args(["--api", api]).args(flags).args(words).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Opens a connection of HTTP/1.1, and returns the certificate that was shown with it.
async fn http1(trust: &Trust, api: &str) -> (conn::http1::SendRequest<Empty<Bytes>>, Vec<u8>) {
    let authority = api.strip_prefix("https://").expect("TLS");
    let stream = TcpStream::connect(authority).await.expect("a connection");
    let stream = trust.connect(authority, stream, Inside::Http1).await.expect("believed");
    let shown = stream.get_ref().1.peer_certificates().expect("one was shown")[0].to_vec();
    let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    (sender, shown)
}

fn page(api: &str, path: &str) -> Request<Empty<Bytes>> {
    let host = api.strip_prefix("https://").expect("TLS");
    let request = Request::get(path).header("host", host).header("origin", api);
    request.body(Empty::new()).expect("a request")
}

/// Asks as browsers do over TLS: HTTP/2, where the host is part of the address.
async fn page_over_http2(trust: &Trust, api: &str, path: &str) -> (u16, String) {
    let authority = api.strip_prefix("https://").expect("TLS");
    let stream = TcpStream::connect(authority).await.expect("a connection");
    let stream = trust.connect(authority, stream, Inside::Http2).await.expect("believed");
    let handshake = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::get(format!("{api}{path}")).header("origin", api).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_mutual_tls_serves_renews_and_tells_strangers_what_is_wrong() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (server, caller) = (ours.signed("coordinator", "127.0.0.1"), ours.signed("caller", "somebody"));
    let ca = ours.dir.path().join("ca.pem");
    let trusted = TrustFiles { ca: ca.clone(), own: Some(caller.clone()) };
    let coordinators = ServerFiles { own: server.clone(), client_ca: Some(ca.clone()) };
    // Three members that found each other and a node that joined: each of these calls is over TLS.
    let tls = FleetTls { coordinators, trust: trusted.clone(), from_start: true };
    let cluster = Cluster::start_over_tls(BERTH, 3, 1, tls).await;
    let apis = cluster.fleet.api_addresses();
    let members = cluster.client.list_members().await.expect("the members").members;
    assert!(members.len() == 3 && members.iter().all(|member| apis.contains(&member.address)), "{members:?}");
    cluster.endpoint().await;
    cluster.deploy("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;
    let client = InferClient::new([cluster.fleet.ingress(0).to_string()], ENDPOINT).expect("a client");
    cluster.until("a call is answered", async || client.score("x").await.is_ok_and(|it| it.status.is_success())).await;

    // Verbs, through a follower too, and one that calls every member itself.
    let flags = ours.flags(&caller);
    for api in &apis {
        let listed = berth(api, &flags, &["get", "endpoints"]).expect("a list");
        assert!(listed.contains(ENDPOINT), "{listed}");
    }
    let health = berth(&apis[0], &flags, &["operator", "autopilot", "health"]).expect("healthy");
    assert!(health.contains("3 of 3 voters answer"), "{health}");

    // Pages and the API over HTTP, in both versions.
    let trust = Trust::open(&trusted).expect("files");
    let (mut open, first) = http1(&trust, &apis[0]).await;
    for (path, part) in [("/healthz", "ok"), ("/metrics", "berth_"), ("/openapi.json", "openapi"), ("/", "<html")] {
        let answer = open.send_request(page(&apis[0], path)).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(part), "{path}");
        let (status, body) = page_over_http2(&trust, &apis[0], path).await;
        assert!(status == 200 && body.contains(part), "{path}: {status} {body}");
    }

    // Strangers.
    let stranger = theirs.signed("caller", "somebody");
    let plain = apis[0].strip_prefix("https://").expect("TLS").to_owned();
    let both = |ca: &Authority, own: &TlsFiles| {
        let mut flags = ca.flags(own);
        flags[1] = ca.dir.path().join("ca.pem").display().to_string();
        flags
    };
    let ca_alone = flags[..2].to_vec();
    for (why, api, flags, parts) in [
        ("another authority", &apis[0], both(&theirs, &caller), ["is not believed", "nobody in `"]),
        ("no certificate", &apis[0], ca_alone, ["wants a certificate of its callers", "--client-cert"]),
        (
            "a certificate of others",
            &apis[0],
            both(&ours, &stranger),
            ["does not believe the certificate", "tls_client_ca"],
        ),
        ("no TLS", &plain, Vec::new(), ["TLS is spoken there", "https://"]),
        ("nobody to believe", &apis[0], Vec::new(), ["nobody is believed", "--ca"]),
    ] {
        let refused = berth(api, &flags, &["get", "endpoints"]).expect_err(why);
        assert!(refused.contains("E_TLS"), "{why}: {refused}");
        assert!(parts.iter().all(|part| refused.contains(part)), "{why}: {refused}");
    }

    // A renewed certificate is for connections to come, and costs none that is open.
    let sessions = berth(&apis[0], &flags, &["get", "nodes", "-o", "json"]).expect("nodes");
    ours.signed("coordinator", "127.0.0.1");
    touch(&server.cert);
    cluster.until("the renewed certificate is shown", async || http1(&trust, &apis[0]).await.1 != first).await;
    let answer = open.send_request(page(&apis[0], "/healthz")).await.expect("what was open goes on");
    assert_eq!(answer.status(), 200);
    let epoch = |text: &str| text.lines().find(|line| line.contains("epoch")).map(str::to_owned);
    let after = berth(&apis[0], &flags, &["get", "nodes", "-o", "json"]).expect("nodes");
    assert!(epoch(&sessions).is_some() && epoch(&after) == epoch(&sessions), "{sessions}\n{after}");
}

/// A clock that is coarser than a test must not hide a change.
fn touch(file: &Path) {
    let file = std::fs::File::options().append(true).open(file).expect("the file");
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).expect("touched");
}
