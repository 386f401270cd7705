//! The operator's screen in a real terminal (tmux), over a real cluster whose processes die.

use std::{path::PathBuf, process::Command};

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT},
    say::skipped,
};
use tempfile::TempDir;

use crate::BERTH;

/// A terminal nobody looks at, in a tmux server of its own.
struct Screen {
    socket: PathBuf,
    _dir: TempDir,
}

// === impl Screen ===

impl Screen {
    /// Opens a screen of a cluster; nothing where there is no tmux.
    fn open(cluster: &Cluster, size: (u16, u16)) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            let required = std::env::var("BERTH_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.contains("tmux"), "tmux is required and cannot be run");
            skipped("the operator's screen", "there is no tmux on this machine");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary folder");
        let screen = Self { socket: dir.path().join("tmux"), _dir: dir };
        let api = cluster.fleet.api_addresses().join(",");
        // What comes after the screen shows whether it left the terminal as it was.
        let command = format!("EDITOR=true '{BERTH}' tui --api {api}; echo left with $?; exec cat");
        let (columns, rows) = (size.0.to_string(), size.1.to_string());
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, &command]);
        Some(screen)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(args)
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("tmux runs");
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Presses keys, by tmux's names.
    fn press(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    /// Types a command of the screen, such as `:rep`.
    fn go(&self, command: &str) {
        self.tmux(&["send-keys", "-l", command]);
        self.press(&["Enter"]);
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen reads as it should.
    async fn shows(&self, cluster: &Cluster, what: &str, holds: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let waited = cluster.fleet.wait(what, berth_chaos_tests::cluster::WITHIN, async || {
            last = self.text();
            holds(&last)
        });
        if let Err(error) = waited.await {
            panic!("{error}; the screen shows\n{last}\n{}", berth_chaos_tests::cluster::logs(&cluster.fleet));
        }
    }

    fn is_line(text: &str, words: &[&str]) -> bool {
        text.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Its own server: nobody else's sessions end.
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screen_tells_what_happens_and_changes_what_it_is_asked_to() {
    let mut cluster = Cluster::start(BERTH, 1, 3).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 2).await;
    cluster.deploy("green", 1).await;
    cluster.split(&[("blue", 90), ("green", 10)]).await;
    let Some(screen) = Screen::open(&cluster, (130, 36)) else { return };

    // What endpoints answer, as it happens.
    let ingresses = cluster.ingresses().await;
    let load = cluster.load(ingresses, 50, 1_000);
    screen
        .shows(&cluster, "requests are on the dashboard", |text| {
            Screen::is_line(text, &[ENDPOINT, "Succeeded", "3/3", " ms "]) && text.contains("blue ███████· 90 %")
        })
        .await;
    load.end().await;

    // A process dies, and starts again.
    screen.go(":rep");
    screen.shows(&cluster, "the replicas serve", |text| text.matches(" serving ").count() >= 3).await;
    let victim = cluster.client.list_replicas(ENDPOINT, "green").await.expect("listed").remove(0);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim.pid as i32), nix::sys::signal::Signal::SIGKILL)
        .expect("the process is killed");
    let restarted = |text: &str| {
        let line = text.lines().find(|line| line.contains("/green")).unwrap_or_default();
        line.split_whitespace().nth(5) == Some("1") && line.contains(" serving ")
    };
    screen.shows(&cluster, "it was started again", restarted).await;

    // The log of one, and back.
    screen.go("/green");
    screen.press(&["l"]);
    screen.shows(&cluster, "the log page opens", |text| text.contains("<logs of ")).await;
    screen.press(&["Escape"]);
    screen.shows(&cluster, "the list is back", |text| text.contains("filter green")).await;
    screen.press(&["Escape"]);

    // Traffic is moved by arrows, planned, and then moved.
    screen.go(":ep");
    screen.shows(&cluster, "the endpoints are listed", |text| text.contains("blue=90 green=10")).await;
    screen.press(&["t"]);
    screen.shows(&cluster, "the editor is open", |text| text.contains("traffic of")).await;
    screen.press(&["Down", "S-Right", "Right", "Enter"]);
    let plan = |text: &str| text.contains("y does it") && Screen::is_line(text, &["green", "10 %", "→", "21 %", "1/1"]);
    screen.shows(&cluster, "the plan is shown", plan).await;
    screen.press(&["y"]);
    screen.shows(&cluster, "the split has moved", |text| text.contains("blue=79 green=21")).await;
    let endpoint = cluster.client.get_endpoint(ENDPOINT).await.expect("it is there");
    assert_eq!(endpoint.traffic.get("green"), Some(&21));

    // An editor that changes nothing gives the screen back, and so does drawing everything again.
    screen.press(&["e"]);
    screen.shows(&cluster, "the editor was left", |text| text.contains("nothing was changed")).await;
    screen.press(&["C-r"]);
    screen.press(&["Right"]);
    screen.shows(&cluster, "the screen is whole", |text| text.contains("blue=79 green=21")).await;

    // What if a node were lost, and then it is.
    screen.go(":nodes");
    screen.shows(&cluster, "the nodes are listed", |text| text.matches(" ready ").count() >= 3).await;
    screen.press(&["w"]);
    screen.shows(&cluster, "the forecast is there", |text| text.contains("were lost now")).await;
    screen.press(&["Escape"]);
    let pids = cluster.pids_on("node-3").await;
    cluster.fleet.kill_node(2, &pids).expect("a node is killed");
    screen.shows(&cluster, "the node is lost", |text| Screen::is_line(text, &["node-3", "lost"])).await;
    screen.go(":events");
    screen.shows(&cluster, "its loss is among the events", |text| text.contains("node.lost")).await;

    // Without any coordinator the screen keeps what it knew, says so, and refuses changes.
    screen.go(":ep");
    cluster.fleet.kill_coordinator(0).expect("the coordinator is killed");
    screen.shows(&cluster, "the screen is frozen", |text| text.contains("frozen at version ")).await;
    screen.press(&["t"]);
    screen.shows(&cluster, "the change is refused", |text| text.contains("nothing can be changed now")).await;
    assert!(screen.text().contains("blue=79 green=21"), "what was known is still shown");
    cluster.fleet.restart_coordinator(0).expect("the coordinator starts");
    screen.shows(&cluster, "the screen lives again", |text| !text.contains("frozen")).await;

    // A small terminal is enough, and it is left as it was.
    screen.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    screen.go(":dash");
    let fits = |text: &str| {
        text.contains("1 endpoints (1) ─") && text.contains("? help") && text.lines().all(|it| it.chars().count() <= 80)
    };
    screen.shows(&cluster, "the dashboard fits", fits).await;
    screen.press(&["q"]);
    screen.shows(&cluster, "the terminal is given back", |text| text.contains("left with 0")).await;
}
