//! Against the rules byte by byte, against another implementation, and against itself.

mod any_bytes;
mod bounds;
mod ends;
mod peers;
mod rules;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    runtime::LocalOptions,
    task::yield_now,
};

use super::{
    By, Client, Connection, Error, Reason, Receiver, Sender, Settings, client,
    connection::PREFACE,
    decode::Decoder,
    encode::Encoder,
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITIES, PRIORITY,
        PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    },
    head::Head,
    server,
};

pub(super) const ALLOWED: Settings = Settings {
    stream_window: 64 << 10,
    window: 256 << 10,
    head_bytes: 16 << 10,
    streams: 4,
    connect_protocol: true,
    unseen_resets: 20,
    faults: Some(50),
};

pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let within = tokio::time::Duration::from_secs(60);
    runtime.expect("a runtime").block_on(async { tokio::time::timeout(within, test).await }).expect("in time");
}

pub(super) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

/// `POST http://any/echo`, without a table entry, and whatever lines follow.
pub(super) fn head(lines: &[(&str, &str)]) -> Vec<u8> {
    let literal = |name: u8, value: &str| [&[name, value.len() as u8], value.as_bytes()].concat();
    let mut block = [&[0x83, 0x86][..], &literal(0x04, "/echo"), &literal(0x01, "any")].concat();
    for (name, value) in lines {
        block.extend([0, name.len() as u8]);
        block.extend(name.as_bytes());
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    block
}

/// Answers with what came, trailers and all.
pub(super) async fn echo(request: Request<()>, mut recv: Receiver, mut send: Sender) {
    let reset = poll_fn(|cx| std::task::Poll::Ready(send.poll_reset(cx))).await;
    if reset.is_ready() {
        return;
    }
    let mut answer = Response::new(());
    answer.headers_mut().clone_from(request.headers());
    answer.headers_mut().remove("content-length");
    if send.answer(&answer, false).is_err() {
        return;
    }
    loop {
        match poll_fn(|cx| recv.poll_data(cx)).await {
            Some(Ok(mut data)) => {
                if poll_fn(|cx| send.poll_send(cx, &mut data, false)).await.is_err() {
                    return;
                }
            }
            Some(Err(_)) => return send.reset(Reason::CANCEL),
            None => break,
        }
    }
    let _ = match recv.trailers() {
        Some(trailers) => send.trailers(&trailers),
        None => poll_fn(|cx| send.poll_send(cx, &mut Bytes::new(), true)).await,
    };
}

/// Serves a connection with echoes until it ends.
pub(super) async fn serve(stream: DuplexStream, settings: Settings) -> Result<(), Error> {
    drive(server(stream, settings)).await
}

pub(super) async fn drive(mut connection: Connection<DuplexStream>) -> Result<(), Error> {
    let start = |(request, recv, send)| drop(tokio::task::spawn_local(echo(request, recv, send)));
    poll_fn(|cx| connection.poll(cx, start)).await
}

/// Reads a frame; nothing at the end.
pub(super) async fn next(stream: &mut DuplexStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// What a peer did about something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// The connection goes away for it.
    Away(Reason),
    /// A stream is reset for it.
    Reset(u32, Reason),
    /// It goes on.
    Nothing,
}

/// What becomes of a connection, of which a ping is the last frame. The answers to what was right are passed over.
pub(super) async fn done(stream: &mut DuplexStream) -> Done {
    let reason = |bytes: &[u8]| Reason(u32::from_be_bytes(bytes.try_into().expect("a reason")));
    let mut done = Done::Nothing;
    loop {
        match next(stream).await {
            Some((GOAWAY, _, _, payload)) => break Done::Away(reason(&payload[4..])),
            // And the connection goes on.
            Some((RST_STREAM, _, id, payload)) => done = Done::Reset(id, reason(&payload)),
            Some((PING, ACK, ..)) => break done,
            Some(_) => {}
            None => panic!("it ended without a word"),
        }
    }
}

/// A client whose server is written by hand, driven in a task.
pub(super) async fn by_hand(settings: Settings) -> (Client, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let (client, mut connection) = client(ours, settings);
    tokio::task::spawn_local(async move { poll_fn(|cx| connection.poll(cx, drop)).await });
    theirs.read_exact(&mut [0; PREFACE.len()]).await.expect("it begins");
    theirs.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("sent");
    (client, theirs)
}

pub(super) async fn asked(client: &Client) -> (Receiver, Sender) {
    let request = Request::get("http://any/").body(()).expect("a request");
    client.ask(client.place().await.expect("a place"), &request, true).expect("sent")
}

/// Lets every other task have its turns.
pub(super) async fn settled() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// `:status: 200`, as an index into the table that both sides know.
pub(super) const OK: &[u8] = &[0x88];
