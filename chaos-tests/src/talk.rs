//! Conversations with the echo model over HTTP/2: what must go on while processes come and go.
//!
//! Every step has a deadline and panics when it is not met: a conversation that stops is what is looked for.

use std::{convert::Infallible, net::SocketAddr};

use futures::channel::mpsc::{UnboundedSender, unbounded};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request,
    body::{Bytes, Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};

use crate::cluster::{ENDPOINT, WITHIN};

/// Streams on one connection; a node takes 256.
const PER_CONNECTION: usize = 100;

/// A conversation with the echo model: what is said comes back before the next word.
pub struct Talk {
    say: UnboundedSender<Result<Frame<Bytes>, Infallible>>,
    hear: Incoming,
}

// === impl Talk ===

impl Talk {
    /// Says a word and hears it.
    pub async fn exchange(&mut self, word: &str) {
        self.say.unbounded_send(Ok(Frame::data(Bytes::from(word.to_owned())))).expect("the stream is open");
        let mut heard = Vec::new();
        while heard.len() < word.len() {
            let frame = timeout(WITHIN, self.hear.frame()).await.expect("an echo in time").expect("the stream goes on");
            heard.extend_from_slice(&frame.expect("the stream is whole").into_data().expect("an echo"));
        }
        assert_eq!(heard, word.as_bytes());
    }

    /// Says that this was all, and hears that it was in order.
    pub async fn end(self) {
        let Self { say, mut hear } = self;
        drop(say);
        let last = timeout(WITHIN, hear.frame()).await.expect("an end in time").expect("trailers").expect("in order");
        assert_eq!(last.into_trailers().expect("trailers")["grpc-status"], "0");
    }
}

/// Opens streams over a few connections to one ingress.
pub async fn open(ingress: SocketAddr, streams: usize) -> Vec<Talk> {
    let mut talks = Vec::new();
    while talks.len() < streams {
        let stream = TcpStream::connect(ingress).await.expect("a connection");
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        for _ in talks.len()..streams.min(talks.len() + PER_CONNECTION) {
            let (say, said) = unbounded();
            let request = Request::post(format!("http://{ingress}/echo.Echo/Talk"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("x-berth-endpoint", ENDPOINT)
                .body(StreamBody::new(said))
                .expect("a request");
            let answer = timeout(WITHIN, sender.send_request(request)).await.expect("in time").expect("an answer");
            talks.push(Talk { say, hear: answer.into_body() });
        }
    }
    talks
}
