//! Every block of the documentation either runs, is checked, or says why it is only shown.
//!
//! The first word after a fence says what a block is. `sh` is run; of a `console`, the lines after `$ ` are, and what is
//! printed below them is an example. A page's blocks run in order, in a copy of `examples`, against a cluster of their
//! own: `berth dev … &` starts one with these flags, on free ports. `shown: WHY` behind the word keeps a block from
//! running, `needs: wheels` runs it where there are packages to install. Every command is at least one that can be typed:
//! bash reads it, and see the tests of `args`. What is no command is read by what it is for: see `documented` of the
//! program. `text` is a picture.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How long the blocks of one page may take, in seconds: the longest builds a Python environment.
const PAGE_SECS: &str = "600";

/// Blocks that are only shown. Who adds one says why in the block, and counts it here.
const SHOWN: usize = 24;

/// Other pages that have blocks, and who looks at those.
const ELSEWHERE: &[(&str, &str)] = &[
    ("docs/benchmarks/balance.md", "chaos-tests/src/peer.rs starts others by them"),
    ("docs/benchmarks/mesh.md", "mesh.py starts others by them"),
    ("docs/benchmarks/serve.md", "serve.py starts others by them"),
    ("sdk/python/README.md", "sdk/python/tests/test_docs.py runs them"),
];

/// What a page needs before its first block: the functions that start and end a cluster.
const PROLOGUE: &str = r#"
set -euo pipefail
DEV=
end_dev() { if [ -n "$DEV" ]; then kill "$DEV"; wait "$DEV" || true; fi; }
trap end_dev EXIT
start_dev() {
  end_dev
  # Emptied before it starts: the background empties it when it gets to it, and the last one's words are still there.
  : > "$HOME/dev.log"
  berth dev --api 127.0.0.1:0 --ingress 127.0.0.1:0 --log error "$@" >> "$HOME/dev.log" 2>&1 &
  DEV=$!
  until grep -q '^ready: ' "$HOME/dev.log"; do
    kill -0 "$DEV" || { cat "$HOME/dev.log"; return 1; }
    sleep 0.1
  done
  export BERTH_API=$(sed -n 's/^ready: api=\([^ ]*\) .*/\1/p' "$HOME/dev.log")
  export INGRESS=$(sed -n 's/^ready: .* ingress=\([^ ]*\).*/\1/p' "$HOME/dev.log")
}
"#;

/// A block between two fences.
#[derive(Debug)]
struct Block {
    page: String,
    line: usize,
    /// What stands behind the fence, word by word.
    word: String,
    mark: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Lists the pages whose blocks run: the README and what lies in `docs`.
fn pages() -> Vec<String> {
    let listed = fs::read_dir(root().join("docs")).expect("a folder");
    let names = listed.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut pages: Vec<_> = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.push("README.md".to_owned());
    pages.push("examples/digits/README.md".to_owned());
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(page)).expect("a page");
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (at, line) in text.lines().enumerate() {
        // Behind spaces it would be seen by readers, and by nobody here.
        assert!(
            !line.trim_start().starts_with("```") || line.starts_with("```"),
            "{page}:{}: a fence is moved in",
            at + 1
        );
        match (is_open, line.strip_prefix("```"), blocks.last_mut()) {
            (false, Some(info), _) => {
                let (word, mark) = info.split_once(' ').unwrap_or((info, ""));
                let (word, mark) = (word.to_owned(), mark.trim().to_owned());
                blocks.push(Block { page: page.to_owned(), line: at + 1, word, mark, text: String::new() });
                is_open = true;
            }
            (true, Some(""), _) => is_open = false,
            (true, _, Some(block)) => block.text.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    assert!(!is_open, "{page} ends in a block");
    blocks
}

/// Returns what stands behind a prompt, which may name its host.
fn prompted(line: &str) -> Option<&str> {
    let (host, command) = line.split_once("$ ")?;
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then_some(command)
}

// === impl Block ===

impl Block {
    fn is_shown(&self) -> bool {
        self.mark.starts_with("shown: ")
    }

    /// Returns what of it runs.
    fn commands(&self) -> String {
        if self.word == "sh" {
            return self.text.clone();
        }
        let mut commands = String::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            let Some(command) = prompted(line).or(goes_on.then_some(line)) else { continue };
            goes_on = command.ends_with('\\');
            commands.push_str(&format!("{command}\n"));
        }
        commands
    }

    /// Writes what runs for bash, with a cluster of its own wherever one is started.
    fn script(&self) -> String {
        let mut script = format!("# {}:{}\n", self.page, self.line);
        for line in self.commands().lines() {
            let bare = line.split(" #").next().unwrap_or_default().trim_end();
            let line = match bare.strip_prefix("berth dev").and_then(|flags| flags.strip_suffix('&')) {
                Some(flags) => format!("start_dev{flags}"),
                None => line.replace("127.0.0.1:7480", "$INGRESS").replace("127.0.0.1:7400", "$BERTH_API"),
            };
            script.push_str(&format!("{line}\n"));
        }
        script
    }
}

#[test]
fn every_block_says_what_it_is() {
    let (mut wrong, mut shown) = (String::new(), 0);
    for block in pages().iter().flat_map(|page| blocks(page)) {
        let runs = matches!(block.word.as_str(), "sh" | "console");
        let known = runs || matches!(block.word.as_str(), "text" | "yaml" | "toml" | "json");
        let marked = matches!(block.mark.as_str(), "" | "needs: wheels") || block.is_shown();
        shown += usize::from(block.is_shown());
        if !known || !marked || (!runs && !block.mark.is_empty()) {
            writeln!(wrong, "{}:{}: ```{} {}", block.page, block.line, block.word, block.mark).expect("text");
        }
        if runs && block.commands().trim().is_empty() {
            writeln!(wrong, "{}:{}: nothing in it runs; it is `text`", block.page, block.line).expect("text");
        }
        if block.word == "text" && block.text.lines().any(|line| prompted(line).is_some()) {
            writeln!(wrong, "{}:{}: it has commands; it is `console`", block.page, block.line).expect("text");
        }
        if let Some(why) = runs.then(|| unread(&block.commands())).flatten() {
            writeln!(wrong, "{}:{}: bash does not read it: {why}", block.page, block.line).expect("text");
        }
    }
    assert!(wrong.is_empty(), "what are these blocks?\n{wrong}");
    assert_eq!(shown, SHOWN, "blocks that are only shown");
}

/// Returns why bash cannot read a script.
fn unread(script: &str) -> Option<String> {
    let read = Command::new("bash").args(["-n", "-c", script]).output().expect("bash runs");
    (!read.status.success()).then(|| String::from_utf8_lossy(&read.stderr).into_owned())
}

#[test]
fn every_page_with_blocks_is_looked_at() {
    let mut folders = vec![root()];
    let (looked_at, mut there) = (pages(), Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            // What is built and what is installed is not ours.
            let is_ours = !name.starts_with('.') && !matches!(name.as_str(), "target" | "node_modules" | "shared");
            match entry.file_type().expect("a kind").is_dir() {
                true if is_ours && !path.join("pyvenv.cfg").exists() => folders.push(path),
                false if name.ends_with(".md") => {
                    let text = fs::read_to_string(&path).expect("a page");
                    if text.lines().any(|line| line.trim_start().starts_with("```")) {
                        let below = path.strip_prefix(root()).expect("below the root");
                        there.push(below.to_string_lossy().into_owned());
                    }
                }
                _ => {}
            }
        }
    }
    there.retain(|page| !looked_at.contains(page));
    there.sort();
    assert_eq!(there, ELSEWHERE.iter().map(|(page, _)| *page).collect::<Vec<_>>(), "pages with blocks, and who looks");
}

/// Returns what is typed of a line, without the remark behind it.
fn typed(line: &str) -> Option<&str> {
    let bare = line.split(" #").next().unwrap_or_default().trim();
    (!bare.is_empty() && !bare.starts_with('#')).then_some(bare)
}

/// The record of a newcomer's first minutes holds what stands there now: who changes a command types them again.
#[test]
fn the_first_minutes_were_typed_as_the_readme_has_them() {
    let text = fs::read_to_string(root().join("README.md")).expect("a page");
    let heads = |from: usize| text.lines().enumerate().skip(from).find(|(_, line)| line.starts_with("## "));
    let begin = text.lines().position(|line| line == "## First five minutes").expect("the section");
    let end = heads(begin + 1).map_or(usize::MAX, |(at, _)| at);
    let section = blocks("README.md").into_iter().filter(|block| (begin..end).contains(&block.line));
    let runs: Vec<_> = section.filter(|block| block.word == "sh" && !block.is_shown()).collect();
    let there: Vec<_> = runs.iter().flat_map(|block| block.text.lines()).filter_map(typed).collect();
    assert!(there.len() > 10, "{there:?}");
    let record = fs::read_to_string(root().join("docs/verified/first-minutes.txt")).expect("the record");
    let lines: Vec<_> = record.lines().collect();
    let ran: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("$ ")).filter_map(typed).collect();
    let again =
        "type them again: docs/benchmarks/first_minutes.py target/release/berth --out docs/verified/first-minutes.txt";
    assert_eq!(there, ran, "the README (left) and the record (right) differ; {again}");
    let ended = lines.windows(2).filter(|two| two[0].starts_with("$ ") && two[1].ends_with(" s, exit 0")).count();
    assert_eq!(ended, ran.len(), "each ended well; else {again}");
}

#[test]
fn what_the_documentation_shows_works() {
    let binary = Path::new(env!("CARGO_BIN_EXE_berth"));
    let path =
        format!("{}:{}", binary.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
    let wheels = std::env::var("BERTH_TEST_WHEELS").ok();
    for page in pages() {
        let all = blocks(&page);
        let some = all.iter().filter(|block| matches!(block.word.as_str(), "sh" | "console") && !block.is_shown());
        let some: Vec<_> = some.filter(|block| block.mark.is_empty() || wheels.is_some()).collect();
        if some.is_empty() {
            continue;
        }
        let body: String = some.iter().map(|block| block.script()).collect();
        let own = body.lines().find(|line| !line.starts_with('#')).is_some_and(|line| line.starts_with("start_dev"));
        let script = format!("{PROLOGUE}{}\n{body}", if own { "" } else { "start_dev" });
        let folder = tempfile::tempdir().expect("a folder");
        let work = folder.path().join("work");
        fs::create_dir(&work).expect("a folder");
        // A copy, for what the pages write beside the files; the rest is as in a checkout.
        let copied = Command::new("cp").args(["-r"]).arg(root().join("examples")).arg(&work).status();
        assert!(copied.expect("cp runs").success());
        symlink(root().join("sdk"), work.join("sdk")).expect("a link");
        let mut bash = Command::new("timeout");
        bash.args([PAGE_SECS, "bash", "-c", &script]).current_dir(&work).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_")) {
            bash.env_remove(name);
        }
        if let Some(wheels) = &wheels {
            bash.env("BERTH_PIP_ARGS", format!("--no-index,--find-links,{wheels}"));
        }
        let ran = bash.env("PATH", &path).env("HOME", folder.path()).output().expect("bash runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&ran.stdout), text(&ran.stderr));
        assert!(ran.status.success(), "{page}: {}\n{out}\n{err}\n---\n{script}", ran.status);
    }
}
