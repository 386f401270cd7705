//! The beginning of a JSON body: the few names in it that routing needs, read without parsing the rest.
//!
//! OpenAI's clients name the model in the body, and not always first. The body may be large and is passed on untouched, so
//! only its top level is walked, over a bounded number of bytes, as far as they have come.

/// How much of a body is looked at.
pub const PEEK_MAX_BYTES: usize = 64 << 10;

/// What the beginning of a body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeked {
    /// `model`: the endpoint, where nothing else names it.
    pub model: Option<String>,
    /// `user`: what a caller's requests are kept together by.
    pub user: Option<String>,
    /// More bytes may say more.
    pub more: bool,
}

/// Looks at the beginning of a body. Whatever is no JSON object says nothing.
pub fn peek(bytes: &[u8]) -> Peeked {
    let window = &bytes[..bytes.len().min(PEEK_MAX_BYTES)];
    let mut peeked = Peeked::default();
    let ended = Cursor { rest: window }.walk(&mut peeked);
    let satisfied = peeked.model.is_some() && peeked.user.is_some();
    peeked.more = matches!(ended, Err(Stop::CutOff)) && !satisfied && bytes.len() < PEEK_MAX_BYTES;
    peeked
}

/// Why a walk stopped before the end of the object.
enum Stop {
    /// The bytes ended.
    CutOff,
    /// This is no JSON.
    Malformed,
}

struct Cursor<'a> {
    rest: &'a [u8],
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    fn walk(&mut self, peeked: &mut Peeked) -> Result<(), Stop> {
        self.expect(b'{')?;
        if self.next()? == b'}' {
            return Ok(());
        }
        loop {
            self.next()?;
            let key = self.string()?;
            self.expect(b':')?;
            let wanted = match key {
                b"\"model\"" => Some(&mut peeked.model),
                b"\"user\"" => Some(&mut peeked.user),
                _ => None,
            };
            match wanted {
                Some(place) if self.next()? == b'"' => *place = plain(self.string()?),
                _ => self.skip()?,
            }
            // Enough is known: what comes later must not change it, or it would matter in how many pieces a body comes.
            if peeked.model.is_some() && peeked.user.is_some() {
                return Ok(());
            }
            match self.next()? {
                b',' => self.rest = &self.rest[1..],
                b'}' => return Ok(()),
                _ => return Err(Stop::Malformed),
            }
        }
    }

    /// Returns the next byte that is no space, without taking it.
    fn next(&mut self) -> Result<u8, Stop> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied().ok_or(Stop::CutOff)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.next()? != byte {
            return Err(Stop::Malformed);
        }
        self.rest = &self.rest[1..];
        Ok(())
    }

    /// Takes a string with its quotes.
    fn string(&mut self) -> Result<&'a [u8], Stop> {
        if self.rest.first() != Some(&b'"') {
            return Err(Stop::Malformed);
        }
        let mut at = 1;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b'"' => {
                    let (string, rest) = self.rest.split_at(at + 1);
                    self.rest = rest;
                    return Ok(string);
                }
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        Err(Stop::CutOff)
    }

    /// Passes over a value of any kind.
    fn skip(&mut self) -> Result<(), Stop> {
        let mut depth = 0_u32;
        loop {
            match self.next()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.rest = &self.rest[1..];
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.rest = &self.rest[1..];
                }
                b',' | b':' if depth > 0 => {
                    self.rest = &self.rest[1..];
                    continue;
                }
                b',' | b':' | b'}' | b']' => return Err(Stop::Malformed),
                _ => {
                    let ends =
                        |byte: &u8| matches!(byte, b',' | b':' | b'}' | b']' | b'"') || byte.is_ascii_whitespace();
                    let at = self.rest.iter().position(ends).ok_or(Stop::CutOff)?;
                    self.rest = &self.rest[at..];
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// Reads a string that needs no unescaping; no name the mesh knows does.
fn plain(quoted: &[u8]) -> Option<String> {
    let text = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if text.contains(&b'\\') { None } else { String::from_utf8(text.to_vec()).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_top_level_is_read_as_far_as_it_has_come() {
        for (text, model, user, more) in [
            (r#"{"model":"llm","user":"a"}"#, Some("llm"), Some("a"), false),
            (
                r#" { "messages" : [{"model":"no","x":"]\"}"}, 1.5e3, null], "model" : "llm" } "#,
                Some("llm"),
                None,
                false,
            ),
            (r#"{"model":"llm","messages":[{"role":"#, Some("llm"), None, true),
            (r#"{"model":"llm","user":"a","messages":["#, Some("llm"), Some("a"), false),
            (r#"{"model":"l\u006cm"}"#, None, None, false),
            (r#"{"model":7,"user":null}"#, None, None, false),
            (r#"{"model":"ll"#, None, None, true),
            (r#"{"n":12"#, None, None, true),
            ("", None, None, true),
            ("{}", None, None, false),
            ("[1]", None, None, false),
            (r#"{"a":}"#, None, None, false),
            (r#"{"a" "b"}"#, None, None, false),
            ("not json", None, None, false),
        ] {
            let expected = Peeked { model: model.map(str::to_owned), user: user.map(str::to_owned), more };
            assert_eq!(peek(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_long_body_is_given_up() {
        let text = format!(r#"{{"messages":"{}","model":"llm"}}"#, "x".repeat(PEEK_MAX_BYTES));
        assert_eq!(peek(text.as_bytes()), Peeked::default());
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4).prop_map(|pairs| pairs.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// Whatever surrounds them, the two names are found, and a body that is cut off anywhere never says them wrong.
        #[test]
        fn agrees_with_a_parser(before in value(), after in value(), model in "[a-zé0-9-]{0,8}", cut in any::<prop::sample::Index>()) {
            let text = serde_json::json!({ "a": before, "model": model, "z": after }).to_string();
            let whole = Peeked { model: Some(model), user: None, more: false };
            prop_assert_eq!(peek(text.as_bytes()), whole.clone());
            let part = peek(&text.as_bytes()[..cut.index(text.len())]);
            prop_assert!(part.more && (part.model.is_none() || part.model == whole.model));
        }

        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = peek(&bytes);
            let _ = peek(&[b"{\"a\":", &bytes[..]].concat());
        }
    }
}
