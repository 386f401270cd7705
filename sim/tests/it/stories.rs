//! Stories: each script is retold exactly as it is written down. `BERTH_SIM_WRITE=1` writes them down anew.

use std::{fs, path::Path};

use berth_sim::story;

#[test]
fn every_story_is_retold_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut told = 0;
    for entry in fs::read_dir(&folder).expect("the scripts are there") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "sim") {
            continue;
        }
        let script = fs::read_to_string(&path).expect("a readable script");
        let text = story(&script, 1).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.ends_with("every invariant held\n"), "{}:\n{text}", path.display());
        let expected = path.with_extension("expected");
        if std::env::var_os("BERTH_SIM_WRITE").is_some() {
            fs::write(&expected, &text).expect("a writable folder");
        }
        let written = fs::read_to_string(&expected).expect("every script has its expected retelling");
        assert!(written.lines().count() <= 120, "{}: too long to be read in review", expected.display());
        assert_eq!(text, written, "{}", path.display());
        told += 1;
    }
    assert!(told >= 5, "the scripts are there");
}

#[test]
fn a_line_nobody_understands_is_named() {
    for (script, line, what) in [
        ("nodes 3\nat 1s dance n1", 2, "nobody knows how to `dance`"),
        ("at soon heal", 1, "`soon` is no time such as `2s`"),
        ("at 1s kill x1", 1, "`x1` is neither a node such as `n1` nor a coordinator such as `c1`"),
        ("at 1s split llm blue", 1, "`blue` is no share such as `blue=90`"),
        ("\n\nwhenever", 3, "`whenever` begins no line"),
    ] {
        let error = story(script, 1).expect_err(script);
        assert_eq!((error.line, error.what.as_str()), (line, what));
    }
}
