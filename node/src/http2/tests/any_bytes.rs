//! Whatever is written or comes.

use super::*;

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
