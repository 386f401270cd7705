//! The operator's screen in a real terminal (tmux), over a real cluster whose processes die.

use std::{fs, path::PathBuf, process::Command};

use berth_chaos_tests::{
    cluster::{Cluster, ENDPOINT},
    say::skipped,
};
use berth_client::{
    api::{Deployment, Node},
    store::DeploymentSpec,
};
use tempfile::TempDir;

use crate::BERTH;

/// A terminal nobody looks at, in a tmux server of its own.
struct Screen {
    socket: PathBuf,
    dir: TempDir,
}

// === impl Screen ===

impl Screen {
    /// Opens a screen of a cluster; nothing where there is no tmux. Whoever edits does what [`Self::edits`] was told last.
    fn open(cluster: &Cluster, size: (u16, u16)) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            let required = std::env::var("BERTH_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.contains("tmux"), "tmux is required and cannot be run");
            skipped("the operator's screen", "there is no tmux on this machine");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary folder");
        let screen = Self { socket: dir.path().join("tmux"), dir };
        screen.edits("");
        let api = cluster.fleet.api_addresses().join(",");
        let editor = format!("sed -i -f {}", screen.edit().display());
        // What comes after the screen shows whether it left the terminal as it was.
        let command = format!("unset VISUAL; EDITOR='{editor}' '{BERTH}' tui --api {api}; echo left with $?; exec cat");
        let (columns, rows) = (size.0.to_string(), size.1.to_string());
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, &command]);
        Some(screen)
    }

    fn edit(&self) -> PathBuf {
        self.dir.path().join("edit.sed")
    }

    /// Says what whoever edits changes from now on, as a script of `sed`.
    fn edits(&self, script: &str) {
        fs::write(self.edit(), script).expect("a file");
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

    /// Goes to a list in which one line is left, or as many as the filter lets.
    async fn at(&self, cluster: &Cluster, list: &str, only: &str) {
        self.go(&format!(":{list}"));
        self.go(&format!("/{only}"));
        let is_there = |text: &str| {
            text.contains(&format!("filter {only}")) && text.lines().skip(3).any(|line| line.contains(only))
        };
        self.shows(cluster, &format!("{only} is in {list}"), is_there).await;
    }

    /// Presses keys, waits for the question they lead to, and answers it with yes.
    async fn does(&self, cluster: &Cluster, keys: &[&str], question: &str) {
        self.press(keys);
        let asked = |text: &str| text.contains(question) && text.contains("y does it");
        self.shows(cluster, &format!("{keys:?} ask `{question}`"), asked).await;
        self.press(&["y"]);
        self.shows(cluster, "the question is gone", |text| !text.contains("y does it")).await;
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

/// What the coordinators know of a deployment of the endpoint.
async fn deployment(cluster: &Cluster, name: &str) -> Deployment {
    cluster.client.get_deployment(ENDPOINT, name).await.expect("it is there")
}

async fn spec(cluster: &Cluster, name: &str) -> DeploymentSpec {
    deployment(cluster, name).await.spec.expect("a spec")
}

async fn node(cluster: &Cluster, name: &str) -> Option<Node> {
    let nodes = cluster.client.list_nodes().await.expect("the nodes are listed");
    nodes.into_iter().find(|node| node.node == name)
}

fn concurrency(spec: &DeploymentSpec) -> Option<u32> {
    spec.request_settings.as_ref().map(|it| it.max_concurrent_requests_per_instance)
}

/// Every key that changes something, and what the coordinators know afterwards: a question that is answered with yes and
/// changes something else, or nothing, is found by nobody who looks at the screen alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_that_changes_something_changes_that() {
    let mut cluster = Cluster::start(BERTH, 1, 3).await;
    cluster.endpoint().await;
    cluster.deploy("blue", 1).await;
    cluster.deploy("green", 1).await;
    cluster.split(&[("blue", 100)]).await;
    let Some(screen) = Screen::open(&cluster, (160, 40)) else { return };
    screen.shows(&cluster, "the screen is there", |text| text.contains(ENDPOINT)).await;

    // More instances.
    screen.at(&cluster, "dep", "blue").await;
    screen.does(&cluster, &["s", "2", "Enter"], "echo-ep/blue goes from 1 to 2 instances").await;
    cluster.serving("blue", 2).await;
    assert_eq!(spec(&cluster, "blue").await.instance_count, 2);
    assert_eq!(spec(&cluster, "green").await.instance_count, 1);

    // A restart is another generation of the same.
    let before = deployment(&cluster, "blue").await;
    screen.shows(&cluster, "both are seen to serve", |text| Screen::is_line(text, &["echo-ep/blue", "2/2"])).await;
    screen.does(&cluster, &["r"], "echo-ep/blue starts anew: 2 replicas").await;
    cluster.until("blue began anew", async || deployment(&cluster, "blue").await.generation > before.generation).await;
    assert_eq!(deployment(&cluster, "blue").await.spec, before.spec);
    let is_new = async || {
        let blue = deployment(&cluster, "blue").await;
        blue.updated == 2 && blue.ready == 2
    };
    cluster.until("every replica of blue is new", is_new).await;

    // What an editor changes of a deployment, planned first; and back again.
    screen.edits("s/max_concurrent_requests_per_instance: 64/max_concurrent_requests_per_instance: 32/");
    screen.does(&cluster, &["e"], "echo-ep/blue").await;
    cluster.until("blue was edited", async || concurrency(&spec(&cluster, "blue").await) == Some(32)).await;
    assert_eq!(concurrency(&spec(&cluster, "green").await), Some(64), "only what was edited is");
    cluster.until("every replica of blue is the edited one", is_new).await;
    screen.does(&cluster, &["C-l"], "echo-ep/blue goes back from generation").await;
    cluster.until("blue went back", async || concurrency(&spec(&cluster, "blue").await) == Some(64)).await;
    cluster.until("every replica of blue is as before", is_new).await;

    // What an editor changes of an endpoint.
    screen.at(&cluster, "ep", ENDPOINT).await;
    screen.edits("s/^description: .*/description: by hand/");
    screen.does(&cluster, &["e"], ENDPOINT).await;
    let told = async || {
        let endpoint = cluster.client.get_endpoint(ENDPOINT).await.expect("it is there");
        endpoint.spec.is_some_and(|spec| spec.description == "by hand")
    };
    cluster.until("the endpoint was edited", told).await;

    // A replica is replaced, finished first or at once.
    for key in ["C-d", "C-k"] {
        let green = cluster.client.list_replicas(ENDPOINT, "green").await.expect("listed");
        let old = green.iter().find(|it| it.state == "serving").expect("one serves").replica.clone();
        screen.at(&cluster, "rep", &old[..8]).await;
        screen.does(&cluster, &[key], &format!("Replica {} of echo-ep/green", &old[..8])).await;
        let replaced = async || {
            let green = cluster.client.list_replicas(ENDPOINT, "green").await.expect("listed");
            let serving =
                |old_one: bool| green.iter().any(|it| it.state == "serving" && (it.replica == old) == old_one);
            !serving(true) && serving(false)
        };
        cluster.until("another replica of green serves", replaced).await;
    }

    // Nodes: two marked ones take nothing new, and one of them does again.
    screen.at(&cluster, "nodes", "node-").await;
    screen.does(&cluster, &["Home", "Space", "Space", "u"], "node-2 takes nothing new").await;
    let cordoned = async |name: &str| node(&cluster, name).await.is_some_and(|node| node.cordoned);
    cluster.until("two nodes are cordoned", async || cordoned("node-1").await && cordoned("node-2").await).await;
    assert!(!cordoned("node-3").await);
    screen.press(&["Escape"]);
    screen
        .shows(&cluster, "the filter is gone", |text| text.contains("2 marked") && !text.contains("filter node"))
        .await;
    screen.press(&["Escape"]);
    screen.shows(&cluster, "the marks are gone", |text| !text.contains("marked")).await;
    screen.at(&cluster, "nodes", "node-1").await;
    screen.shows(&cluster, "it is seen to be cordoned", |text| Screen::is_line(text, &["node-1", "cordoned"])).await;
    screen.does(&cluster, &["u"], "node-1 takes replicas again").await;
    cluster.until("one is no longer", async || !cordoned("node-1").await).await;
    assert!(cordoned("node-2").await);
    screen.at(&cluster, "nodes", "node-2").await;
    screen.shows(&cluster, "so is the other", |text| Screen::is_line(text, &["node-2", "cordoned"])).await;
    screen.does(&cluster, &["u"], "node-2 takes replicas again").await;
    cluster.until("none is cordoned", async || !cordoned("node-2").await).await;

    // One becomes empty, and may be filled again.
    screen.at(&cluster, "nodes", "node-3").await;
    screen.does(&cluster, &["r"], "Drain node-3").await;
    let drains = async || node(&cluster, "node-3").await.is_some_and(|node| node.drain.is_some());
    cluster.until("the node drains", drains).await;
    screen.shows(&cluster, "it is seen to drain", |text| Screen::is_line(text, &["node-3", "drain"])).await;
    let empty = async || {
        let replicas = cluster.client.list_replicas(ENDPOINT, "").await.expect("listed");
        replicas.iter().all(|it| it.node != "node-3" || it.state == "stopped")
    };
    cluster.until("nothing runs there", empty).await;
    screen.does(&cluster, &["r"], "node-3 shall no longer be empty").await;
    cluster.until("the node takes replicas", async || !drains().await).await;

    // One that is lost is forgotten.
    let pids = cluster.pids_on("node-3").await;
    cluster.fleet.kill_node(2, &pids).expect("a node is killed");
    screen.shows(&cluster, "the node is lost", |text| Screen::is_line(text, &["node-3", "lost"])).await;
    screen.does(&cluster, &["C-d"], "Node node-3 is forgotten").await;
    cluster.until("the node is forgotten", async || node(&cluster, "node-3").await.is_none()).await;

    // What is deleted goes, and nothing else.
    screen.at(&cluster, "dep", "green").await;
    screen.does(&cluster, &["C-d"], "Deployment echo-ep/green goes").await;
    let names = async || {
        let all = cluster.client.list_deployments("").await.expect("listed");
        all.into_iter().map(|it| it.name).collect::<Vec<_>>()
    };
    cluster.until("the deployment is gone", async || names().await == ["blue"]).await;
    screen.at(&cluster, "ep", ENDPOINT).await;
    screen.does(&cluster, &["C-d"], "Endpoint echo-ep goes").await;
    let endpoints = async || cluster.client.list_endpoints().await.expect("listed");
    cluster.until("the endpoint is gone", async || endpoints().await.is_empty()).await;
    screen.press(&["q"]);
    screen.shows(&cluster, "the terminal is given back", |text| text.contains("left with 0")).await;
}
