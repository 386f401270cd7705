//! The beginning of a JSON body: the few names in it that routing needs, read without parsing the rest.
//!
//! OpenAI's clients name the model in the body, and its own library behind the messages, which may be megabytes. The body is
//! passed on untouched, so only its top level is walked, once, as its bytes come, and no further than is said.

/// How much of a body is looked at for whatever it may say. Beyond it only the model is worth the wait.
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

/// Walks a body as it comes. What it finds does not depend on the pieces.
#[derive(Clone, Debug)]
pub struct Scanner {
    step: Step,
    /// How many objects and lists are open below the top level.
    depth: usize,
    /// The byte before is a backslash in a string.
    is_escaped: bool,
    /// The name or value under way, as far as it may be wanted.
    text: Vec<u8>,
    wanted: Option<Wanted>,
    at: usize,
    max: usize,
    model: Option<String>,
    user: Option<String>,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The brace that opens the object.
    Open,
    /// The first name, or the end of an object that has none.
    FirstName,
    /// A name that has to come.
    NextName,
    /// A name.
    Name,
    /// The colon behind a name.
    Colon,
    /// The first byte of a value.
    Value,
    /// A string that is wanted.
    Text,
    /// Another string.
    Passed,
    /// A number or a word.
    Word,
    /// A list or an object.
    Nested,
    /// What comes behind a value.
    Behind,
    /// Nothing: the object has ended, or it is none.
    Over,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Model,
    User,
}

/// Looks at the beginning of a body. Whatever is no JSON object says nothing.
pub fn peek(bytes: &[u8]) -> Peeked {
    let mut scanner = Scanner::default();
    scanner.feed(bytes);
    let more = scanner.wants_more();
    Peeked { more, ..scanner.into_peeked() }
}

// === impl Scanner ===

impl Default for Scanner {
    fn default() -> Self {
        Self {
            step: Step::Open,
            depth: 0,
            is_escaped: false,
            text: Vec::new(),
            wanted: None,
            at: 0,
            max: PEEK_MAX_BYTES,
            model: None,
            user: None,
        }
    }
}

impl Scanner {
    /// Takes the bytes that come next; returns how many were looked at. The others were too many, or are of no use.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.wants_more() {
            // No step passes the place where less is enough.
            let end = if self.at < PEEK_MAX_BYTES { self.max.min(PEEK_MAX_BYTES) } else { self.max };
            let part = &rest[..rest.len().min(end - self.at)];
            let taken = self.take(part);
            self.at += taken;
            rest = &rest[taken..];
        }
        bytes.len() - rest.len()
    }

    /// Returns whether what comes next may say something.
    pub fn wants_more(&self) -> bool {
        let is_enough = self.model.is_some() && (self.user.is_some() || self.at >= PEEK_MAX_BYTES);
        self.step != Step::Over && !is_enough && self.at < self.max
    }

    /// Returns whether the model may stand behind what may be looked at.
    pub fn is_cut_off(&self) -> bool {
        self.step != Step::Over && self.model.is_none() && self.at >= self.max
    }

    /// Looks at so much of the body in all, for its model.
    pub fn look_as_far_as(&mut self, max: usize) {
        self.max = self.max.max(max);
    }

    /// Returns what was found.
    pub fn into_peeked(self) -> Peeked {
        Peeked { model: self.model, user: self.user, more: false }
    }

    /// Takes a step into bytes of which there is at least one; returns how many it takes.
    fn take(&mut self, part: &[u8]) -> usize {
        match self.step {
            Step::Name | Step::Text | Step::Passed => return self.string(part),
            Step::Word => {
                let ends = |byte: &u8| matches!(byte, b',' | b':' | b'}' | b']' | b'"') || byte.is_ascii_whitespace();
                let end = part.iter().position(ends);
                if end.is_some() {
                    self.step = Step::Behind;
                }
                return end.unwrap_or(part.len());
            }
            Step::Nested => return self.nested(part),
            _ => {}
        }
        let spaces = part.len() - part.trim_ascii_start().len();
        let Some(byte) = part.get(spaces) else { return spaces };
        let next = match (self.step, byte) {
            (Step::Open, b'{') => Step::FirstName,
            (Step::FirstName | Step::NextName, b'"') => Step::Name,
            (Step::Colon, b':') => Step::Value,
            (Step::Value, b'"') if self.wanted.is_some() => Step::Text,
            (Step::Value, b'"') => Step::Passed,
            (Step::Value, b'{' | b'[') => Step::Nested,
            (Step::Value, b',' | b':' | b'}' | b']') => Step::Over,
            (Step::Value, _) => Step::Word,
            (Step::Behind, b',') => Step::NextName,
            _ => Step::Over,
        };
        self.text.clear();
        self.depth = usize::from(next == Step::Nested);
        self.step = next;
        spaces + 1
    }

    /// Takes what comes of a string, and the quote that ends it.
    fn string(&mut self, part: &[u8]) -> usize {
        let mut end = usize::from(std::mem::take(&mut self.is_escaped));
        while let Some(further) = part[end..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            end += further;
            if part[end] == b'"' {
                self.keep(&part[..end]);
                self.end_string();
                return end + 1;
            }
            end += 2;
            if end > part.len() {
                self.is_escaped = true;
                break;
            }
        }
        self.keep(part);
        part.len()
    }

    /// Keeps what may be wanted of a string, and one byte more of one that is too long.
    fn keep(&mut self, part: &[u8]) {
        let max = match self.step {
            Step::Name => b"model".len(),
            Step::Text => PEEK_MAX_BYTES,
            _ => return,
        };
        let room = (max + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_string(&mut self) {
        self.step = match self.step {
            Step::Name => {
                self.wanted = match &self.text[..] {
                    b"model" => Some(Wanted::Model),
                    b"user" => Some(Wanted::User),
                    _ => None,
                };
                Step::Colon
            }
            Step::Passed if self.depth > 0 => Step::Nested,
            Step::Text => {
                let text = plain(std::mem::take(&mut self.text));
                match self.wanted {
                    Some(Wanted::Model) => self.model = text,
                    Some(Wanted::User) => self.user = text,
                    None => {}
                }
                Step::Behind
            }
            _ => Step::Behind,
        };
    }

    /// Takes what comes of a list or an object, as far as the next thing that counts in it.
    fn nested(&mut self, part: &[u8]) -> usize {
        let Some(at) = part.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']')) else {
            return part.len();
        };
        match part[at] {
            b'"' => self.step = Step::Passed,
            b'{' | b'[' => self.depth += 1,
            _ => self.depth -= 1,
        }
        if self.depth == 0 {
            self.step = Step::Behind;
        }
        at + 1
    }
}

/// Reads a string that needs no unescaping; no name the mesh knows does.
fn plain(text: Vec<u8>) -> Option<String> {
    if text.len() > PEEK_MAX_BYTES || text.contains(&b'\\') { None } else { String::from_utf8(text).ok() }
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
    fn a_body_is_looked_at_no_further_than_is_said() {
        let messages = "x".repeat(PEEK_MAX_BYTES);
        let text = format!(r#"{{"messages":"{messages}","model":"llm","user":"a"}}"#);
        assert_eq!(peek(text.as_bytes()), Peeked::default());
        let mut scanner = Scanner::default();
        assert_eq!(scanner.feed(text.as_bytes()), PEEK_MAX_BYTES);
        assert!(scanner.is_cut_off());
        scanner.look_as_far_as(text.len());
        assert!(scanner.wants_more() && !scanner.is_cut_off());
        scanner.feed(&text.as_bytes()[PEEK_MAX_BYTES..]);
        let found = Peeked { model: Some("llm".into()), user: None, more: false };
        assert_eq!(scanner.into_peeked(), found, "so far behind, nobody is waited for but the model");
        // Who is named near the beginning may say more there, and only there.
        let text = format!(r#"{{"model":"llm","messages":"{messages}","user":"a"}}"#);
        let mut scanner = Scanner::default();
        scanner.look_as_far_as(usize::MAX);
        assert_eq!(scanner.feed(text.as_bytes()), PEEK_MAX_BYTES);
        assert!(!scanner.wants_more() && !scanner.is_cut_off());
        assert_eq!(scanner.into_peeked(), found);
    }

    #[test]
    fn names_and_values_have_bounds() {
        let long = "m".repeat(3 * PEEK_MAX_BYTES);
        let mut scanner = Scanner::default();
        scanner.look_as_far_as(usize::MAX);
        for part in [r#"{"model"#, &long, r#"":"a","model":""#, &long] {
            assert_eq!(scanner.feed(part.as_bytes()), part.len());
            assert!(scanner.text.capacity() <= 4 * PEEK_MAX_BYTES, "as much as one value may be");
        }
        scanner.feed(b"\"}");
        assert!(!scanner.wants_more() && !scanner.is_cut_off());
        assert_eq!(scanner.into_peeked(), Peeked::default());
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

        /// However a body is cut into pieces, and however long it is.
        #[test]
        fn the_pieces_do_not_matter(
            parts in prop::collection::vec(prop_oneof![
                value().prop_map(|value| value.to_string()),
                "[\\[\\]{}:,\"\\\\ a1]{0,6}",
                Just("\"model\":\"llm\"".to_owned()),
                Just("\"user\":\"a\",".to_owned()),
                Just(",\"x\":".to_owned()),
                (PEEK_MAX_BYTES - 9..PEEK_MAX_BYTES + 9).prop_map(|length| format!("\"{}\",", "x".repeat(length))),
            ], 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            max in prop_oneof![Just(0), Just(PEEK_MAX_BYTES + 30), Just(usize::MAX)],
        ) {
            let text = format!("{{\"z\":{}", parts.concat()).into_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let scan = |cuts: &[usize]| {
                let mut scanner = Scanner::default();
                scanner.look_as_far_as(max);
                let fed: usize = cuts.windows(2).map(|pair| scanner.feed(&text[pair[0]..pair[1]])).sum();
                (fed, scanner.wants_more(), scanner.is_cut_off(), scanner.into_peeked())
            };
            prop_assert_eq!(scan(&cuts), scan(&[0, text.len()]));
        }

        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = peek(&bytes);
            let _ = peek(&[b"{\"a\":", &bytes[..]].concat());
        }
    }
}
