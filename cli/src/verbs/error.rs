//! `berth error`: the page of an error code, without a network.

use berth_core::error::{Code, Error, nearest};
use include_dir::{Dir, include_dir};

use crate::{
    args::ErrorArgs,
    output::{Fault, Ink, Misused, Output},
};

/// The pages, as `docs/errors` has them.
static PAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../docs/errors");

pub(super) fn run(args: ErrorArgs, out: &Output) -> Result<(), Fault> {
    let Some(code) = args.code else {
        let codes: Vec<_> = codes().collect();
        return Ok(out.value(&codes, &codes.join("\n"), || codes.iter().for_each(|code| out.line(code)))?);
    };
    let code = code.to_ascii_uppercase();
    let page = PAGES.get_file(format!("{code}.md")).and_then(|file| file.contents_utf8());
    let page = page.ok_or_else(|| {
        let error = Error::new(Code::Invalid, format!("`{code}` is no error code"));
        match nearest(&code, codes()) {
            Some(near) => error.try_(format!("did you mean `{near}`?")),
            None => error.try_("`berth error` lists them"),
        }
    });
    let page = page.or_misused()?;
    Ok(out.value(&page, &code, || page.trim_end().lines().for_each(|line| out.line(plain(line, out))))?)
}

/// Writes a line of a page for a terminal: headings and strong words are bold there, and have no marks anywhere.
fn plain(line: &str, out: &Output) -> String {
    if let Some(heading) = line.strip_prefix("# ") {
        return out.paint(heading, Ink::Bold);
    }
    let mut parts = line.split("**").enumerate();
    let strong = |(at, part): (usize, &str)| if at % 2 == 1 { out.paint(part, Ink::Bold) } else { part.to_owned() };
    parts.by_ref().map(strong).collect()
}

fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.files().filter_map(|file| file.path().file_stem()?.to_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_no_marks_of_markdown() {
        let out = Output::default();
        for (line, shown) in [
            ("# E_TRAFFIC", "E_TRAFFIC"),
            ("**Why.** Live traffic", "Why. Live traffic"),
            ("Kind: `Invalid`.", "Kind: `Invalid`."),
        ] {
            assert_eq!(plain(line, &out), shown);
        }
        let marked =
            PAGES.files().filter_map(|file| file.contents_utf8()).flat_map(str::lines).map(|line| plain(line, &out));
        let left: Vec<_> = marked.filter(|line| line.contains("**") || line.starts_with('#')).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn every_code_has_its_page_inside() {
        for code in Code::ALL {
            let page = PAGES.get_file(format!("{}.md", code.word())).and_then(|file| file.contents_utf8());
            assert!(page.is_some_and(|page| page.contains(code.word())), "{}", code.word());
        }
    }
}
