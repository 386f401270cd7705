//! Mutual TLS between nodes: who has no certificate of the authority reaches no gate, and renewed files are taken up.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use berth_core::{error::Code, id::NodeId};
use berth_node::mesh::{Mesh, MeshOptions, PEER_NAME, PeerFiles, TlsFiles};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::mesh_support::{Deployed, Node, TOKEN, call, echo, endpoint, full, header, node, options, post, within};

/// Who signs the certificates of nodes.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

impl Authority {
    fn signed(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        change(&mut params);
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }
}

/// Writes what a node of an authority shows, and that it believes the same.
pub(crate) fn shown(dir: &Path, by: &Authority) -> PeerFiles {
    write(dir, &by.signed(PEER_NAME, |_| {}), &[by])
}

/// Writes what a node shows, and whom it believes.
fn write(dir: &Path, (cert, key): &(Certificate, KeyPair), believed: &[&Authority]) -> PeerFiles {
    let own = TlsFiles { cert: dir.join("peer.pem"), key: dir.join("peer.key") };
    let files = PeerFiles { own, ca: dir.join("ca.pem") };
    std::fs::write(&files.own.cert, cert.pem()).expect("written");
    std::fs::write(&files.own.key, key.serialize_pem()).expect("written");
    let ca: String = believed.iter().map(|authority| authority.pem.as_str()).collect();
    std::fs::write(&files.ca, ca).expect("written");
    files
}

fn start(id: u64, dir: TempDir, peers: PeerFiles) -> Node {
    let options = MeshOptions { peers: Some(peers), ..options(id, &dir) };
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    mesh.set_gate_token(TOKEN);
    Node { mesh, id: NodeId(id), dir }
}

/// A node with a certificate of one authority that believes those of others.
pub(crate) fn secured(id: u64, by: &Authority, believed: &[&Authority]) -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let files = write(dir.path(), &by.signed(PEER_NAME, |_| {}), believed);
    start(id, dir, files)
}

/// Asks `entry` for what only `owner` has, with a body and without one.
async fn ask(entry: &Node) -> (u16, String) {
    let empty = Request::get("/e/fraud/any").header("host", "any").body(Full::default()).expect("a request");
    let (bare, _) = call(entry.mesh.ingress_addr(), empty).await;
    let (status, replica) = ask_once(entry).await;
    assert_eq!(status, bare.status.as_u16(), "a request without a body fares no worse");
    (status, replica)
}

async fn ask_once(entry: &Node) -> (u16, String) {
    let (parts, _) = call(entry.mesh.ingress_addr(), post("/e/fraud/any", "x")).await;
    (parts.status.as_u16(), header(&parts, "x-berth-replica").to_owned())
}

fn route(entries: &[&Node], owner: &Node, address: SocketAddr) {
    let deployed = Deployed::one("blue", owner, 1, address).publish("fraud");
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed]);
    for entry in entries {
        entry.mesh.apply_table(full(1, vec![route.clone()])).expect("a table");
    }
}

/// Calls a gate as somebody with these certificates would, and waits for its first word.
async fn dial(
    gate: SocketAddr,
    owner: &Authority,
    shown: &[&(Certificate, KeyPair)],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(owner.pem.as_bytes()).expect("a certificate")).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    let mut config = match shown.first() {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
            builder.with_client_auth_cert(vec![cert.der().clone()], key).expect("a certificate and its key")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    within(async {
        let stream = TcpStream::connect(gate).await?;
        let name = ServerName::try_from(PEER_NAME).expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        match stream.fill_buf().await? {
            [] => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(stream),
        }
    })
    .await
}

async fn ask_gate(sender: &mut SendRequest<Full<Bytes>>) -> (u16, Bytes) {
    let request = Request::post("http://gate/score")
        .header("x-berth-gate-token", TOKEN)
        .header("x-berth-gate-replica", "0000000000000001")
        .header("x-berth-gate-deadline-ms", "20000");
    let answer = within(sender.send_request(request.body(Full::from("x")).expect("a request"))).await;
    let answer = answer.expect("an answer");
    let status = answer.status().as_u16();
    (status, within(answer.into_body().collect()).await.expect("a body").to_bytes())
}

#[tokio::test]
async fn only_nodes_of_the_authority_reach_a_gate() {
    let (ours, other) = (authority(), authority());
    let (n1, n2) = (secured(1, &ours, &[&ours]), secured(2, &ours, &[&ours]));
    let (foreign, trusting) = (secured(3, &other, &[&other]), secured(4, &other, &[&ours, &other]));
    let bare = node(5);
    route(&[&n1, &n2, &foreign, &trusting, &bare], &n2, echo("blue").await);
    assert_eq!(ask(&n1).await.0, 200);
    assert_eq!(ask(&n2).await.0, 200, "the own gate is a call");
    for (stranger, why) in
        [(&foreign, "neither believes the other"), (&trusting, "it believes the gate, which does not believe it")]
    {
        let (status, replica) = ask(stranger).await;
        assert_eq!((status, replica.as_str()), (503, ""), "{why}");
    }
    let (status, replica) = ask(&bare).await;
    assert_eq!((status, replica.as_str()), (503, ""), "who speaks no TLS hears nothing, and has sent no request yet");

    let gate = n2.mesh.gate_addr();
    let [node, misnamed] = [PEER_NAME, "fraud.berth"].map(|name| ours.signed(name, |_| {}));
    let other = other.signed(PEER_NAME, |_| {});
    assert!(dial(gate, &ours, &[&node]).await.is_ok());
    for (shown, why) in [
        (&[][..], "it shows nothing"),
        (&[&misnamed][..], "a certificate of another purpose"),
        (&[&other][..], "another authority"),
    ] {
        assert!(dial(gate, &ours, shown).await.is_err(), "{why}");
    }

    // With the token and without TLS there is no talking to it.
    let mut stream = TcpStream::connect(gate).await.expect("a connection");
    let request = format!(
        "POST /score HTTP/1.1\r\nhost: h\r\nx-berth-gate-token: {TOKEN}\r\nx-berth-gate-replica: 0000000000000001\r\n\
         x-berth-gate-deadline-ms: 9000\r\ncontent-length: 1\r\n\r\nx"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn renewed_files_are_taken_up_and_what_is_open_goes_on() {
    let (old, new) = (authority(), authority());
    let (owner, early) = (secured(1, &old, &[&old]), secured(2, &new, &[&new]));
    route(&[&owner, &early], &owner, echo("blue").await);
    assert_eq!(ask(&early).await.0, 503, "of the authority to come");
    let gate = owner.mesh.gate_addr();
    let shown = old.signed(PEER_NAME, |_| {});
    let stream = dial(gate, &old, &[&shown]).await.expect("a node of the old authority");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut open, connection) = within(handshake).await.expect("HTTP/2");
    tokio::spawn(connection);
    assert_eq!(ask_gate(&mut open).await, (200, "blue:x".into()));

    std::fs::write(owner.dir.path().join("ca.pem"), "half a fi").expect("written");
    write(owner.dir.path(), &new.signed(PEER_NAME, |_| {}), &[&new]);
    within(async {
        while ask_once(&early).await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(dial(gate, &old, &[&shown]).await.is_err(), "the authority that was");
    assert_eq!(ask_gate(&mut open).await, (200, "blue:x".into()));
}

#[tokio::test]
async fn what_other_nodes_would_not_believe_is_told_at_the_start() {
    let (ours, other) = (authority(), authority());
    let dir = tempfile::tempdir().expect("a folder");
    let good = || ours.signed(PEER_NAME, |_| {});
    let files = write(dir.path(), &good(), &[&ours]);
    assert_eq!(files.check(), Ok(()));
    let refused = |files: &PeerFiles, why: &str| {
        let error = files.check().expect_err(why);
        assert_eq!(error.code, Code::Certificate, "{error:?}");
        let home = tempfile::tempdir().expect("a folder");
        let options = MeshOptions { peers: Some(files.clone()), ..options(9, &home) };
        let started = Mesh::start(options, &mut Registry::default());
        assert_eq!(started.err().map(|error| error.code), Some(Code::Certificate), "{why}");
    };
    let absent = PeerFiles { ca: dir.path().join("absent"), ..files.clone() };
    refused(&absent, "no authority");
    let keys = PeerFiles { ca: files.own.key.clone(), ..files.clone() };
    refused(&keys, "an authority without a certificate");
    refused(&write(dir.path(), &ours.signed("fraud.berth", |_| {}), &[&ours]), "another name");
    refused(&write(dir.path(), &good(), &[&other]), "another authority");
    refused(&write(dir.path(), &(good().0, good().1), &[&ours]), "another key");

    // It has ended, or has not begun: others will not believe it, and what is this node's own is served all the same.
    let ended = ours.signed(PEER_NAME, |params| params.not_after = date_time_ymd(2001, 1, 1));
    let files = write(dir.path(), &ended, &[&ours]);
    assert_eq!(files.check().expect_err("it has ended").code, Code::Certificate);
    let (n1, n2) = (start(1, dir, files), secured(2, &ours, &[&ours]));
    route(&[&n1], &n1, echo("blue").await);
    assert_eq!(ask(&n1).await.0, 200);
    let deployed = Deployed::one("blue", &n2, 2, echo("blue").await).publish("fraud");
    n1.mesh.apply_table(full(2, vec![endpoint("fraud", &[("blue", 100)], vec![deployed])])).expect("a table");
    assert_eq!(ask(&n1).await.0, 503, "the gate does not believe it");
}
