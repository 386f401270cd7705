//! The rules, byte by byte.

use super::*;

/// RFC 9113, section by section.
#[test]
fn what_breaks_the_rules_ends_a_stream_or_the_connection() {
    use Done::{Away, Nothing, Reset};
    let open = || frame(HEADERS, END_HEADERS, 1, &head(&[]));
    let whole = |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &head(&[]));
    let window = |id, more: u32| frame(WINDOW_UPDATE, 0, id, &more.to_be_bytes());
    let lines = |lines: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(lines));
    let settings =
        |name: u16, value: u32| frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let protocol = Away(Reason::PROTOCOL_ERROR);
    let size = Away(Reason::FRAME_SIZE_ERROR);
    let malformed = Reset(1, Reason::PROTOCOL_ERROR);
    let cases: Vec<(&str, Vec<Vec<u8>>, Done)> = vec![
        ("4.1: a kind that nobody knows", vec![frame(0xbb, 0xff, 0, b"what")], Nothing),
        ("4.1: the bit that means nothing", vec![open(), frame(DATA, END_STREAM, 1 | 1 << 31, b"x")], Nothing),
        ("4.2: a frame that is too long", vec![open(), frame(DATA, 0, 1, &[0; (16 << 10) + 1])], size),
        ("4.3: a block that is none", vec![frame(HEADERS, END_HEADERS, 1, &[0x40])], Away(Reason::COMPRESSION_ERROR)),
        ("4.3: an index of nothing", vec![frame(HEADERS, END_HEADERS, 1, &[0xff])], Away(Reason::COMPRESSION_ERROR)),
        (
            "4.3: another frame within a head",
            vec![frame(HEADERS, 0, 1, &head(&[])), frame(PING, 0, 0, &[0; 8])],
            protocol,
        ),
        (
            "4.3: another stream within a head",
            vec![frame(HEADERS, 0, 1, &head(&[])), frame(CONTINUATION, 4, 3, &[])],
            protocol,
        ),
        (
            "4.3: a head in parts",
            vec![frame(HEADERS, 1, 1, &head(&[])[..2]), frame(CONTINUATION, 4, 1, &head(&[])[2..])],
            Nothing,
        ),
        ("5.1: data on a stream that never was", vec![frame(DATA, 0, 1, b"x")], protocol),
        ("5.1: a reset of what never was", vec![frame(RST_STREAM, 0, 1, &[0; 4])], protocol),
        ("5.1: a window for what never was", vec![window(1, 1)], protocol),
        ("5.1: data behind the end", vec![whole(1), frame(DATA, 0, 1, b"x")], Reset(1, Reason::STREAM_CLOSED)),
        ("5.1: a head on a stream that is over", vec![whole(1), frame(RST_STREAM, 0, 1, &[0; 4]), whole(1)], Nothing),
        (
            "5.1: a window for a stream that is over",
            vec![open(), frame(RST_STREAM, 0, 1, &[0; 4]), window(1, 1)],
            Nothing,
        ),
        ("5.1.1: a stream of the other side", vec![whole(2)], protocol),
        (
            "5.1.2: one stream too many",
            vec![
                open(),
                frame(HEADERS, 4, 3, &head(&[])),
                frame(HEADERS, 4, 5, &head(&[])),
                frame(HEADERS, 4, 7, &head(&[])),
                frame(HEADERS, 4, 9, &head(&[])),
            ],
            Reset(9, Reason::REFUSED_STREAM),
        ),
        ("6.1: data for the connection", vec![frame(DATA, 0, 0, b"x")], protocol),
        ("6.1: more padding than there is", vec![open(), frame(DATA, PADDED, 1, &[4, 0, 0, 0])], protocol),
        ("6.1: nothing but padding", vec![open(), frame(DATA, PADDED | END_STREAM, 1, &[3, 0, 0, 0])], Nothing),
        ("6.1: padding without a length", vec![open(), frame(DATA, PADDED, 1, &[])], size),
        ("6.2: a head for the connection", vec![frame(HEADERS, END_HEADERS, 0, &head(&[]))], protocol),
        ("6.2: a priority that is cut off", vec![frame(HEADERS, END_HEADERS | PRIORITY, 1, &[0; 4])], size),
        (
            "6.2: a head with a priority",
            vec![frame(HEADERS, 5 | PRIORITY, 1, &[&[0; 5][..], &head(&[])].concat())],
            Nothing,
        ),
        ("6.3: priorities", vec![frame(PRIORITIES, 0, 1, &[0; 5])], Nothing),
        ("6.3: the priority of the connection", vec![frame(PRIORITIES, 0, 0, &[0; 5])], protocol),
        ("6.3: half a priority", vec![open(), frame(PRIORITIES, 0, 1, &[0; 4])], size),
        ("6.4: a reset of the connection", vec![frame(RST_STREAM, 0, 0, &[0; 4])], protocol),
        ("6.4: a reset without a reason", vec![open(), frame(RST_STREAM, 0, 1, &[0; 3])], size),
        ("6.5: settings of a stream", vec![frame(SETTINGS, 0, 1, &[])], protocol),
        ("6.5: half a setting", vec![frame(SETTINGS, 0, 0, &[0; 3])], size),
        ("6.5: an answer that says something", vec![frame(SETTINGS, ACK, 0, &[0; 6])], size),
        ("6.5.2: push that is neither on nor off", vec![settings(2, 2)], protocol),
        ("6.5.2: a window without bound", vec![settings(4, 1 << 31)], Away(Reason::FLOW_CONTROL_ERROR)),
        ("6.5.2: frames that are too small", vec![settings(5, 100)], protocol),
        ("6.5.2: frames that are too large", vec![settings(5, 1 << 24)], protocol),
        ("6.5.2: a setting that nobody knows", vec![settings(0xabcd, 7)], Nothing),
        ("6.6: a promise", vec![open(), frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])], protocol),
        ("6.7: a ping of a stream", vec![frame(PING, 0, 1, &[0; 8])], protocol),
        ("6.7: a short ping", vec![frame(PING, 0, 0, &[0; 6])], size),
        ("6.7: an answer nobody waits for", vec![frame(PING, ACK, 0, &[9; 8])], Nothing),
        ("6.8: a stream goes away", vec![frame(GOAWAY, 0, 1, &[0; 8])], protocol),
        ("6.8: who goes away says nothing", vec![frame(GOAWAY, 0, 0, &[0; 4])], size),
        ("6.9: no more window", vec![window(0, 0)], protocol),
        ("6.9: no more window of a stream", vec![open(), window(1, 0)], malformed),
        ("6.9: half a window", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], size),
        ("6.9.1: more window than there can be", vec![window(0, (1 << 31) - 1)], Away(Reason::FLOW_CONTROL_ERROR)),
        ("6.9.1: the same of a stream", vec![open(), window(1, (1 << 31) - 1)], Reset(1, Reason::FLOW_CONTROL_ERROR)),
        (
            "6.9.2: the same for all streams",
            vec![open(), window(1, (1 << 31) - 1 - 65_535), settings(4, 65_536)],
            Away(Reason::FLOW_CONTROL_ERROR),
        ),
        ("6.10: a part of nothing", vec![frame(CONTINUATION, END_HEADERS, 1, &head(&[]))], protocol),
        ("6.10: a part behind a whole", vec![open(), frame(CONTINUATION, END_HEADERS, 1, &[])], protocol),
        ("8.1: what follows a body does not end", vec![open(), open()], malformed),
        ("8.1: lines about the message behind it", vec![open(), whole(1)], malformed),
        (
            "8.1.1: more than it says",
            vec![frame(HEADERS, 4, 1, &head(&[("content-length", "1")])), frame(DATA, 1, 1, b"xy")],
            malformed,
        ),
        (
            "8.1.1: less than it says",
            vec![frame(HEADERS, 4, 1, &head(&[("content-length", "3")])), frame(DATA, 1, 1, b"xy")],
            malformed,
        ),
        ("8.1.1: nothing of what it says", vec![lines(&[("content-length", "3")])], malformed),
        (
            "8.1.1: as much as it says",
            vec![frame(HEADERS, 4, 1, &head(&[("content-length", "2")])), frame(DATA, 1, 1, b"xy")],
            Nothing,
        ),
        ("8.2.1: capitals", vec![lines(&[("X-A", "1")])], malformed),
        ("8.2.1: a line within a value", vec![lines(&[("x-a", "1\r\nx-b: 2")])], malformed),
        ("8.2.2: a header of a connection", vec![lines(&[("connection", "close")])], malformed),
        ("8.2.2: an older one", vec![lines(&[("proxy-connection", "keep-alive")])], malformed),
        ("8.2.2: codings of the other protocol", vec![lines(&[("te", "trailers, deflate")])], malformed),
        ("8.2.2: trailers are welcome", vec![lines(&[("te", "trailers")])], Nothing),
        ("8.3: nobody knows it", vec![lines(&[(":test", "1")])], malformed),
        ("8.3: what only an answer says", vec![lines(&[(":status", "200")])], malformed),
        ("8.3: twice", vec![lines(&[(":path", "/")])], malformed),
        ("8.3: behind another", vec![lines(&[("x-a", "1"), (":authority", "b")])], malformed),
        ("8.3.1: no path", vec![frame(HEADERS, 5, 1, &[0x82, 0x86])], malformed),
        ("8.3.1: no scheme", vec![frame(HEADERS, 5, 1, &[0x82, 0x84])], malformed),
        ("8.3.1: no method", vec![frame(HEADERS, 5, 1, &[0x84, 0x86])], malformed),
        ("8.3.1: an empty path", vec![frame(HEADERS, 5, 1, &[0x82, 0x86, 0x04, 0x00])], malformed),
        ("8.3.1: all that is needed", vec![frame(HEADERS, 5, 1, &[0x82, 0x86, 0x84])], Nothing),
    ];
    for (what, frames, expected) in cases {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            let served = tokio::task::spawn_local(serve(ours, ALLOWED));
            let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            theirs.write_all(&[begin, frames.concat(), frame(PING, 0, 0, &[7; 8])].concat()).await.expect("sent");
            assert_eq!(done(&mut theirs).await, expected, "{what}");
            if matches!(expected, Away(_)) {
                served.await.expect("no panic").expect_err("it ended");
            }
        });
    }
}

#[test]
fn who_does_not_speak_it_is_told_so() {
    for begin in [&b"GET / HTTP/1.1\r\nhost: h\r\n\r\n......"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            let served = tokio::task::spawn_local(serve(ours, ALLOWED));
            theirs.write_all(begin).await.expect("sent");
            assert_eq!(done(&mut theirs).await, Done::Away(Reason::PROTOCOL_ERROR));
            served.await.expect("no panic").expect_err("it ended");
        });
    }
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        tokio::task::spawn_local(serve(ours, ALLOWED));
        theirs.write_all(&[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()).await.expect("sent");
        assert_eq!(done(&mut theirs).await, Done::Away(Reason::PROTOCOL_ERROR), "settings come first");
    });
}

/// What breaks the rules in an answer ends its request; what no server may say, the connection.
#[test]
fn answers_that_break_the_rules_are_none() {
    let answer = |flags, block: &[u8]| frame(HEADERS, END_HEADERS | flags, 1, block);
    let length = [OK, &[0x0f, 0x0d, 1, b'2']].concat();
    let reset = |reason| Error::Reset(reason, By::Us);
    let malformed = Some(reset(Reason::PROTOCOL_ERROR));
    let away = Some(Error::Away(Reason::PROTOCOL_ERROR, By::Us));
    for (what, frames, expected) in [
        ("an answer", vec![answer(END_STREAM, OK)], None),
        ("news before it", vec![answer(0, &[0x08, 3, b'1', b'0', b'3']), answer(END_STREAM, OK)], None),
        ("no status", vec![answer(END_STREAM, &[])], malformed),
        ("a method", vec![answer(END_STREAM, &[OK, &[0x82]].concat())], malformed),
        ("news as the last word", vec![answer(END_STREAM, &[0x08, 3, b'1', b'0', b'3'])], malformed),
        ("another protocol", vec![answer(0, &[0x08, 3, b'1', b'0', b'1'])], malformed),
        ("data before it", vec![frame(DATA, END_STREAM, 1, b"x")], malformed),
        ("less than it says", vec![answer(END_STREAM, &length)], malformed),
        ("a stream of its own", vec![frame(HEADERS, 5, 2, OK)], away),
        ("a stream that nobody opened", vec![frame(HEADERS, 5, 3, OK)], away),
        ("a promise", vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])], away),
        ("its end", vec![frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())], Some(Error::Reset(Reason::CANCEL, By::Peer))),
    ] {
        run(async {
            let (client, mut theirs) = by_hand(ALLOWED).await;
            let (mut recv, _send) = asked(&client).await;
            theirs.write_all(&frames.concat()).await.expect("sent");
            let answered = poll_fn(|cx| recv.poll_answer(cx)).await;
            assert_eq!(answered.err(), expected, "{what}");
        });
    }
}

/// The table is told by every head, whatever becomes of its request.
#[test]
fn heads_of_requests_that_are_refused_are_read_all_the_same() {
    // `x-number: 7`, which goes into the table, and is named by its place there.
    let number = [&[0x40, 8][..], b"x-number", &[1, b'7']].concat();
    let named = [&head(&[])[..], &[0xbe]].concat();
    let long = "x".repeat(100);
    let many: Vec<(&str, &str)> = (0..150).map(|_| ("x-many", &*long)).collect();
    for (what, bad, expected) in [
        ("malformed", [head(&[("X-A", "1")]), number.clone()].concat(), Done::Reset(1, Reason::PROTOCOL_ERROR)),
        ("too large", [head(&many), number.clone()].concat(), Done::Nothing),
    ] {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            tokio::task::spawn_local(serve(ours, ALLOWED));
            let parts = bad.chunks(16 << 10).collect::<Vec<_>>();
            let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            let last = if parts.len() == 1 { END_HEADERS } else { 0 };
            let mut frames = frame(HEADERS, END_STREAM | last, 1, parts[0]);
            for (at, part) in parts.iter().enumerate().skip(1) {
                let last = if at + 1 == parts.len() { END_HEADERS } else { 0 };
                frames.extend(frame(CONTINUATION, last, 1, part));
            }
            theirs.write_all(&[begin, frames, frame(PING, 0, 0, &[7; 8])].concat()).await.expect("sent");
            assert_eq!(done(&mut theirs).await, expected, "{what}");
            theirs.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &named)).await.expect("sent");
            let block = loop {
                match next(&mut theirs).await.expect("it goes on") {
                    (HEADERS, _, 3, block) => break block,
                    (GOAWAY | RST_STREAM, ..) => panic!("{what}: it was not read"),
                    _ => {}
                }
            };
            let mut answer = Head::new(16 << 10);
            Decoder::default().decode(&block, &mut answer).expect("a block");
            let (answer, _) = answer.response().expect("an answer");
            assert_eq!(answer.headers()["x-number"], "7", "{what}");
        });
    }
}

/// Streams that are opened and reset before anybody looks, or that break the rules, are forgiven so many times.
#[test]
fn what_is_forgiven_has_a_bound() {
    let pair = |id: u32| {
        [frame(HEADERS, END_HEADERS, id, &head(&[])), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
    };
    let malformed = |id: u32| frame(HEADERS, END_HEADERS | END_STREAM, id, &head(&[("X-A", "1")]));
    let calm = Done::Away(Reason::ENHANCE_YOUR_CALM);
    type Frames<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let cases: [(&str, Frames<'_>, u32, u32, bool); 4] = [
        ("as many at once as are forgiven", &pair, 20, 1, false),
        ("one more", &pair, 21, 1, true),
        ("as many, looked at between", &pair, 20, 5, false),
        ("faults, over the connection's life", &malformed, 17, 3, true),
    ];
    for (what, frames, at_once, times, is_cut_off) in cases {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            tokio::task::spawn_local(serve(ours, ALLOWED));
            theirs.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("sent");
            let mut last = Done::Nothing;
            for time in 0..times {
                let ids = (0..at_once).map(|at| 2 * (time * at_once + at) + 1);
                let burst: Vec<u8> = ids.flat_map(frames).chain(frame(PING, 0, 0, &[7; 8])).collect();
                theirs.write_all(&burst).await.expect("sent");
                last = done(&mut theirs).await;
                settled().await;
            }
            assert_eq!(last == calm, is_cut_off, "{what}: {last:?}");
        });
    }
}
