//! A command line as a list, or as one text that is split like a shell would, without being one.

use super::{fields::Field, finding::Findings, tree::Value};

/// Reads `command`.
pub(super) fn read(field: &Field<'_>, findings: &mut Findings) -> Vec<String> {
    let Value::Scalar { text, .. } = &field.node.value else { return field.texts(findings) };
    match split(text) {
        Ok(argv) => argv,
        Err(why) => {
            field.refuse(findings, why, "write it as a list: [\"program\", \"argument\"]");
            Vec::new()
        }
    }
}

/// Splits at white space; quotes and backslashes keep it. Variables, pipes and globs are a shell's, not ours.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut argv = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => {
                let next = chars.next().ok_or("ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => argv.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    argv.extend(word);
    if argv.is_empty() { Err("is empty") } else { Ok(argv) }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_text_is_split_like_a_shell_would() {
        for (text, argv) in [
            ("python app.py", Ok(vec!["python", "app.py"])),
            ("  a  'b c'\t\"d \\\" e\" ", Ok(vec!["a", "b c", "d \" e"])),
            ("a ''", Ok(vec!["a", ""])),
            ("a\\ b", Ok(vec!["a b"])),
            ("'a\\b'", Ok(vec!["a\\b"])),
            ("a 'b", Err("a quote is not closed")),
            ("a \\", Err("ends in a backslash")),
            ("   ", Err("is empty")),
        ] {
            let argv = argv.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(split(text), argv, "{text}");
        }
    }
}
