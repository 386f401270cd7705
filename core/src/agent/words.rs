//! What a process's last words come down to.

/// Bytes of a message that are kept: it stands in a table.
const MESSAGE_BYTES_MAX: usize = 300;

/// What Python writes between an exception and the one it led to.
const CAUSE: &str = "The above exception was the direct cause of the following exception:";

/// Finds what a Python traceback ends with: `FileNotFoundError: no model.pkl`. Of a chain the cause counts, even where the
/// beginning of its traceback is not in the log any more; those after it tell what came of it.
pub(super) fn exception(log: &str) -> Option<&str> {
    let line = match log.split_once(CAUSE) {
        Some((before, _)) => before.lines().rfind(|line| !line.is_empty()),
        None => {
            let lines = log.lines().skip_while(|line| !line.contains("Traceback (most recent call last)"));
            lines.skip(1).find(|line| !line.is_empty() && !line.starts_with([' ', '\t']))
        }
    }?;
    let end = (0..=line.len().min(MESSAGE_BYTES_MAX)).rev().find(|at| line.is_char_boundary(*at))?;
    Some(&line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_says_what_went_wrong() {
        let azure = "I - Invoking user's init function\nE - Encountered Exception Traceback (most recent call last):\n  \
                     File \"a.py\", line 1, in init\n    raise FileNotFoundError(\"no model.pkl\")\nFileNotFoundError: \
                     no model.pkl\n\nThe above exception was the direct cause of the following exception:\n\n\
                     Traceback (most recent call last):\nUserScriptException: caught\n";
        let tail = &azure[azure.find("    raise").unwrap()..];
        for (log, found) in [
            (azure, Some("FileNotFoundError: no model.pkl")),
            (tail, Some("FileNotFoundError: no model.pkl")),
            ("Traceback (most recent call last):\n  File x\nKeyError: 'a'\n", Some("KeyError: 'a'")),
            ("Traceback (most recent call last):\n  File x\n", None),
            ("ValueError: not raised, only said\n", None),
            ("", None),
        ] {
            assert_eq!(exception(log), found, "{log}");
        }
        let long = format!("Traceback (most recent call last):\nError: {}", "é".repeat(1_000));
        assert!(exception(&long).is_some_and(|text| text.len() <= MESSAGE_BYTES_MAX));
    }
}
