//! TLS where callers connect: both versions of HTTP, certificates that are renewed under way, files that cannot be used.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use berth_core::error::Code;
use berth_node::mesh::{Mesh, MeshOptions, TlsFiles};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus_client::registry::Registry;
use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use crate::{
    mesh_stream::raw,
    mesh_support::{Deployed, Node, TOKEN, echo, options, simple, within},
};

pub(crate) fn write(dir: &Path, made: &CertifiedKey<KeyPair>) -> TlsFiles {
    let files = TlsFiles { cert: dir.join("node.pem"), key: dir.join("node.key") };
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    std::fs::write(&files.cert, made.cert.pem()).expect("written");
    files
}

pub(crate) fn made() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
}

pub(crate) fn secured(id: u64, files: TlsFiles) -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let options = MeshOptions { tls: Some(files), ..options(id, &dir) };
    let mesh = Mesh::start(options, &mut Registry::default()).expect("a mesh");
    mesh.set_gate_token(TOKEN);
    Node { mesh, id: berth_core::id::NodeId(id), dir }
}

/// Connects as who trusts `trusted` alone.
async fn connect(
    address: SocketAddr,
    trusted: &CertifiedKey<KeyPair>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.cert.der().clone()).expect("a root");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

fn post() -> Request<Full<Bytes>> {
    Request::post("https://localhost/e/fraud/score").body(Full::from("hello")).expect("a request")
}

#[tokio::test]
async fn both_versions_of_http_are_agreed_on_and_plain_http_is_told_so() {
    let (dir, made) = (TempDir::new().expect("a folder"), made());
    let n1 = secured(1, write(dir.path(), &made));
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    let address = n1.mesh.ingress_addr();

    let stream = within(connect(address, &made, b"h2")).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = within(handshake).await.expect("HTTP/2");
    tokio::spawn(connection);
    let answer = within(sender.send_request(post())).await.expect("an answer");
    assert_eq!(within(answer.into_body().collect()).await.expect("a body").to_bytes(), "blue:hello");

    let stream = within(connect(address, &made, b"http/1.1")).await.expect("TLS");
    let (mut sender, connection) =
        within(hyper::client::conn::http1::handshake(TokioIo::new(stream))).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let answer = within(sender.send_request(post())).await.expect("an answer");
    assert_eq!(within(answer.into_body().collect()).await.expect("a body").to_bytes(), "blue:hello");

    let plain = raw(address, "GET / HTTP/1.1\r\nhost: any\r\n\r\n", 1).await;
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.ends_with("this port speaks TLS: use https"), "{plain}");
    let other = self::made();
    assert!(within(connect(address, &other, b"h2")).await.is_err(), "who trusts another one is not fooled");
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let (dir, first) = (TempDir::new().expect("a folder"), made());
    let files = write(dir.path(), &first);
    let n1 = secured(1, files.clone());
    simple(&n1, &Deployed::one("blue", &n1, 1, echo("blue").await));
    let address = n1.mesh.ingress_addr();
    let stream = within(connect(address, &first, b"http/1.1")).await.expect("TLS");
    let (mut old, connection) =
        within(hyper::client::conn::http1::handshake(TokioIo::new(stream))).await.expect("HTTP/1.1");
    tokio::spawn(connection);

    // Half of a renewal: a certificate whose key is not there yet.
    let second = made();
    std::fs::write(&files.cert, second.cert.pem()).expect("written");
    assert_eq!(files.check().expect_err("they do not fit").code, Code::Certificate);
    assert!(within(connect(address, &first, b"h2")).await.is_ok(), "the one in force stays");
    write(dir.path(), &second);
    // A clock that is coarser than this test must not hide the change.
    let file = std::fs::File::options().append(true).open(&files.cert).expect("the file");
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).expect("touched");
    within(async {
        while connect(address, &second, b"h2").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(within(connect(address, &first, b"h2")).await.is_err());
    let answer = within(old.send_request(post())).await.expect("what was open goes on");
    assert_eq!(answer.status(), 200);
}

#[test]
fn what_cannot_be_used_is_told_by_file_and_reason() {
    let (dir, made) = (TempDir::new().expect("a folder"), made());
    let good = write(dir.path(), &made);
    assert_eq!(good.check(), Ok(()));
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let absent = dir.path().join("absent");
    let (empty, garbage) =
        (file("empty", ""), file("garbage", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"));
    let stranger = file("stranger", &self::made().signing_key.serialize_pem());
    for (files, what, why) in [
        (TlsFiles { cert: absent.clone(), ..good.clone() }, "absent", "No such file"),
        (TlsFiles { key: absent.clone(), ..good.clone() }, "absent", "No such file"),
        (TlsFiles { cert: empty.clone(), ..good.clone() }, "empty", "no `BEGIN CERTIFICATE`"),
        (TlsFiles { cert: garbage, ..good.clone() }, "garbage", ""),
        (TlsFiles { key: empty, ..good.clone() }, "empty", ""),
        (TlsFiles { key: stranger, ..good.clone() }, "node.pem", "stranger"),
        (TlsFiles { key: good.cert.clone(), ..good.clone() }, "node.pem", ""),
    ] {
        let error = files.check().expect_err(what);
        assert_eq!(error.code, Code::Certificate, "{error:?}");
        assert!(error.what.contains(what) && error.why.contains(why), "{error:?}");
    }
}
