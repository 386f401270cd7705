//! A connection of HTTP/2 from a caller or another gate, on h2 itself: a task per request and none besides.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    BoxError,
    body::OutBody,
    conn::{LINK_WINDOW, SEND_BUFFER, STREAM_WINDOW},
    gather::Gather,
    keeper::Keeper,
    pump::Pump,
    share::Share,
    wire::{Received, Wire},
    worker::{Core, Door, Work},
};

/// Requests at once on a connection from another gate: all its callers share it.
const GATE_STREAMS: u32 = 4_096;

/// Finds callers that are gone without a word, whose streams would hold slots for ever.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// How long a peer may take to read that this is the end, and to end it too.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a connection until it ends, or its requests do while the core drains.
pub(super) async fn serve<S>(core: &Rc<Core>, mut stream: S, door: Door) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    requests(core, &mut stream, door).await?;
    // What a caller sent before it read that nothing more is taken must not be answered by a reset: that would take the
    // GOAWAY with it, which says that the request may be sent again.
    let mut nowhere = tokio::io::sink();
    let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut stream, &mut nowhere)).await;
    Ok(())
}

async fn requests<S>(core: &Rc<Core>, stream: &mut S, door: Door) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &core.shared.options.limits;
    let stream = by_turns(stream);
    let gather = stream.clone();
    // Another node says nothing before this one has: so it knows that it is believed.
    let handshake = gather.drive(builder(core, door).handshake::<_, Bytes>(stream));
    let mut connection = tokio::time::timeout(limits.header_timeout, handshake).await??;
    let mut keeper = Keeper::spawn(connection.ping_pong(), PING_EVERY, PING_WITHIN);
    let mut draining = Some(core.drain.watch());
    // Another gate passes on what its own callers take, and gives up on those itself.
    let patience = (door == Door::Ingress).then_some(limits.write_timeout);
    let next = |cx: &mut Context<'_>| {
        if draining.as_mut().is_some_and(|draining| Pin::new(draining).poll(cx).is_ready()) {
            draining = None;
            connection.graceful_shutdown();
        }
        if keeper.poll_lost(cx).is_ready() {
            return Poll::Ready(None);
        }
        gather.poll_driven(cx, |cx| connection.poll_accept(cx))
    };
    let start = |(request, respond): (Request<RecvStream>, SendResponse<Bytes>)| {
        let is_head = *request.method() == Method::HEAD;
        // In a box of its own: the task itself is moved as a whole several times in its life.
        let work = door.answer(core.clone(), received(request));
        tokio::task::spawn_local(answer(work, respond, is_head, patience));
    };
    Ok(in_turns(next, start).await?)
}

/// What a connection brings is read in turns with others, and what it is told goes out at the end of each.
fn by_turns<S>(stream: S) -> Gather<Share<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Gather::new(Share::new(stream))
}

/// Starts all that comes, until nothing comes any more. What starts is the task of a request.
async fn in_turns<T, E>(
    mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<T, E>>>,
    mut start: impl FnMut(T),
) -> Result<(), E> {
    while let Some(come) = poll_fn(&mut next).await {
        start(come?);
        // A caller that opens and resets streams as fast as it can write would otherwise queue up thousands of tasks
        // before those of any other connection come to their turn.
        tokio::task::coop::consume_budget().await;
    }
    Ok(())
}

fn builder(core: &Core, door: Door) -> Builder {
    let limits = &core.shared.options.limits;
    let (streams, window) = match door {
        Door::Ingress => (limits.streams, 4 * STREAM_WINDOW),
        Door::Gate => (GATE_STREAMS, LINK_WINDOW),
    };
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams)
        .max_header_list_size(limits.header_bytes)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .max_send_buffer_size(SEND_BUFFER);
    match door {
        // WebSockets over HTTP/2 (RFC 8441). An early refusal resets its stream; what of the body is still under way then
        // is forgiven, for as many streams as a caller can have in a second of refusals.
        Door::Ingress => builder.enable_connect_protocol().max_concurrent_reset_streams(4 * streams as usize),
        // All callers of another ingress share this connection. However many of them leave before they were looked at,
        // or are refused before their body has come, the others' requests go on.
        Door::Gate => builder
            .max_pending_accept_reset_streams(streams as usize)
            .max_concurrent_reset_streams(streams as usize)
            .max_local_error_reset_streams(None),
    };
    builder
}

fn received(request: Request<RecvStream>) -> Request<Wire> {
    let (parts, stream) = request.into_parts();
    let body = Wire::Http2(Received::new(stream, &parts.headers, None));
    Request::from_parts(parts, body)
}

/// Answers one request. A caller that resets its stream ends the work on it, which is not begun for one that has done so
/// before its turn came; so does a caller that takes nothing of the answer for as long as `patience`.
async fn answer(mut work: Work, mut respond: SendResponse<Bytes>, is_head: bool, patience: Option<Duration>) {
    let pump = poll_fn(|cx| match respond.poll_reset(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(|response| send(&mut respond, response, is_head)),
    });
    let pump = pump.await;
    drop(work);
    if let Some(pump) = pump {
        let mut pump = match patience {
            Some(patience) => pump.patient_for(patience),
            None => pump,
        };
        // Who stopped it knows why.
        let _ = poll_fn(|cx| pump.poll(cx)).await;
    }
}

/// Sends the head of an answer and returns what sends the rest.
fn send(respond: &mut SendResponse<Bytes>, response: Response<OutBody>, is_head: bool) -> Option<Pump<OutBody>> {
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
    {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let is_whole = is_head || body.is_end_stream();
    match respond.send_response(Response::from_parts(parts, ()), is_whole) {
        Ok(stream) => (!is_whole).then(|| Pump::new(body, stream, Reason::INTERNAL_ERROR)),
        Err(error) => {
            tracing::debug!(%error, "an answer was not taken");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, convert::Infallible, io::Cursor};

    use tokio::{runtime::LocalOptions, task::yield_now};
    use tokio_util::io::InspectReader;

    use super::*;

    #[test]
    fn a_connection_on_which_all_has_come_leaves_others_their_turns() {
        /// All of them are there at once.
        const COME: u32 = 10_000;
        /// What one turn may start: as much as a task may do of anything, and some.
        const IN_A_TURN: u32 = 256;
        let started = Rc::new(Cell::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(async {
            let (next, count) = (started.clone(), started.clone());
            let next = move |_: &mut Context<'_>| Poll::Ready((next.get() < COME).then_some(Ok::<_, Infallible>(())));
            let connection = tokio::task::spawn_local(in_turns(next, move |()| count.set(count.get() + 1)));
            let other = tokio::task::spawn_local(async move {
                let mut seen = 0;
                while started.get() < COME {
                    let since = started.get() - seen;
                    assert!(since <= IN_A_TURN, "{since} requests were started in one turn");
                    seen = started.get();
                    yield_now().await;
                }
                seen
            });
            connection.await.expect("no panic").expect("no error");
            assert!(other.await.expect("no panic") > COME - 2 * IN_A_TURN, "it had its turns to the end");
        });
    }

    /// Pings, which cost their sender next to nothing.
    #[test]
    fn a_connection_that_brings_frames_without_end_leaves_others_their_turns() {
        /// All of it is there at once.
        const COME: usize = 4 << 20;
        /// What may be read between two turns of another: a share, and one more where the connection woke itself.
        const IN_A_TURN: usize = 64 << 10;
        const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0........";
        let brought = Rc::new(Cell::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(async {
            let bytes = [BEGIN, &PING.repeat(COME / PING.len())].concat();
            let (count, come) = (brought.clone(), bytes.len());
            let reader = InspectReader::new(Cursor::new(bytes), move |read| count.set(count.get() + read.len()));
            let stream = by_turns(tokio::io::join(reader, tokio::io::sink()));
            let connection = tokio::task::spawn_local(async move {
                let gather = stream.clone();
                let mut connection = gather.drive(Builder::new().handshake::<_, Bytes>(stream)).await?;
                let next = poll_fn(|cx| gather.poll_driven(cx, |cx| connection.poll_accept(cx)));
                next.await.map_or(Ok(()), |come| come.map(drop))
            });
            let other = tokio::task::spawn_local(async move {
                let mut seen = 0;
                while brought.get() < come {
                    let since = brought.get() - seen;
                    assert!(since <= IN_A_TURN, "{since} bytes were read in one turn");
                    seen = brought.get();
                    yield_now().await;
                }
                seen
            });
            connection.await.expect("no panic").expect("no error");
            assert!(other.await.expect("no panic") > come - 2 * IN_A_TURN, "it had its turns to the end");
        });
    }
}
