//! Whatever is written or comes.

use super::*;
use crate::http2::schedule::{Step, keeps_its_promises};

/// What a peer that knows the protocol sends, for the most part within its rules.
fn come() -> impl Strategy<Value = Step> {
    let id = || prop_oneof![8 => (0..6_u32).prop_map(|n| 2 * n + 1), 1 => 0..14_u32];
    let ends = || prop::bool::ANY.prop_map(|ends| if ends { END_STREAM } else { 0 });
    let word = |number: u32| number.to_be_bytes().to_vec();
    let frames = prop_oneof![
        8 => (id(), ends()).prop_map(|(id, ends)| frame(HEADERS, END_HEADERS | ends, id, &head(&[]))),
        4 => (id(), ends()).prop_map(|(id, ends)| frame(HEADERS, END_HEADERS | ends, id, OK)),
        8 => (id(), ends(), 0..12_000_usize).prop_map(|(id, ends, bytes)| frame(DATA, ends, id, &vec![1; bytes])),
        1 => id().prop_map(|id| frame(DATA, PADDED, id, &[40; 60])),
        4 => (prop_oneof![Just(0), id()], 0..100_000_u32).prop_map(move |(id, more)| frame(WINDOW_UPDATE, 0, id, &word(more))),
        3 => (id(), 0..9_u32).prop_map(move |(id, reason)| frame(RST_STREAM, 0, id, &word(reason))),
        3 => (prop_oneof![Just(3_u8), Just(4)], prop_oneof![0..10_u32, 0..200_000_u32])
            .prop_map(move |(name, value)| frame(SETTINGS, 0, 0, &[&[0, name][..], &word(value)].concat())),
        1 => Just(frame(SETTINGS, ACK, 0, &[])),
        2 => prop_oneof![Just(*b"goodbye!"), any::<[u8; 8]>()].prop_flat_map(move |word| ends().prop_map(move |ack| frame(PING, ack, 0, &word))),
        1 => (0..12_u32).prop_map(move |last| frame(GOAWAY, 0, 0, &[word(last), word(0)].concat())),
        1 => (0..11_u8, any::<u8>(), 0..8_u32, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(kind, flags, id, payload)| frame(kind, flags, id, &payload)),
    ];
    prop::collection::vec(frames, 1..4).prop_map(|frames| Step::Come(frames.concat()))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => come(),
        3 => prop_oneof![0..100_usize, 0..100_000_usize].prop_map(Step::Take),
        3 => prop::bool::ANY.prop_map(|is_end| Step::Ask { is_end }),
        3 => (any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(at, is_end)| Step::Answer { at, is_end }),
        6 => (any::<u8>(), any::<u16>(), prop::bool::weighted(0.2)).prop_map(|(at, bytes, is_end)| Step::Send { at, bytes, is_end }),
        1 => any::<u8>().prop_map(|at| Step::Trail { at }),
        5 => any::<u8>().prop_map(|at| Step::Read { at }),
        1 => any::<u8>().prop_map(|at| Step::Deafen { at }),
        1 => any::<u8>().prop_map(|at| Step::Mute { at }),
        1 => any::<u8>().prop_map(|at| Step::Reset { at }),
        1 => Just(Step::Goodbye),
    ]
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Head {
    let mut head = Head::new(64 << 10);
    decoder.decode(block, &mut head).expect("a block");
    head
}

proptest! {
    /// Whatever heads are written one after the other, and however small the table is made between them, they are read as
    /// they were.
    #[test]
    fn heads_are_read_as_they_were_written(
        heads in prop::collection::vec(
            (prop::collection::vec(("[a-c]|x-[a-z]{1,30}|content-type|date", "[ -~]{0,5}|[a-z]{60,300}", prop::bool::weighted(0.1)), 0..12),
             prop::option::weighted(0.1, 0..5_000_usize)),
            1..30,
        ),
    ) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (lines, resized) in heads {
            if let Some(bytes) = resized {
                encoder.resize(bytes);
            }
            let mut request = Request::post("http://any/a/path").body(()).expect("a request");
            for (name, value, is_sensitive) in lines {
                let mut value = HeaderValue::from_str(value.trim()).expect("a value");
                value.set_sensitive(is_sensitive);
                request.headers_mut().append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value);
            }
            let mut block = Vec::new();
            encoder.request(&request, &mut block);
            let (read, _) = decoded(&mut decoder, &block).request().map_err(|_| TestCaseError::fail("malformed"))?;
            prop_assert_eq!(read.uri(), request.uri());
            prop_assert_eq!(read.method(), request.method());
            let lines = |request: &Request<()>| -> Vec<(String, Vec<u8>, bool)> {
                let lines = request.headers().iter();
                lines.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec(), value.is_sensitive())).collect()
            };
            prop_assert_eq!(lines(&read), lines(&request));
        }
    }

    /// Whatever a peer and a program do, in whatever order.
    #[test]
    fn whatever_happens_promises_are_kept(
        is_server: bool,
        size in prop_oneof![1..20_usize, 1..20_000_usize],
        opened in 0..7_u32,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = clock.enter();
        let begin = if is_server { PREFACE } else { b"" };
        let begin = Step::Come([begin, &frame(SETTINGS, 0, 0, &[])].concat());
        // Frames of streams that never were end the connection: some are there from the beginning.
        let opened = (0..opened).map(|n| match is_server {
            true => Step::Come(frame(HEADERS, END_HEADERS, 2 * n + 1, &head(&[]))),
            false => Step::Ask { is_end: false },
        });
        let steps: Vec<Step> = [Step::Take(100), begin].into_iter().chain(opened).chain(steps).collect();
        keeps_its_promises(is_server, size, &steps);
    }

    /// Whatever comes, in whatever pieces.
    #[test]
    fn whatever_comes_is_answered_or_refused(
        choice: u8,
        begins in prop::bool::weighted(0.9),
        frames in prop::collection::vec(
            (0..11_u8, prop_oneof![Just(0_u8), Just(4), Just(5), any::<u8>()], 0..8_u32,
             prop_oneof![prop::collection::vec(any::<u8>(), 0..40), Just(head(&[])), Just(vec![0, 0, 0, 1]), Just(vec![0; 8])]),
            0..20,
        ),
    ) {
        let begin = if choice & 1 == 1 { PREFACE } else { b"" };
        let begin = [begin, &frame(SETTINGS, 0, 0, &[])].concat();
        let frames = frames.into_iter().flat_map(|(kind, flags, id, payload)| frame(kind, flags, id, &payload));
        let bytes: Vec<u8> = [choice].into_iter().chain(begin.into_iter().filter(|_| begins)).chain(frames).collect();
        crate::http2::promises::frames(&bytes);
    }
}
