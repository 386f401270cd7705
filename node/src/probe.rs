//! Asks a process how it is: one connection, one question, one deadline.

use std::{net::Ipv4Addr, time::Duration};

use berth_core::{agent::ProbeTarget, time::Millis};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Bytes of an answer that are read; a health page is small, and a process that sends more still answered.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// Asks, and says why the answer does not pass: in words that are the same for every replica, so that forty of them that
/// do the same are one thing to read.
pub(crate) async fn ask(port: u16, target: &ProbeTarget, within: Millis) -> Result<(), String> {
    let question = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        let stream = stream.map_err(|error| format!("its port takes no connection: {error}"))?;
        match target {
            ProbeTarget::Connect => Ok(()),
            ProbeTarget::Http(path) => get(stream, port, path).await,
        }
    };
    let asked = timeout(Duration::from_millis(within.0), question).await;
    asked.unwrap_or_else(|_| Err(format!("no answer from its port within {within}")))
}

async fn get(stream: TcpStream, port: u16, path: &str) -> Result<(), String> {
    let broke = |error: hyper::Error| format!("GET {path} broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let request = Request::get(path)
        .header(HOST, format!("127.0.0.1:{port}"))
        .header("connection", "close")
        .header("user-agent", "berth-probe")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("`{path}` is no path: {error}"))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broke)?;
        let status = response.status();
        let mut body = response.into_body();
        let mut got = 0;
        // Read to its end: a server that is cut off in its answer logs an error at every probe.
        while got < ANSWER_MAX_BYTES {
            match body.frame().await {
                Some(Ok(frame)) => got += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(error)) => return Err(broke(error)),
                None => break,
            }
        }
        match status.as_u16() {
            200..=399 => Ok(()),
            code => Err(format!("GET {path} answered {code}")),
        }
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => return answer,
        // A server that closes after its answer ends the connection first; what came is still there to be read.
        _ = connection => {}
    }
    exchange.await
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server that gives every caller this answer, or none at all.
    async fn server(answer: Option<&'static str>) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(answer) = answer else {
                    held.push(stream);
                    continue;
                };
                let mut request = [0; 1_024];
                drop(stream.read(&mut request).await);
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        port
    }

    #[tokio::test]
    async fn only_an_answer_from_200_to_399_passes() {
        let http = ProbeTarget::Http("/".into());
        for (answer, target, expected) in [
            (Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), &http, Ok(())),
            (Some("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"), &http, Ok(())),
            (Some("HTTP/1.1 200 OK\r\n\r\nuntil the end"), &http, Ok(())),
            (Some("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"), &http, Err("GET / answered 503")),
            (Some("garbage\r\n\r\n"), &http, Err("GET / broke off")),
            (None, &http, Err("no answer from its port")),
            (None, &ProbeTarget::Connect, Ok(())),
        ] {
            let port = server(answer).await;
            let got = ask(port, target, Millis(300)).await;
            match (&got, expected) {
                (Ok(()), Ok(())) => {}
                (Err(why), Err(words)) => {
                    assert!(why.starts_with(words) && !why.contains(&port.to_string()), "{why}");
                }
                _ => panic!("{answer:?}: {got:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_fails_at_once() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let why = ask(port, &ProbeTarget::Connect, Millis(10_000)).await.unwrap_err();
        assert!(why.starts_with("its port takes no connection") && !why.contains(&port.to_string()), "{why}");
    }
}
