//! What must go on while processes come and go: conversations with the echo model over HTTP/2, and streams of events over
//! HTTP/1.1, as OpenAI's clients read them.
//!
//! Every step has a deadline and panics when it is not met: a stream that stops is what is looked for.

use std::{convert::Infallible, net::SocketAddr};

use berth_client::{
    Address,
    http1::{Pool, PoolPolicy},
};
use berth_core::model::DeploymentSpec;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    Request,
    body::{Bytes, Frame, Incoming},
    client::conn::{http1, http2},
    header::CONTENT_TYPE,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    cluster::{Cluster, ENDPOINT, WITHIN},
    echo::{CHAT, DONE, LAST, TOKENS, token},
};

/// Streams on one connection; a node takes 256.
const PER_CONNECTION: usize = 100;

/// A conversation with the echo model: what is said comes back before the next word.
struct Talk {
    say: UnboundedSender<Result<Frame<Bytes>, Infallible>>,
    hear: Incoming,
}

/// A stream of events over a connection of its own.
struct Events {
    asked: String,
    heard: u64,
    hear: Incoming,
}

/// Streams of both kinds through one ingress. Nobody says the next word before every stream has the one before.
pub struct Streams {
    talks: Vec<Talk>,
    events: Vec<Events>,
    /// Where the replicas listen, which are told how far the streams of events shall be.
    replicas: Vec<Address>,
}

// === impl Talk ===

impl Talk {
    /// Says a word and hears it.
    async fn exchange(&mut self, word: &str) {
        self.say.unbounded_send(Ok(Frame::data(Bytes::from(word.to_owned())))).expect("the stream is open");
        let mut heard = Vec::new();
        while heard.len() < word.len() {
            let frame = timeout(WITHIN, self.hear.frame()).await.expect("an echo in time").expect("the stream goes on");
            heard.extend_from_slice(&frame.expect("the stream is whole").into_data().expect("an echo"));
        }
        assert_eq!(heard, word.as_bytes());
    }

    /// Says that this was all, and hears that it was in order.
    async fn end(self) {
        let Self { say, mut hear } = self;
        drop(say);
        let last = timeout(WITHIN, hear.frame()).await.expect("an end in time").expect("trailers").expect("in order");
        assert_eq!(last.into_trailers().expect("trailers")["grpc-status"], "0");
    }
}

// === impl Events ===

impl Events {
    /// Opens one.
    async fn open(ingress: SocketAddr, number: usize) -> Self {
        let stream = TcpStream::connect(ingress).await.expect("a connection");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        let asked = format!(r#"{{"model":"{ENDPOINT}","stream":true,"messages":[],"n":{number}}}"#);
        let request = Request::post(CHAT)
            .header("host", ingress.to_string())
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .body(Full::new(Bytes::from(asked.clone())))
            .expect("a request");
        let answer = timeout(WITHIN, sender.send_request(request)).await.expect("in time").expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
        Self { asked, heard: 0, hear: answer.into_body() }
    }

    /// Hears the next token: this one, of this stream, and nothing behind it.
    async fn next(&mut self) {
        self.heard += 1;
        let event = token(self.heard, &self.asked);
        self.hears(&event).await;
    }

    /// Hears that this was all.
    async fn end(mut self) {
        self.hears(DONE).await;
        let after = timeout(WITHIN, self.hear.frame()).await.expect("an end in time");
        assert!(after.is_none(), "the answer ends in order, with nothing behind its last event: {after:?}");
    }

    async fn hears(&mut self, event: &str) {
        let mut heard = Vec::new();
        while heard.len() < event.len() {
            let frame = timeout(WITHIN, self.hear.frame()).await.expect("an event in time").expect("it goes on");
            heard.extend_from_slice(&frame.expect("the stream is whole").into_data().expect("an event"));
        }
        assert_eq!(String::from_utf8_lossy(&heard), event);
    }
}

// === impl Streams ===

impl Streams {
    /// Lets a deployment of the echo model take this many streams, each of which may wait for the slowest of all.
    pub fn suit(spec: &mut DeploymentSpec, streams: usize) {
        spec.request_settings.max_concurrent_requests_per_instance = streams as u32;
        spec.request_settings.request_timeout_ms = WITHIN.as_millis() as u64;
    }

    /// Opens conversations, and streams of events, through one ingress.
    pub async fn open(cluster: &Cluster, ingress: SocketAddr, talks: usize, events: usize) -> Self {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.expect("the replicas are listed");
        let replicas = replicas.iter().map(|replica| replica.address.parse().expect("where it listens")).collect();
        let mut streams = Self { talks: open(ingress, talks).await, events: Vec::new(), replicas };
        for number in 0..events {
            streams.events.push(Events::open(ingress, number).await);
        }
        streams
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.talks.len() + self.events.len()
    }

    /// Every stream goes one word further.
    pub async fn exchange(&mut self, word: &str) {
        for talk in &mut self.talks {
            talk.exchange(word).await;
        }
        if let Some(first) = self.events.first() {
            self.tell(&(first.heard + 1).to_string()).await;
        }
        for events in &mut self.events {
            events.next().await;
        }
    }

    /// Every stream ends in order.
    pub async fn end(self) {
        self.tell(LAST).await;
        for talk in self.talks {
            talk.end().await;
        }
        for events in self.events {
            events.end().await;
        }
    }

    async fn tell(&self, word: &str) {
        for replica in &self.replicas {
            let request = Request::post(TOKENS).body(Bytes::from(word.to_owned())).expect("a request");
            let pool = Pool::new(replica.clone(), PoolPolicy::default());
            let answer = timeout(WITHIN, pool.send(request)).await.expect("in time").expect("the replica answers");
            assert!(answer.status().is_success(), "{}", answer.status());
        }
    }
}

/// Opens streams over a few connections to one ingress.
async fn open(ingress: SocketAddr, streams: usize) -> Vec<Talk> {
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
