//! Every block of the documentation that is marked `sh` runs, in order, against a cluster of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::berth::Dev;

/// The pages whose blocks run.
const PAGES: [&str; 4] = ["install.md", "concepts.md", "azure.md", "operations.md"];

/// Joins the blocks of a page.
fn script(page: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, "```sh") => inside = true,
            (true, "```") => inside = false,
            (true, line) => script.push_str(&format!("{line}\n")),
            (false, _) => {}
        }
    }
    script
}

#[test]
fn what_the_documentation_shows_works() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let binary = Path::new(env!("CARGO_BIN_EXE_berth"));
    let path =
        format!("{}:{}", binary.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
    for page in PAGES {
        let script = script(&fs::read_to_string(docs.join(page)).expect("a page"));
        assert!(script.contains("berth "), "{page} shows nothing");
        let folder = tempfile::tempdir().expect("a folder");
        let dev = Dev::start(&folder.path().join("data"), &[]);
        let work = folder.path().join("work");
        fs::create_dir(&work).expect("a folder");
        let ran = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&work)
            .env("PATH", &path)
            .env("BERTH_API", &dev.api)
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("bash runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(ran.status.success(), "{page}:\n{}\n{}", text(&ran.stdout), text(&ran.stderr));
        assert_eq!(dev.stop(), 0);
    }
}
