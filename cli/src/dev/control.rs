//! `berth dev kill NODE` and `berth dev start NODE`: how the host of a development node is lost and comes back.
//!
//! The nodes of a development cluster live in one process, so nobody can kill one of them from outside. The running
//! cluster takes these two orders on a loopback port that its folder names.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use berth_core::error::{Code, Error};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::folder;
use crate::{
    args::DevVerb,
    output::{Fault, Output},
};

/// How long an order may take: a node that starts registers first.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a caller may take to say what it wants.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of an order: a word and a name.
const ORDER_BYTES_MAX: u64 = 1 << 10;
/// Orders that may wait.
const WAITING_MAX: usize = 4;

/// What is wanted of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Its agent and its replicas end at once, without a word.
    Kill(String),
    /// It starts again on its data.
    Start(String),
}

/// An order, and where its outcome is told.
pub(super) struct Asked {
    pub(super) order: Order,
    pub(super) answer: oneshot::Sender<Result<String, Error>>,
}

/// The outcome as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(String),
    Refused { code: String, what: String, r#try: String },
}

/// Takes orders one after another until it is dropped.
pub(super) async fn listen(listener: TcpListener, orders: mpsc::Sender<Asked>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        if let Err(error) = take(stream, &orders).await {
            tracing::debug!(%error, "an order was not taken");
        }
    }
}

/// Returns the two ends of the way orders take.
pub(super) fn channel() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
    mpsc::channel(WAITING_MAX)
}

async fn take(mut stream: TcpStream, orders: &mpsc::Sender<Asked>) -> std::io::Result<()> {
    let mut line = String::new();
    let (read, mut write) = stream.split();
    timeout(ASK_WITHIN, BufReader::new(read.take(ORDER_BYTES_MAX)).read_line(&mut line)).await??;
    let order: Order = serde_json::from_str(&line)?;
    let (answer, told) = oneshot::channel();
    let outcome = match orders.send(Asked { order, answer }).await {
        Ok(()) => told.await.unwrap_or_else(|_| Err(stopping())),
        Err(_) => Err(stopping()),
    };
    let answer = match outcome {
        Ok(done) => Answer::Done(done),
        Err(error) => Answer::Refused { code: error.code.word().to_owned(), what: error.what, r#try: error.try_ },
    };
    write.write_all(&serde_json::to_vec(&answer)?).await
}

fn stopping() -> Error {
    Error::new(Code::Unavailable, "the development cluster is stopping")
}

/// Sends an order to the cluster that runs in a folder.
pub(crate) async fn ask(verb: DevVerb, out: &Output) -> Result<(), Fault> {
    let (order, dir) = match verb {
        DevVerb::Kill(args) => (Order::Kill(args.node), args.data_dir),
        DevVerb::Start(args) => (Order::Start(args.node), args.data_dir),
    };
    let done = exchange(&order, dir).await?;
    let (Order::Kill(node) | Order::Start(node)) = &order;
    Ok(out.did(&Outcome { order: &order, done: &done }, node, &done)?)
}

/// What became of an order, for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    order: &'a Order,
    done: &'a str,
}

async fn exchange(order: &Order, dir: Option<PathBuf>) -> Result<String, Error> {
    let dir = dir.map_or_else(super::default_dir, Ok)?;
    let nobody = |why: String| {
        Error::new(Code::Unavailable, format!("no development cluster runs in `{}`", dir.display()))
            .why(why)
            .try_("`berth dev` starts one; --data-dir names its folder when that is not the default")
    };
    let address: SocketAddr = folder::control_of(&dir).map_err(nobody)?;
    let work = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<Answer, std::io::Error>(serde_json::from_slice(&answer)?)
    };
    let answered = timeout(ANSWER_WITHIN, work).await;
    match answered.map_err(|_| Error::new(Code::Timeout, "the development cluster does not answer"))? {
        Ok(Answer::Done(done)) => Ok(done),
        Ok(Answer::Refused { code, what, r#try }) => {
            Err(Error::new(Code::from_word(&code).unwrap_or(Code::Internal), what).try_(r#try))
        }
        Err(error) => Err(nobody(error.to_string())),
    }
}
