//! A connection of HTTP/2 from a caller or another gate: a task per request and none besides.

use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Duration};

use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::{
    BoxError,
    body::OutBody,
    conn::{LINK_WINDOW, STREAM_WINDOW},
    keeper::Keeper,
    pump::{Pump, Stopped},
    wire::{Received, Wire},
    worker::{Core, Door, Work},
};
use crate::http2::{self, Reason, Receiver, Sender, Settings};

/// Requests at once on a connection from another gate: all its callers share it.
const GATE_STREAMS: u32 = 4_096;

/// Finds callers that are gone without a word, whose streams would hold slots for ever.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// Streams a caller may open and reset at once before anybody has looked at them. More is an attack.
const UNSEEN_RESETS: u32 = 20;

/// Streams of a caller's connection that may break the rules.
const FAULTS: u32 = 1_024;

/// How long a peer may take to read that this is the end, and to end it too.
const LINGER: Duration = Duration::from_secs(1);

/// What of it is still read.
const LINGER_BYTES: u64 = 1 << 20;

/// Serves a connection until it ends, or its requests do while the core drains.
pub(super) async fn serve<S>(core: &Rc<Core>, mut stream: S, door: Door) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let served = requests(core, &mut stream, door).await;
    // What a caller sent before it read that nothing more is taken must not be answered by a reset: that would take with it
    // what was sent last, answers and the word that a request may be sent again.
    let mut nowhere = tokio::io::sink();
    let mut rest = stream.take(LINGER_BYTES);
    let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere)).await;
    served
}

async fn requests<S>(core: &Rc<Core>, stream: &mut S, door: Door) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &core.shared.options.limits;
    // Another gate passes on what its own callers take, and gives up on those itself.
    let patience = (door == Door::Ingress).then_some(limits.answer_patience);
    let start = |(request, recv, send): (Request<()>, Receiver, Sender)| {
        let is_head = *request.method() == Method::HEAD;
        // In a box of its own: the task itself is moved as a whole several times in its life.
        let work = door.answer(core.clone(), received(request, recv));
        tokio::task::spawn_local(answer(work, send, is_head, patience));
    };
    // Another node says nothing before this one has: so it knows that it is believed.
    let mut connection = http2::server(stream, settings(core, door));
    tokio::time::timeout(limits.header_timeout, connection.begun(start)).await??;
    let mut keeper = Keeper::spawn(connection.pings(), PING_EVERY, PING_WITHIN);
    let mut draining = Some(core.drain.watch());
    let served = poll_fn(|cx| {
        if draining.as_mut().is_some_and(|draining| Pin::new(draining).poll(cx).is_ready()) {
            draining = None;
            connection.say_goodbye();
        }
        if keeper.poll_lost(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        connection.poll(cx, start)
    });
    Ok(served.await?)
}

fn settings(core: &Core, door: Door) -> Settings {
    let limits = &core.shared.options.limits;
    let common = Settings {
        stream_window: STREAM_WINDOW,
        window: LINK_WINDOW,
        head_bytes: limits.header_bytes,
        streams: GATE_STREAMS,
        connect_protocol: false,
        // All callers of another ingress share this connection. However many of them leave before they were looked at,
        // or are refused before their body has come, the others' requests go on.
        unseen_resets: u32::MAX,
        faults: None,
    };
    match door {
        Door::Gate => common,
        // WebSockets over HTTP/2 (RFC 8441).
        Door::Ingress => Settings {
            window: 4 * STREAM_WINDOW,
            streams: limits.streams,
            connect_protocol: true,
            unseen_resets: UNSEEN_RESETS,
            faults: Some(FAULTS),
            ..common
        },
    }
}

fn received(request: Request<()>, recv: Receiver) -> Request<Wire> {
    let body = Wire::Http2(Received::new(recv, request.headers(), None));
    request.map(|()| body)
}

/// Answers one request. A caller that resets its stream ends the work on it, which is not begun for one that has done so
/// before its turn came; so does a caller that takes too little of the answer, for which that waits as long as `patience`.
async fn answer(mut work: Work, send: Sender, is_head: bool, patience: Option<Duration>) {
    let mut send = Some(send);
    let pump = poll_fn(|cx| match send.as_mut().map(|send| send.poll_reset(cx)) {
        Some(Poll::Pending) => work.as_mut().poll(cx).map(|response| begin(send.take()?, response, is_head)),
        _ => Poll::Ready(None),
    });
    let pump = pump.await;
    drop(work);
    if let Some(pump) = pump {
        let mut pump = match patience {
            Some(patience) => pump.patient_for(patience),
            None => pump,
        };
        // Who stopped it otherwise knows why.
        if poll_fn(|cx| pump.poll(cx)).await == Err(Stopped::Slow) {
            pump.into_body().give_up();
        }
    }
}

/// Sends the head of an answer and returns what sends the rest.
fn begin(mut send: Sender, response: Response<OutBody>, is_head: bool) -> Option<Pump<OutBody>> {
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
    {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let is_whole = is_head || body.is_end_stream();
    match send.answer(&Response::from_parts(parts, ()), is_whole) {
        Ok(()) => (!is_whole).then(|| Pump::new(body, send, Reason::INTERNAL_ERROR)),
        Err(error) => {
            tracing::debug!(%error, "an answer was not taken");
            None
        }
    }
}
