//! The ends of streams and connections.

use std::{io, pin::Pin, task::Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// What was under way to the connection when its end was announced is served; what comes after the last call is not, and its
/// caller knows.
#[test]
fn a_goodbye_takes_what_is_under_way() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let connection = server(ours, ALLOWED);
        connection.say_goodbye();
        let served = tokio::task::spawn_local(drive(connection));
        theirs.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("sent");
        let question = loop {
            match next(&mut theirs).await.expect("it goes on") {
                (GOAWAY, _, _, payload) => assert_eq!(payload[..4], (u32::MAX >> 1).to_be_bytes(), "any stream"),
                (PING, 0, _, payload) => break payload,
                _ => {}
            }
        };
        theirs.write_all(&frame(PING, ACK, 0, &question)).await.expect("sent");
        // A stream whose head was written behind the answer.
        theirs.write_all(&frame(HEADERS, END_HEADERS, 1, &head(&[]))).await.expect("sent");
        let last = loop {
            match next(&mut theirs).await.expect("it goes on") {
                (GOAWAY, _, _, payload) => break payload,
                (RST_STREAM, ..) => panic!("the stream was refused"),
                _ => {}
            }
        };
        assert_eq!(last[..4], 1_u32.to_be_bytes(), "the last stream that is looked at");
        theirs.write_all(&frame(HEADERS, END_HEADERS, 3, &head(&[]))).await.expect("sent");
        theirs.write_all(&frame(DATA, END_STREAM, 1, b"late")).await.expect("sent");
        let mut echoed = Vec::new();
        while let Some((kind, flags, id, payload)) = next(&mut theirs).await {
            assert_ne!(id, 3, "nobody looks at it");
            if kind == DATA {
                echoed.extend(payload);
            }
            if flags & END_STREAM != 0 && kind == DATA {
                break;
            }
        }
        assert_eq!(echoed, b"late");
        served.await.expect("no panic").expect("in order");
    });
}

#[test]
fn what_a_server_that_goes_away_did_not_look_at_is_told_apart() {
    run(async {
        let (client, mut theirs) = by_hand(ALLOWED).await;
        let (mut first, mut second) = (asked(&client).await, asked(&client).await);
        let last = [1_u32, 0].map(u32::to_be_bytes).concat();
        theirs.write_all(&frame(GOAWAY, 0, 0, &last)).await.expect("sent");
        let unseen = poll_fn(|cx| second.0.poll_answer(cx)).await.expect_err("nobody looked at it");
        assert_eq!(unseen, Error::Away(Reason::NO_ERROR, By::Peer));
        assert!(!client.is_usable());
        assert!(client.place().await.is_err(), "nothing more goes there");
        theirs.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, OK)).await.expect("sent");
        poll_fn(|cx| first.0.poll_answer(cx)).await.expect("it was looked at");
    });
}

/// A caller that goes is heard of by who works for it, on either side.
#[test]
fn who_leaves_is_heard_of() {
    run(async {
        let (ours, theirs) = tokio::io::duplex(10_000);
        let (left, was_left) = tokio::sync::oneshot::channel();
        let left = Rc::new(RefCell::new(Some(left)));
        let mut served = server(theirs, ALLOWED);
        tokio::task::spawn_local(async move {
            let start = |(_, recv, mut send): (Request<()>, Receiver, Sender)| {
                let left = Rc::clone(&left);
                tokio::task::spawn_local(async move {
                    let error = poll_fn(|cx| send.poll_reset(cx)).await;
                    drop(recv);
                    left.borrow_mut().take().expect("one request").send(error).expect("the test waits");
                });
            };
            poll_fn(|cx| served.poll(cx, start)).await
        });
        let (client, mut connection) = client(ours, ALLOWED);
        tokio::task::spawn_local(async move { poll_fn(|cx| connection.poll(cx, drop)).await });
        let place = client.place().await.expect("a place");
        let request = Request::get("http://any/").body(()).expect("a request");
        let asked = client.ask(place, &request, true).expect("sent");
        drop(asked);
        assert_eq!(was_left.await.expect("it heard"), Error::Reset(Reason::CANCEL, By::Peer));
    });
}

/// What was answered before a caller broke the rules is sent, and then why it ends.
#[test]
fn what_was_said_before_the_end_is_sent() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(10_000);
        let served = tokio::task::spawn_local(serve(ours, ALLOWED));
        let window = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes());
        theirs.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &window].concat()).await.expect("sent");
        // More than the stream takes until somebody reads.
        for id in [1, 3, 5, 7] {
            theirs.write_all(&frame(HEADERS, END_HEADERS, id, &head(&[]))).await.expect("sent");
            theirs.write_all(&frame(DATA, END_STREAM, id, &[7; 16 << 10])).await.expect("sent");
        }
        settled().await;
        theirs.write_all(&frame(PING, 0, 1, &[0; 8])).await.expect("sent");
        settled().await;
        let mut whole = 0;
        loop {
            match next(&mut theirs).await.expect("it says why") {
                (GOAWAY, ..) => break,
                (DATA, flags, ..) if flags & END_STREAM != 0 => whole += 1,
                _ => {}
            }
        }
        assert_eq!(whole, 4, "whole answers");
        served.await.expect("no panic").expect_err("it ended");
    });
}

/// A stream that brings what it has and takes nothing.
struct Deaf {
    bytes: Vec<u8>,
    at: usize,
    /// It ends behind what it has.
    is_gone: bool,
}

impl AsyncRead for Deaf {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let from = self.at;
        let part = (self.bytes.len() - from).min(buf.remaining());
        if part == 0 && !self.is_gone {
            return Poll::Pending;
        }
        buf.put_slice(&self.bytes[from..from + part]);
        self.at += part;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn deaf(bytes: Vec<u8>, is_gone: bool) -> Deaf {
    Deaf { bytes, at: 0, is_gone }
}

/// What nothing can be sent on takes no more requests, although it has not ended yet.
#[test]
fn nothing_is_asked_where_nothing_can_be_sent() {
    run(async {
        let (client, mut connection) = client(deaf(frame(SETTINGS, 0, 0, &[]), false), ALLOWED);
        let place = client.place().await.expect("a place");
        assert!(client.is_usable());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(connection.poll(&mut cx, drop).is_pending(), "what is under way may still come");
        assert!(!client.is_usable());
        let request = Request::get("http://any/").body(()).expect("a request");
        assert!(client.ask(place, &request, true).is_err());
    });
}

/// A server that has answered and is gone has answered.
#[test]
fn what_has_come_is_read_although_nothing_can_be_sent() {
    run(async {
        let part = frame(DATA, 0, 1, &[7; 16 << 10]);
        let last = [1_u32, 0].map(u32::to_be_bytes).concat();
        let begin = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_HEADERS, 1, OK)].concat();
        let end = [frame(DATA, END_STREAM, 1, b""), frame(GOAWAY, 0, 0, &last)].concat();
        let settings = Settings { stream_window: 1 << 20, window: 1 << 20, ..ALLOWED };
        let (client, mut connection) = client(deaf([begin, part.repeat(20), end].concat(), true), settings);
        let (mut first, mut second) = (asked(&client).await, asked(&client).await);
        tokio::task::spawn_local(async move { poll_fn(|cx| connection.poll(cx, drop)).await });
        poll_fn(|cx| first.0.poll_answer(cx)).await.expect("an answer");
        let mut bytes = 0;
        while let Some(data) = poll_fn(|cx| first.0.poll_data(cx)).await {
            bytes += data.expect("data").len();
        }
        assert_eq!(bytes, 20 * (16 << 10));
        let unseen = poll_fn(|cx| second.0.poll_answer(cx)).await.expect_err("nobody looked at it");
        assert_eq!(unseen, Error::Away(Reason::NO_ERROR, By::Peer));
    });
}

/// An end, and an order to stop sending behind it, are an end; before it, they are none.
#[test]
fn a_body_that_was_cut_off_is_not_whole() {
    let stop = frame(RST_STREAM, 0, 1, &0_u32.to_be_bytes());
    for (what, flags, is_whole) in [("whole", END_STREAM, true), ("cut off", 0, false)] {
        run(async {
            let (client, mut theirs) = by_hand(ALLOWED).await;
            let request = Request::post("http://any/").body(()).expect("a request");
            let (mut recv, _send) = client.ask(client.place().await.expect("a place"), &request, false).expect("sent");
            let answer = [frame(HEADERS, END_HEADERS, 1, OK), frame(DATA, flags, 1, b"half"), stop.clone()].concat();
            theirs.write_all(&answer).await.expect("sent");
            poll_fn(|cx| recv.poll_answer(cx)).await.expect("an answer");
            assert_eq!(poll_fn(|cx| recv.poll_data(cx)).await, Some(Ok(Bytes::from_static(b"half"))));
            let end = poll_fn(|cx| recv.poll_data(cx)).await;
            assert_eq!(end.is_none(), is_whole, "{what}: {end:?}");
        });
    }
}
