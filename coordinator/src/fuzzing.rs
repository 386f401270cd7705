//! What is promised of the reader of requests over HTTP, as one function over any bytes; see `berth_core::fuzzing`.

use crate::rest::promises;

/// A request over HTTP, behind two bytes that say for which method and whether as JSON or as a query: refused with words, or
/// read as a message that is the same when it is written as JSON and read again. The same bytes as a stream of answers: what
/// is found does not depend on the pieces.
pub fn calls(bytes: &[u8]) {
    let [method, form, bytes @ ..] = bytes else { return };
    promises::request(usize::from(*method), form % 2 == 1, bytes);
    promises::frames(usize::from(*form), bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn request(path: &str, form: u8, text: &str) -> Vec<u8> {
        let method = crate::rest::promises::place(path).expect("a route");
        [&[u8::try_from(method).expect("few methods"), form][..], text.as_bytes()].concat()
    }

    #[test]
    fn what_is_understood_is_the_same_when_it_is_said_again() {
        for (path, form, text) in [
            (
                "/api/v1/endpoints/set-traffic",
                0,
                r#"{"endpoint":"a","traffic":{"blue":90,"green":10},"request_id":"7"}"#,
            ),
            ("/api/v1/endpoints/put", 0, r#"{"name":"a","spec":{}}"#),
            ("/api/v1/deployments/list", 1, "endpoint=a%20b&endpoint=c"),
            ("/api/v1/watch/events", 1, "after=7&nothing=1"),
        ] {
            super::calls(&request(path, form, text));
        }
    }

    proptest! {
        /// Objects that look like the real thing, with values of the wrong kind.
        #[test]
        fn requests_are_read_or_refused(
            method: u8,
            form: u8,
            fields in prop::collection::vec(
                ("(name|endpoint|spec|deployment|traffic|request_id|if_revision|node|limit|labels|x)",
                 "(-?[0-9]{1,20}|\"[a-z%]{0,4}\"|null|true|\\{\\}|\\{\"a\":1\\}|\\[\\]|\\[\"a\",2\\]|1e400|\"NaN\")"),
                0..5,
            ),
        ) {
            let json: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let query: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            super::calls(&[&[method, 0][..], format!("{{{}}}", json.join(",")).as_bytes()].concat());
            super::calls(&[&[method, 1][..], query.join("&").as_bytes()].concat());
            super::calls(&[&[method, form][..], json.join("&").as_bytes()].concat());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::calls(&bytes);
        }

        /// Messages behind their heads, cut anywhere.
        #[test]
        fn answers_are_found_however_they_come(
            size: u8,
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 0..12_usize,
        ) {
            let mut bytes = vec![0, size];
            for message in messages {
                bytes.push(0);
                bytes.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
                bytes.extend(message);
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            super::calls(&bytes);
        }
    }
}
