//! What is bounded: windows, pieces, answers, turns, streams.

use super::*;

/// What the peer may not send, it may not; and what was taken makes room again, for streams that were given up as well.
#[test]
fn windows_hold_and_open_again() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        tokio::task::spawn_local(drive_unread(ours));
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS, 1, &head(&[]))].concat();
        theirs.write_all(&begin).await.expect("sent");
        let part = frame(DATA, 0, 1, &[0; 16 << 10]);
        theirs.write_all(&part.repeat(4)).await.expect("as much as is allowed");
        theirs.write_all(&[frame(DATA, 0, 1, b"x"), frame(PING, 0, 0, &[7; 8])].concat()).await.expect("sent");
        assert_eq!(done(&mut theirs).await, Done::Reset(1, Reason::FLOW_CONTROL_ERROR));
        // The connection's own window is larger than what streams that are over have had of it.
        for id in (3..60).step_by(2) {
            theirs.write_all(&frame(HEADERS, END_HEADERS, id, &head(&[]))).await.expect("sent");
            theirs
                .write_all(&[part.clone(), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat())
                .await
                .expect("sent");
            // Late, and of nobody's use.
            theirs.write_all(&frame(DATA, 0, 1, &[0; 16 << 10])).await.expect("sent");
        }
        theirs.write_all(&frame(PING, 0, 0, &[7; 8])).await.expect("sent");
        let mut room = 0;
        loop {
            match next(&mut theirs).await.expect("it goes on") {
                (WINDOW_UPDATE, _, 0, payload) => room += u32::from_be_bytes(payload.try_into().expect("a window")),
                (PING, ACK, ..) => break,
                (GOAWAY, ..) => panic!("it goes away"),
                _ => {}
            }
        }
        // All of it once, but for what is not worth a frame yet.
        let sent = (4 + 2 * 29) * (16 << 10) + 1;
        assert!(room <= sent && room + ALLOWED.window / 2 > sent, "{room} bytes of {sent} were given back");
    });
}

/// Who was answered may end what it sends. It is told to stop when it has no room left, or when too many do not end.
#[test]
fn who_is_answered_early_is_told_to_stop_late() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        tokio::task::spawn_local(async {
            let mut connection = server(ours, ALLOWED);
            let answer = |(_, _, mut send): (Request<()>, Receiver, Sender)| {
                send.answer(&Response::new(()), true).expect("it is open");
            };
            poll_fn(|cx| connection.poll(cx, answer)).await
        });
        let ping = frame(PING, 0, 0, &[7; 8]);
        let begun = |id| [frame(HEADERS, END_HEADERS, id, &head(&[])), ping.clone()].concat();
        let part = |flags, id| [frame(DATA, flags, id, &[0; 16 << 10]), ping.clone()].concat();
        theirs.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("sent");
        let told = Done::Reset(3, Reason::NO_ERROR);
        for (sent, expected) in [
            (begun(1), Done::Nothing),
            (part(END_STREAM, 1), Done::Nothing),
            (begun(3), Done::Nothing),
            ([part(0, 3), part(0, 3), part(0, 3)].concat(), Done::Nothing),
            (vec![], Done::Nothing),
            (vec![], Done::Nothing),
            (part(0, 3), told),
            (part(0, 3), Done::Nothing),
            // Its trailers, or that it gives up, are an end as well.
            (begun(5), Done::Nothing),
            ([frame(HEADERS, END_HEADERS | END_STREAM, 5, &[]), ping.clone()].concat(), Done::Nothing),
            (begun(7), Done::Nothing),
            ([frame(RST_STREAM, 0, 7, &8_u32.to_be_bytes()), ping.clone()].concat(), Done::Nothing),
        ] {
            theirs.write_all(&sent).await.expect("sent");
            assert_eq!(done(&mut theirs).await, expected);
        }
        for at in 0..65 {
            theirs.write_all(&begun(9 + 2 * at)).await.expect("sent");
            let oldest = if at < 64 { Done::Nothing } else { Done::Reset(9, Reason::NO_ERROR) };
            assert_eq!(done(&mut theirs).await, oldest, "{at}");
        }
    });
}

/// Keeps requests for ever and reads nothing of them, until they are reset.
async fn drive_unread(stream: DuplexStream) {
    let mut connection = server(stream, ALLOWED);
    let keep = |(_, recv, mut send): (Request<()>, Receiver, Sender)| {
        tokio::task::spawn_local(async move {
            poll_fn(|cx| send.poll_reset(cx)).await;
            drop(recv);
        });
    };
    let _ = poll_fn(|cx| connection.poll(cx, keep)).await;
}

/// Heads are not data, and no window holds them back.
#[test]
fn two_sides_that_have_much_to_say_do_not_wait_for_each_other() {
    run(async {
        let (ours, theirs) = tokio::io::duplex(10_000);
        let settings = Settings { streams: 500, ..ALLOWED };
        tokio::task::spawn_local(serve(theirs, settings));
        let (client, mut connection) = client(ours, settings);
        tokio::task::spawn_local(async move { poll_fn(|cx| connection.poll(cx, drop)).await });
        let asked = (0..300).map(|at| {
            let client = client.clone();
            tokio::task::spawn_local(async move {
                let word = format!("{at:04}").repeat(1_000);
                let request = Request::get("http://any/").header("x-word", &word).body(()).expect("a request");
                let place = client.place().await.expect("a place");
                let (mut recv, _send) = client.ask(place, &request, true).expect("sent");
                let answer = poll_fn(|cx| recv.poll_answer(cx)).await.expect("an answer");
                assert!(answer.headers()["x-word"] == word, "the word of {at}");
            })
        });
        for asked in asked.collect::<Vec<_>>() {
            asked.await.expect("no panic");
        }
    });
}

/// Padding counts, and is nobody's to read.
#[test]
fn padding_makes_room_again() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        tokio::task::spawn_local(drive_unread(ours));
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS, 1, &head(&[]))].concat();
        theirs.write_all(&begin).await.expect("sent");
        let padding = frame(DATA, PADDED, 1, &[&[255][..], &[0; 255]].concat());
        // Four times the window of the stream, half of it at a time.
        let mut room = 64 << 10;
        for _ in 0..8 {
            assert!(room >= 128 * 256, "{room} bytes of room are left");
            theirs.write_all(&padding.repeat(128)).await.expect("sent");
            theirs.write_all(&frame(PING, 0, 0, &[7; 8])).await.expect("sent");
            room -= 128 * 256;
            loop {
                match next(&mut theirs).await.expect("it goes on") {
                    (WINDOW_UPDATE, _, 1, payload) => room += u32::from_be_bytes(payload.try_into().expect("a window")),
                    (PING, ACK, ..) => break,
                    (GOAWAY | RST_STREAM, ..) => panic!("it is refused"),
                    _ => {}
                }
            }
        }
    });
}

/// However little of the output is taken at once.
#[test]
fn a_large_body_goes_in_large_frames() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(5_000);
        let (client, mut connection) = client(ours, ALLOWED);
        tokio::task::spawn_local(async move { poll_fn(|cx| connection.poll(cx, drop)).await });
        let window = [0_u32, 1].map(|id| frame(WINDOW_UPDATE, 0, id, &(1_u32 << 30).to_be_bytes()));
        let request = Request::post("http://any/").body(()).expect("a request");
        let (recv, mut send) = client.ask(client.place().await.expect("a place"), &request, false).expect("sent");
        theirs.write_all(&[frame(SETTINGS, 0, 0, &[]), window.concat()].concat()).await.expect("sent");
        let sending = tokio::task::spawn_local(async move {
            let mut body = Bytes::from((0..4_u32 << 18).flat_map(u32::to_be_bytes).collect::<Vec<_>>());
            poll_fn(|cx| send.poll_send(cx, &mut body, true)).await.expect("sent");
        });
        theirs.read_exact(&mut [0; PREFACE.len()]).await.expect("it begins");
        let (mut sizes, mut body) = (Vec::new(), Vec::new());
        loop {
            let (kind, flags, _, payload) = next(&mut theirs).await.expect("it goes on");
            if kind == DATA {
                sizes.push(payload.len());
                body.extend(payload);
            }
            if kind == DATA && flags & END_STREAM != 0 {
                break;
            }
        }
        assert!(body.chunks(4).map(|word| u32::from_be_bytes(word.try_into().expect("a word"))).eq(0..4 << 18));
        // But for what the first windows cut.
        assert!(sizes.iter().filter(|size| **size < 16 << 10).count() <= 3, "{sizes:?}");
        sending.await.expect("no panic");
        drop(recv);
    });
}

/// A sender of single bytes does not make a piece of each.
#[test]
fn small_pieces_are_kept_as_one() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let mut connection = server(ours, ALLOWED);
        let bytes = frame(DATA, 0, 1, b"x").repeat(10_000);
        let begin =
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS, 1, &head(&[])), &bytes].concat();
        theirs.write_all(&[begin, frame(PING, 0, 0, &[7; 8])].concat()).await.expect("sent");
        let mut come = Vec::new();
        tokio::select! {
            _ = poll_fn(|cx| connection.poll(cx, |request| come.push(request))) => panic!("it ended"),
            done = done(&mut theirs) => assert_eq!(done, Done::Nothing),
        }
        let (_, recv, _) = &mut come[0];
        let mut cx = Context::from_waker(Waker::noop());
        let mut pieces = Vec::new();
        while let std::task::Poll::Ready(Some(Ok(data))) = recv.poll_data(&mut cx) {
            pieces.push(data.len());
        }
        assert_eq!(pieces.iter().sum::<usize>(), 10_000);
        assert!(pieces.len() <= 3, "{pieces:?}");
    });
}

/// A peer that asks and does not read the answers is read no further, and goes on when it reads.
#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    run(async {
        const PINGS: usize = 200_000;
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let mut connection = server(ours, ALLOWED);
        let (mut read, mut write) = tokio::io::split(theirs);
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let pings = frame(PING, 0, 0, &[7; 8]).repeat(PINGS);
        let wrote = Rc::new(Cell::new(false));
        let has_written = Rc::clone(&wrote);
        tokio::task::spawn_local(async move {
            write.write_all(&[begin, pings].concat()).await.expect("read in the end");
            has_written.set(true);
            std::future::pending::<()>().await;
        });
        // It stands still when what it holds is full, and not before.
        let mut most = 0;
        let mut still = 0;
        while still < 100 {
            let before = connection.unsent();
            poll_fn(|cx| {
                assert!(connection.poll(cx, drop).is_pending(), "it goes on");
                std::task::Poll::Ready(())
            })
            .await;
            yield_now().await;
            most = most.max(connection.unsent());
            still = if connection.unsent() == before { still + 1 } else { 0 };
        }
        assert!(!wrote.get() && most < 1 << 20, "{most} bytes");
        let drained = async {
            let mut answers = vec![0; PINGS * 17];
            read.read_exact(&mut answers).await.expect("all answers");
        };
        tokio::select! {
            _ = poll_fn(|cx| connection.poll(cx, drop)) => panic!("it ended"),
            () = drained => {}
        }
    });
}

/// Pings, which cost their sender next to nothing; and requests, each of which is a task.
#[test]
fn a_connection_on_which_much_has_come_leaves_others_their_turns() {
    let requests = |count: u32| {
        (0..count).flat_map(|at| {
            let id = 2 * at + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, id, &head(&[])), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())]
                .concat()
        })
    };
    for (what, bytes, in_a_turn) in [
        ("pings", frame(PING, 0, 0, &[7; 8]).repeat(100_000), 2 * (64 << 10)),
        ("requests", requests(20_000).collect(), 4 * 128 * 36),
    ] {
        run(async {
            let come = bytes.len();
            let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            let stream = tokio::io::join(std::io::Cursor::new([begin, bytes].concat()), tokio::io::sink());
            let used = Rc::new(Cell::new(0));
            let mut connection = server(stream, Settings { unseen_resets: u32::MAX, ..ALLOWED });
            let counted = Rc::clone(&used);
            let other = tokio::task::spawn_local(async move {
                let mut seen = 0;
                while counted.get() < come {
                    let since = counted.get() - seen;
                    assert!(since <= in_a_turn, "{since} bytes of {what} were used in one turn");
                    seen = counted.get();
                    yield_now().await;
                }
            });
            let count = Rc::clone(&used);
            let driven = tokio::task::spawn_local(async move {
                let start = |request| drop(tokio::task::spawn_local(async move { drop(request) }));
                // Its end comes before that of what it began.
                let _ = poll_fn(|cx| {
                    let turn = connection.poll(cx, start);
                    let since = connection.used() - count.replace(connection.used());
                    assert!(since <= in_a_turn, "{since} bytes of {what} were used in one turn");
                    turn
                })
                .await;
            });
            driven.await.expect("no panic");
            used.set(come);
            other.await.expect("no panic");
        });
    }
}

#[test]
fn a_server_that_takes_fewer_streams_gets_fewer() {
    run(async {
        let (client, mut theirs) = by_hand(Settings { streams: 3, ..ALLOWED }).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(asked(&client).await);
        }
        theirs.write_all(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])).await.expect("sent");
        let another = Rc::new(Cell::new(false));
        let (is_there, waiting) = (Rc::clone(&another), client.clone());
        tokio::task::spawn_local(async move {
            let _asked = asked(&waiting).await;
            is_there.set(true);
            std::future::pending::<()>().await;
        });
        for (id, expected) in [(1, false), (3, false), (5, true)] {
            theirs.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, OK)).await.expect("sent");
            settled().await;
            assert_eq!(another.get(), expected, "when stream {id} is over");
        }
    });
}
