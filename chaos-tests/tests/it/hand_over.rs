//! A newer process of a node takes over from the one that runs: sockets, replicas and streams, under load.

use berth_chaos_tests::cluster::{Cluster, ENDPOINT, WITHIN, assert_all_answered};
use berth_cli::fleet::{Daemon, Fleet};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request,
    body::{Bytes, Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::BERTH;

/// Requests a second.
const RATE: u64 = 100;

/// Streams on one connection; a node takes 256.
const PER_CONNECTION: usize = 100;
const CONNECTIONS: usize = 3;

/// A conversation with the echo model: what is said comes back before the next word.
struct Talk {
    say: UnboundedSender<Result<Frame<Bytes>, std::convert::Infallible>>,
    hear: Incoming,
}

// === impl Talk ===

impl Talk {
    async fn exchange(&mut self, word: &str) {
        self.say.unbounded_send(Ok(Frame::data(Bytes::from(word.to_owned())))).expect("the stream is open");
        let mut heard = Vec::new();
        while heard.len() < word.len() {
            let frame = timeout(WITHIN, self.hear.frame()).await.expect("an echo in time").expect("the stream goes on");
            heard.extend_from_slice(&frame.expect("the stream is whole").into_data().expect("an echo"));
        }
        assert_eq!(heard, word.as_bytes());
    }

    async fn end(self) {
        let Self { say, mut hear } = self;
        drop(say);
        let last = timeout(WITHIN, hear.frame()).await.expect("an end in time").expect("trailers").expect("in order");
        assert_eq!(last.into_trailers().expect("trailers")["grpc-status"], "0");
    }
}

/// Opens streams over a few connections to one ingress.
async fn talks(ingress: std::net::SocketAddr) -> Vec<Talk> {
    let mut talks = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(ingress).await.expect("a connection");
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        for _ in 0..PER_CONNECTION {
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

async fn serve(cluster: &Cluster) {
    cluster.endpoint().await;
    let mut spec = cluster.command(&["echo-model"]);
    spec.instance_count = 2;
    spec.request_settings.max_concurrent_requests_per_instance = 600;
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 2).await;
    cluster.split(&[("blue", 100)]).await;
    cluster.routed().await;
}

async fn taken_over(cluster: &Cluster, node: &str) {
    let log = cluster.fleet.dir().join(format!("{node}.log"));
    let said = || std::fs::read_to_string(&log).unwrap_or_default().contains("took over from the older process");
    cluster.until("the newer process has taken over", async || said()).await;
}

async fn ended(cluster: &Cluster, mut older: Daemon) {
    cluster.until("the older process ends by itself", async || !older.is_running()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_streams_and_a_load_go_on_across_a_hand_over() {
    let mut cluster = Cluster::start(BERTH, 1, 2).await;
    serve(&cluster).await;
    let node = Fleet::node_name(0);
    let before = cluster.pids_on(&node).await;
    let mut talks = talks(cluster.fleet.ingress(0)).await;
    for talk in &mut talks {
        talk.exchange("before").await;
    }
    let total = 1_500;
    let load = cluster.load(cluster.ingresses().await, RATE, total);
    let mut older = cluster.fleet.succeed_node(0).expect("a newer process starts");
    taken_over(&cluster, &node).await;
    for round in 0..3 {
        for talk in &mut talks {
            talk.exchange(&format!("round {round}")).await;
        }
    }
    assert!(older.is_running(), "what it has goes on there");
    // The newer one knows of them: a drain would wait.
    let counted = async || {
        let replicas = cluster.client.list_replicas(ENDPOINT, "blue").await.unwrap_or_default();
        replicas.iter().map(|replica| replica.in_flight).sum::<u64>() >= talks.len() as u64
    };
    cluster.until("the streams are counted", counted).await;
    assert_all_answered(&load.await.expect("the load ends"), total);
    let count = talks.len();
    for talk in talks {
        talk.end().await;
    }
    assert_eq!(count, CONNECTIONS * PER_CONNECTION);
    ended(&cluster, older).await;
    assert_eq!(cluster.pids_on(&node).await, before, "it found its replicas again");
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_fails_leaves_everything_as_it_was() {
    let cluster = Cluster::start(BERTH, 1, 1).await;
    serve(&cluster).await;
    let node = Fleet::node_name(0);
    let total = 800;
    let load = cluster.load(cluster.ingresses().await, RATE, total);
    let desk = cluster.fleet.dir().join(&node).join("hand-over.sock");
    for name in ["green", "red"] {
        let mut asks = UnixStream::connect(&desk).await.expect("the node has a desk");
        asks.write_all(b"take").await.expect("asked");
        let mut counts = [0; 2];
        timeout(WITHIN, asks.read_exact(&mut counts)).await.expect("in time").expect("given");
        assert!(counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
        // It is gone before it said that it has everything.
        drop(asks);
        // The agent acts again: what is ordered now is done.
        let mut spec = cluster.command(&["echo-model"]);
        spec.instance_count = 1;
        spec.request_settings.max_concurrent_requests_per_instance = 64;
        cluster.put(ENDPOINT, name, &spec).await;
        cluster.serving(name, 1).await;
    }
    assert_all_answered(&load.await.expect("the load ends"), total);
}
