//! What a terminal sees, in a real one: tmux is it. Skipped, loudly, where there is none.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::berth::{Dev, not_required};

/// How long anything may take to come on a machine that builds something else.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A terminal of 100 columns and 30 lines in which a line of the shell runs.
struct Terminal {
    socket: PathBuf,
}

// === impl Terminal ===

impl Terminal {
    /// Runs a line; nothing where there is no tmux.
    fn run(folder: &Path, line: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            not_required("tmux");
            let _ = writeln!(io::stderr(), "SKIPPED: there is no tmux on this machine");
            return None;
        }
        let terminal = Self { socket: folder.join("tmux") };
        // What comes after shows that the terminal is as it was.
        let line = format!("{line}; echo left with $?; exec cat");
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", &line]);
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).args(args).env_remove("TMUX").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8");
        let output = tmux.output().expect("tmux runs");
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the screen shows a text, and returns it with its colours.
    fn shows(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let plain = self.tmux(&["capture-pane", "-p"]);
            if plain.contains(part) {
                return self.tmux(&["capture-pane", "-p", "-e"]);
            }
            assert!(Instant::now() < deadline, "no `{part}` in\n{plain}");
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

const BERTH: &str = env!("CARGO_BIN_EXE_berth");

#[test]
fn t_opens_the_screen_over_a_development_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let line =
        format!("'{BERTH}' dev --data-dir '{data}' --nodes 1 --api 127.0.0.1:0 --ingress 127.0.0.1:0 --log error");
    let Some(terminal) = Terminal::run(folder.path(), &line) else { return };
    terminal.shows("press t for the screen");
    terminal.press("t");
    terminal.shows("<dashboard>");
    terminal.shows("node-1");
    terminal.press("q");
    // What was said before is there again, and its keys are still taken.
    terminal.shows("press t for the screen");
    terminal.press("t");
    terminal.shows("<dashboard>");
    terminal.press("q");
    terminal.shows("press t for the screen");
    terminal.press("C-c");
    terminal.shows("left with 0");
}

#[test]
fn colours_are_shown_to_people_who_want_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    let look = |before: &str| {
        let own = tempfile::tempdir().expect("a folder");
        let line = format!("{before} '{BERTH}' get nodes --api {}", dev.api);
        Terminal::run(own.path(), &line).map(|terminal| terminal.shows("left with 0"))
    };
    let Some(colored) = look("") else { return };
    // tmux writes green in its own way; that there is some is enough.
    assert!(colored.contains("\x1b[32m"), "a state word is green: {colored:?}");
    let plain = look("NO_COLOR=1").expect("tmux is there");
    assert!(!plain.contains("\x1b[32m"), "{plain:?}");
    let empty = look("NO_COLOR=").expect("tmux is there");
    assert!(empty.contains("\x1b[32m"), "what is set to nothing is not set: {empty:?}");
    assert_eq!(dev.stop(), 0);
}

#[test]
fn the_screen_can_be_read_only_and_take_a_mouse() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    let line = format!("'{BERTH}' tui nodes --read-only --mouse --api {}", dev.api);
    let Some(terminal) = Terminal::run(folder.path(), &line) else { return };
    terminal.shows("read-only");
    terminal.shows("node-1");
    assert_eq!(terminal.tmux(&["display-message", "-p", "#{mouse_any_flag}"]).trim(), "1", "clicks are asked for");
    terminal.press("u");
    terminal.shows("this screen was started with --read-only");
    // A click into the row of the node, and one more that goes into it.
    for _ in 0..2 {
        terminal.tmux(&["send-keys", "-l", "\x1b[<0;4;4M\x1b[<0;4;4m"]);
    }
    terminal.shows("<replicas on node-1>");
    terminal.press("q");
    terminal.shows("left with 0");
    let nodes = dev.run(&["get", "nodes", "-o", "json"]).good().json();
    assert_eq!(nodes[0]["cordoned"], serde_json::Value::Bool(false), "{nodes}");
    assert_eq!(dev.stop(), 0);
}

#[test]
fn every_screen_has_a_text_twin() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("talk.yml"), crate::verbs::FILE).expect("a file");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1", "--fake-gpus", "1x80GiB:H100"]);
    let file = folder.path().join("talk.yml").display().to_string();
    dev.run(&["apply", "-f", &file]).good();
    let asked = dev.run(&["invoke", "talk", "-d", "{}"]).good().err;
    let id =
        asked.rsplit("request ").next().and_then(|rest| rest.split_whitespace().next()).expect("its id").to_owned();
    let list = dev.run(&["tui", "--once", "aliases", "--size", "120x60"]).good().out;
    let rows: Vec<Vec<String>> = list
        .lines()
        .skip(3)
        .map(|line| line.chars().take(30).collect::<String>().split_whitespace().map(str::to_owned).collect())
        .take_while(|words: &Vec<String>| !words.is_empty())
        .collect();
    assert!(rows.len() > 20, "{list}");
    for name in rows.iter().flatten().filter(|name| !["quit", "q"].contains(&name.as_str())) {
        // What it is about, and what it tells of this cluster.
        let (about, fact) = match name.as_str() {
            "dashboard" | "dash" => ("", "talk      Succeeded"),
            "endpoints" | "endpoint" | "ep" => ("", "blue=100"),
            "deployments" | "deployment" | "dep" | "rollouts" | "rollout" | "ro" => ("", "talk/blue"),
            "replicas" | "replica" | "rep" => ("", "serving"),
            "nodes" | "node" | "no" => ("", "node-1  ready"),
            "coordinators" | "raft" | "co" => ("", "leader"),
            "slots" | "reserve" => ("", "SLOT"),
            "gpus" | "gpu" | "devices" | "graphs" | "gg" => ("", "H100"),
            "events" | "event" | "ev" => ("", "endpoint.created"),
            "tree" | "xray" | "x" => ("", "   blue "),
            "pulses" | "pulse" => ("", "talk"),
            "aliases" | "alias" => ("", "coordinators"),
            "help" | "h" => ("", "ctrl-a"),
            "describe" | "d" => (" talk/blue", "node-1"),
            "yaml" => (" talk/blue", "endpoint: talk"),
            "logs" | "log" => (" talk/blue", "first words"),
            "build" => (" talk/blue", "nothing was written"),
            "what-if" | "without" => (" node-1", "If node-1 were lost now:"),
            "mirror" => (" talk", "talk has no mirror"),
            "request" | "req" => (id.as_str(), "answered"),
            "previous" => (" talk/blue", "no replica of `talk/blue` has failed or ended"),
            other => panic!("`{other}` is a screen of which nothing is checked"),
        };
        let screen = format!("{name} {about}");
        let shown = dev.run(&["tui", "--once", screen.trim()]).good().out;
        let (head, body) = shown.split_at(shown.match_indices('\n').nth(1).map_or(shown.len(), |(at, _)| at));
        assert!(head.starts_with("berth ") && head.contains("\n<"), "{screen}: {shown}");
        assert!(body.contains(fact), "{screen} does not tell `{fact}`: {shown}");
    }
    assert_eq!(dev.stop(), 0);
}

/// Lets a shell complete a line as a person would with `tab`, and returns what it offers.
fn offered(dev: &Dev, home: &Path, line: &str) -> Vec<String> {
    let words = line.split(' ').map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let script = format!(
        "source <(berth completion bash); COMP_WORDS=(berth {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _berth_names berth \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let folder = Path::new(BERTH).parent().expect("a folder").display().to_string();
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).env("BERTH_API", &dev.api).env("HOME", home).env("XDG_CONFIG_HOME", home);
    bash.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    let output = bash.output().expect("bash runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Starts a cluster that serves `talk/blue`.
fn talking(folder: &Path) -> Dev {
    let dev = Dev::start(&folder.join("data"), &["--nodes", "1"]);
    fs::write(folder.join("talk.yml"), crate::verbs::FILE).expect("a file");
    dev.run(&["apply", "-f", &folder.join("talk.yml").display().to_string()]).good();
    dev
}

/// Returns whether a shell is there, and says so where it is not.
fn has_shell(shell: &str) -> bool {
    let is_there = Command::new(shell).arg("--version").output().is_ok();
    if !is_there {
        not_required(shell);
        let _ = writeln!(io::stderr(), "SKIPPED: there is no {shell} on this machine");
    }
    is_there
}

/// What stands before a command so that it finds the program and the cluster, and nothing of whoever runs the tests.
fn found(dev: &Dev, home: &Path) -> String {
    let folder = Path::new(BERTH).parent().expect("a folder").display();
    let home = home.display();
    format!("env BERTH_API={} HOME='{home}' XDG_CONFIG_HOME='{home}' ZDOTDIR='{home}' PATH=\"{folder}:$PATH\"", dev.api)
}

#[test]
fn fish_offers_verbs_flags_words_and_names() {
    if !has_shell("fish") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dev = talking(folder.path());
    for (line, offered) in [
        ("berth traf", "traffic"),
        ("berth node dra", "drain"),
        ("berth logs --fol", "--follow"),
        ("berth get nodes -o js", "json"),
        ("berth get no", "nodes"),
        ("berth traffic ", "talk"),
        ("berth logs ta", "talk/blue"),
        ("berth node drain n", "node-1"),
    ] {
        let script = format!("source (berth completion fish | psub); complete -C '{line}'");
        let run = format!("{} fish --no-config -c \"{script}\"", found(&dev, folder.path()));
        let output = Command::new("sh").args(["-c", &run]).output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let words: Vec<_> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        assert!(words.contains(&offered), "{line}: {words:?}");
    }
    assert_eq!(dev.stop(), 0);
}

#[test]
fn zsh_completes_verbs_flags_words_and_names() {
    if !has_shell("zsh") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dev = talking(folder.path());
    let path = |name: &str| folder.path().join(name);
    let script = crate::berth::run(&["completion", "zsh"]).good().out;
    fs::create_dir(path("functions")).expect("a folder");
    fs::write(path("functions/_berth"), script).expect("a file");
    // As a package installs it, and as somebody has it in a file of their own.
    let before = "PROMPT='ready> '; autoload -Uz compinit";
    for (name, rc) in [
        ("installed", format!("fpath=({} $fpath); {before}; compinit -u -D", path("functions").display())),
        ("sourced", format!("{before}; compinit -u -D; source <(berth completion zsh)")),
    ] {
        fs::write(path(".zshrc"), rc).expect("a file");
        let own = path(name);
        fs::create_dir(&own).expect("a folder");
        let Some(terminal) = Terminal::run(&own, &format!("{} zsh -d -i", found(&dev, folder.path()))) else { return };
        terminal.shows("ready>");
        // The first asks for a name: what reads its script only then has to have it, too.
        for (typed, completed) in [
            ("berth logs ta", "berth logs talk/blue"),
            ("berth traf", "berth traffic"),
            ("berth node drain n", "berth node drain node-1"),
            ("berth logs --fol", "berth logs --follow"),
            ("berth get repl", "berth get replicas"),
            ("berth describe ta", "berth describe talk"),
        ] {
            terminal.tmux(&["send-keys", "-l", typed]);
            terminal.press("Tab");
            terminal.shows(completed);
            terminal.press("C-u");
        }
        terminal.press("C-d");
        terminal.shows("left with");
    }
    assert_eq!(dev.stop(), 0);
}

#[test]
fn a_shell_offers_the_names_of_the_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = talking(folder.path());
    for (line, name) in [
        ("logs ", "talk/blue"),
        ("logs -f ta", "talk/blue"),
        ("traffic ", "talk"),
        ("rollout status ", "talk"),
        ("node drain n", "node-1"),
        ("describe ", "node-1"),
        ("get no", "nodes"),
    ] {
        let offered = offered(&dev, folder.path(), line);
        assert!(offered.iter().any(|word| word == name), "{line}: {offered:?}");
        assert!(!offered.iter().any(|word| word.starts_with('[')) || line == "get no", "{line}: {offered:?}");
    }
    assert!(offered(&dev, folder.path(), "logs xx").is_empty(), "nothing begins like it");
    // Nobody is told when nobody answers.
    let silent = crate::berth::run(&["complete-names", "--api", "127.0.0.1:1", "--", "logs"]).good();
    assert_eq!((silent.out.as_str(), silent.err.as_str()), ("", ""));
    assert_eq!(dev.stop(), 0);
}

/// Hands connections on to a coordinator, and holds back what clients send beyond the first of it until it is opened.
struct Narrow {
    address: String,
    is_open: Arc<AtomicBool>,
}

// === impl Narrow ===

impl Narrow {
    /// What passes of each connection: more than a call takes, less than the file that is uploaded.
    const PASSES: usize = 1 << 20;

    fn before(api: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let is_open = Arc::new(AtomicBool::new(false));
        let (api, opened) = (api.to_owned(), Arc::clone(&is_open));
        // Threads end with their connections, or with the test.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&api) else { return };
                let (mut from, mut to) = (server.try_clone().expect("a stream"), client.try_clone().expect("a stream"));
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let opened = Arc::clone(&opened);
                thread::spawn(move || Self::squeeze(client, server, &opened));
            }
        });
        Self { address, is_open }
    }

    fn squeeze(mut client: TcpStream, mut server: TcpStream, is_open: &AtomicBool) {
        let (mut passed, mut piece) = (0, vec![0; 16 << 10]);
        while let Ok(len @ 1..) = client.read(&mut piece) {
            passed += len;
            while passed > Self::PASSES && !is_open.load(Ordering::Relaxed) {
                thread::sleep(LOOK_AGAIN);
            }
            if server.write_all(&piece[..len]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}

/// Stands in for Python: each step of a build waits for a file.
const PYTHON: &str = r#"#!/bin/sh
until_there() { while ! [ -e "HERE/$1" ]; do sleep 0.02; done; }
case "$1 $2" in
"-m venv")
    until_there venv
    mkdir -p "$3/bin" "$3/lib/python3/site-packages/pip-1.dist-info"
    touch "$3/lib/python3/site-packages/pip-1.dist-info/INSTALLER"
    cp "$0" "$3/bin/python" ;;
"-m pip")
    echo "Installing collected packages: numpy, scipy"
    packages="$(dirname "$0")/../lib/python3/site-packages"
    mkdir -p "$packages/numpy-2.dist-info" && touch "$packages/numpy-2.dist-info/INSTALLER"
    until_there installed ;;
*) exec python3 "$@" ;;
esac
"#;

/// Bytes of the file that is uploaded.
const MODEL_BYTES: usize = 8 << 20;

/// Describes a deployment with a model to upload and an environment to build.
fn with_work(name: &str) -> String {
    let more =
        format!("model: {{path: {name}.bin}}\nenvironment: {{pip: [numpy==2, scipy, {name}]}}\ninstance_count: 1");
    let file = crate::verbs::FILE.replace("instance_count: 1", &more);
    file.replace("name: blue", &format!("name: {name}")).replace("traffic: {blue: 100}\n", "")
}

#[test]
fn a_terminal_is_drawn_how_far_it_is_and_a_pipe_is_told_what_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("python"), PYTHON.replace("HERE", &folder.path().display().to_string())).expect("a file");
    fs::set_permissions(path("python"), fs::Permissions::from_mode(0o755)).expect("a program");
    for name in ["blue", "green"] {
        fs::write(path(&format!("{name}.yml")), with_work(name)).expect("a file");
        fs::write(path(&format!("{name}.bin")), vec![name.as_bytes()[0]; MODEL_BYTES]).expect("a file");
    }
    let python = path("python").display().to_string();
    let dev = Dev::start(&path("data"), &["--nodes", "1", "--python", &python]);
    let narrow = Narrow::before(&dev.api);
    let line = format!("cd '{}'; '{BERTH}' apply -f blue.yml --yes --api {}", folder.path().display(), narrow.address);
    let Some(terminal) = Terminal::run(folder.path(), &line) else { return };
    let shown = terminal.shows("[#");
    assert!(shown.lines().any(|line| line.contains("uploading ./blue.bin") && line.contains(" of 8 MiB")), "{shown}");
    narrow.open();
    terminal.shows("makes a virtual environment (step 1 of 3)");
    fs::write(path("venv"), "").expect("a file");
    terminal.shows("installs packages (step 3 of 3)  [####");
    fs::write(path("installed"), "").expect("a file");
    let left = terminal.shows("left with 0");
    assert!(left.contains("talk/blue serves with 1 of 1") && !left.contains("step 3 of 3"), "it is taken away: {left}");

    fs::remove_file(path("installed")).expect("it was there");
    let (said, done) = (path("said"), path("done"));
    let mut piped = Command::new(BERTH)
        .args(["apply", "-f", "green.yml", "--api", &dev.api])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(File::create(&done).expect("a file"))
        .stderr(File::create(&said).expect("a file"))
        .spawn()
        .expect("the binary runs");
    let deadline = Instant::now() + PATIENCE;
    let read = |path: &Path| fs::read_to_string(path).expect("text");
    while !read(&said).contains("installs packages (step 3 of 3)") {
        assert!(Instant::now() < deadline, "{}", read(&said));
        thread::sleep(LOOK_AGAIN);
    }
    fs::write(path("installed"), "").expect("a file");
    assert!(piped.wait().expect("it ends").success(), "{}", read(&said));
    let said = read(&said);
    assert!(said.contains("uploading ./green.bin\n"), "{said}");
    assert!(!said.contains(['\x1b', '\r']) && !said.contains("[#") && !said.contains(" MiB"), "{said}");
    assert!(read(&done).contains("talk/green serves with 1 of 1"));
    assert!(said.contains("gives requests to nobody; callers get 404 (try: berth traffic talk blue=100)"), "{said}");
    assert_eq!(dev.stop(), 0);
}
