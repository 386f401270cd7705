//! Calls to endpoints through nodes that are gone, break off, or answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use berth_client::{Code, InferClient, Trust};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// A node that tells what it was sent.
async fn node() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    let body = body.collect().await?.to_bytes();
    if header("content-type").starts_with("application/grpc") {
        let echo = Response::builder().header("content-type", "application/grpc").header("grpc-status", "0");
        let echo = echo.header("was", format!("{} {}", parts.uri.path(), header("x-berth-endpoint")));
        return Ok(echo.body(Full::new(body)).expect("a response"));
    }
    let status = if body == "fail" { StatusCode::FAILED_DEPENDENCY } else { StatusCode::OK };
    let text = format!(
        "{} {} {} {} {}",
        parts.method,
        parts.uri,
        header("authorization"),
        header("azureml-model-deployment"),
        String::from_utf8_lossy(&body)
    );
    let response = Response::builder().status(status).header("azureml-model-deployment", "blue");
    Ok(response.header("ms-azureml-model-error-statuscode", "418").body(Full::new(text.into())).expect("a response"))
}

/// A node that reads a request and hangs up.
async fn breaks_off() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1_024]).await;
        }
    });
    address
}

fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn client(nodes: &[SocketAddr]) -> InferClient {
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    InferClient::new(nodes, "digits").expect("addresses").with_key("k")
}

#[tokio::test]
async fn a_call_carries_path_key_and_pin() {
    let client = client(&[node().await]).pinned_to("green");
    let answer = client.score("[1]").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.deployment(), Some("blue"));
    assert_eq!(answer.body, "POST /e/digits/score Bearer k green [1]");
    let answer = client.infer("digits", "{}").await.expect("an answer on the same connection");
    assert_eq!(answer.body, "POST /e/digits/v2/models/digits/infer Bearer k green {}");
}

#[tokio::test]
async fn a_failure_of_the_model_is_an_answer_that_can_become_an_error() {
    let answer = client(&[node().await]).score("fail").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::FAILED_DEPENDENCY);
    let error = answer.into_success().expect_err("not a success");
    assert_eq!(error.code, Code::Upstream);
    assert!(error.what.contains("418"), "{error}");
}

#[tokio::test]
async fn a_node_that_is_gone_is_left_for_the_next() {
    let client = client(&[nobody(), node().await, nobody()]);
    for _ in 0..6 {
        assert_eq!(client.score("x").await.expect("the one that lives").status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_may_have_been_worked_on_is_not_sent_again_unasked() {
    let nodes = [breaks_off().await, node().await];
    let error = client(&nodes).score("x").await.expect_err("it broke off");
    assert_eq!(error.code, Code::Upstream);
    let answer = client(&nodes).idempotent(true).score("x").await.expect("the second node");
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let error = client(&[address]).with_deadline(Duration::from_millis(100)).score("x").await.expect_err("silence");
    assert_eq!(error.code, Code::Timeout);
}

#[tokio::test]
async fn any_grpc_method_is_called_by_its_path() {
    let client = client(&[nobody(), node().await]);
    for _ in 0..2 {
        let answer = client.unary("/pkg.Echo/Say", "hello").await.expect("an answer");
        assert_eq!(answer.message, "hello");
        assert_eq!(answer.metadata.get("was").expect("the header"), "/pkg.Echo/Say digits");
    }
    assert!(client.unary("no path", "x").await.is_err());
}

/// The same node behind TLS, with a certificate for `localhost` and its address.
async fn secured(made: &CertifiedKey<KeyPair>) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut config = builder.with_single_cert(vec![made.cert.der().clone()], key).expect("a certificate and its key");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_node_that_speaks_tls_is_called_by_who_believes_it() {
    let names = || vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names()).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(names()).expect("a certificate");
    let dir = tempfile::tempdir().expect("a folder");
    let trust = |name: &str, pem: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).expect("written");
        Trust::read(&path)
    };
    let address = secured(&made).await;
    let believes = trust("ca.pem", &made.cert.pem()).expect("a certificate");
    for host in ["127.0.0.1", "localhost"] {
        let client = InferClient::over_tls([format!("{host}:{}", address.port())], "digits", &believes);
        let client = client.expect("a client").with_deadline(Duration::from_secs(30));
        for _ in 0..2 {
            let answer = client.score("x").await.expect("an answer");
            assert!(
                answer.status.is_success() && answer.body.starts_with(b"POST /e/digits/score"),
                "{:?}",
                answer.body
            );
        }
        let answer = client.unary("/echo.Echo/Say", "message").await.expect("an answer");
        assert_eq!(answer.message, "message");
    }
    let stranger = trust("other.pem", &other.cert.pem()).expect("a certificate");
    let doubts = InferClient::over_tls([address.to_string()], "digits", &stranger).expect("a client");
    assert_eq!(doubts.score("x").await.expect_err("nobody it knows").code, Code::Unavailable);
    let plain = InferClient::new([address.to_string()], "digits").expect("a client");
    assert!(plain.score("x").await.is_err(), "it speaks another language");
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(trust("bad.pem", text).expect_err("it is none").code, Code::Certificate, "{text}");
    }
}
