//! The page of a coordinator in a real browser: what it shows is what the cluster holds.
//!
//! Needs Debian's `chromium-headless-shell` (or any Chromium); without one the test says so and skips.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_proto::{
    api::v1::{FollowBoardRequest, SetTrafficRequest, TrafficMap, boards_client::BoardsClient},
    node::v1::Served,
    store::v1::{AlertRule, Device},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_stream::StreamExt as _;

use crate::{
    api_fleet::{Fleet, endpoint_request, fresh_id},
    session_node::{Part, Puppet},
};

/// How long a browser may take to come up, read everything and draw it, on a busy host.
const WITHIN: Duration = Duration::from_secs(120);
/// Milliseconds of the page's own clock that pass before the browser says what it sees.
const PAGE_MS: &str = "--virtual-time-budget=6000";

/// Looks that a browser takes at a page which lacks its figures.
const LOOKS_MAX: u32 = 5;

fn browser() -> Option<&'static str> {
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"].into_iter().find(runs)
}

async fn look(browser: &str, profile: &Path, task: &str, url: &str) -> String {
    let mut command = tokio::process::Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(["--window-size=1280,900", PAGE_MS, task, url]);
    let output = tokio::time::timeout(WITHIN, command.kill_on_drop(true).output()).await;
    let output = output.expect("the browser ends in time").expect("the browser runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Finds what a drawing says to those who do not see it, after what it is about.
fn label<'a>(seen: &'a str, about: &str) -> Option<&'a str> {
    let (_, rest) = seen.split_once(&format!("aria-label=\"{about}: "))?;
    rest.split_once('"').map(|(said, _)| said)
}

fn figure(seen: &str, about: &str) -> Option<f64> {
    label(seen, about)?.split(' ').next()?.parse().ok()
}

/// Waits until a piece of time is over in which requests were answered: the one that still grows is not shown.
async fn answered(fleet: &Fleet) {
    let deadline = tokio::time::Instant::now() + WITHIN;
    loop {
        let mut board = BoardsClient::new(fleet.channel(0));
        let told = board.follow(FollowBoardRequest { once: true }).await.expect("a board");
        let parts: Vec<_> = told.into_inner().collect().await;
        let mut points = parts.iter().flatten().flat_map(|part| {
            let of = part.loads.iter().filter(|load| load.deployment == "blue");
            of.flat_map(|load| &load.points).map(|point| point.number < part.newest_point)
        });
        if points.any(|is_over| is_over) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "nothing was answered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Hands a browser's connections on to a coordinator, notes what is asked for, and cuts the first stream of the board in the
/// middle.
struct Wire {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

// === impl Wire ===

impl Wire {
    /// What passes of the stream that is cut: its head, and no whole line.
    const PASSES: usize = 600;

    async fn before(coordinator: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                let server = TcpStream::connect(coordinator).await.expect("the coordinator is there");
                tokio::spawn(Self::pass(browser, server, noted.clone()));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }

    /// Passes bytes both ways until either side ends, or the stream is cut.
    async fn pass(mut browser: TcpStream, mut server: TcpStream, noted: Arc<Mutex<Vec<String>>>) {
        let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
        let mut left = usize::MAX;
        while left > 0 {
            tokio::select! {
                read = browser.read(&mut up) => {
                    let Ok(len @ 1..) = read else { return };
                    // A question fits into what is read at once.
                    let text = String::from_utf8_lossy(&up[..len]).into_owned();
                    let path = text.strip_prefix("GET ").and_then(|rest| rest.split([' ', '?']).next());
                    if let Some(path) = path {
                        let mut noted = noted.lock().expect("nobody panicked");
                        if path.ends_with("/boards/follow") && !noted.iter().any(|before| before == path) {
                            left = Self::PASSES;
                        }
                        noted.push(path.to_owned());
                    }
                    if server.write_all(&up[..len]).await.is_err() {
                        return;
                    }
                }
                read = server.read(&mut down) => {
                    let Ok(len @ 1..) = read else { return };
                    let len = len.min(left);
                    if left != usize::MAX {
                        left -= len;
                    }
                    if browser.write_all(&down[..len]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_the_cluster_and_the_api() {
    let Some(browser) = browser() else {
        let why = "no Chromium is installed; Debian calls it chromium-headless-shell";
        let required = std::env::var("BERTH_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.contains("chromium"), "a browser is required: {why}");
        // Past the capture of the test runner: a check that did not run is said aloud.
        let _ = writeln!(io::stderr(), "SKIPPED the page in a browser: {why}");
        return;
    };
    let fleet = Fleet::start(1).await;
    let card = Device {
        uuid: "GPU-1".into(),
        model: "H100".into(),
        memory_mib: 81_920,
        healthy: true,
        simulated: true,
        ..Device::default()
    };
    let served = |deployment: &str, requests, failed| Served {
        endpoint: "fraud".into(),
        deployment: deployment.into(),
        requests,
        failed,
        took: [vec![0; 10], vec![requests]].concat(),
        ..Served::default()
    };
    let served = vec![served("blue", 3, 0), served("", 1, 1)];
    let part = Part { devices: vec![card], served, fails: vec!["green"] };
    let puppets = [
        Puppet::start_as(&fleet, 1, "gpu-1", part),
        Puppet::start_as(&fleet, 2, "cpu-1", Part { fails: vec!["green"], ..Part::default() }),
    ];
    let mut request = endpoint_request("fraud", &fresh_id());
    let rule = AlertRule { when: "replicas short for 0s".into(), ..AlertRule::default() };
    request.spec.as_mut().expect("a spec").alerts = vec![rule];
    fleet.endpoints(0).put(request).await.expect("created");
    fleet.put_deployment(0, "fraud", "blue", 2).await.expect("created");
    fleet.put_deployment(0, "fraud", "green", 1).await.expect("created");
    let split = TrafficMap { percent: [("blue".to_owned(), 100)].into() };
    let request = SetTrafficRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        split: Some(split),
        ..Default::default()
    };
    fleet.endpoints(0).set_traffic(request).await.expect("set");
    // Rules are looked at by the clock; the one replica of green never serves.
    fleet.until(0, "the rule fires", |state| state.alerts.values().any(|alert| alert.is_firing())).await;
    fleet
        .until(0, "blue serves and green has failed", |state| {
            let of = |name: &str| state.deployment_status(&name.parse().expect("a key")).ok();
            of("fraud/blue").is_some_and(|blue| blue.ready == 2)
                && of("fraud/green").is_some_and(|green| green.state.word() == "Failed")
        })
        .await;
    answered(&fleet).await;
    let folder = tempfile::tempdir().expect("a folder");
    let at = format!("http://{}", fleet.members[0].address);

    // A busy host may leave a piece of time without any answer: another look sees another one.
    let mut seen = String::new();
    for _ in 0..LOOKS_MAX {
        seen = look(browser, folder.path(), "--dump-dom", &format!("{at}/")).await;
        if figure(&seen, "requests").is_some_and(|rate| rate > 0.0) {
            break;
        }
    }
    assert!(seen.contains("data-ready=\"yes\""), "everything was read: {seen}");
    for wanted in [
        "fraud",
        "blue 100 %",
        "blue 2/2, green 0/1",
        "init() raised: no model",
        "deployment.created",
        "replica.serving",
        "fraud/replicas-short",
        "gpu-1",
        "cpu-1",
        "1: H100 healthy (simulated)",
        "<rect",
    ] {
        assert!(seen.contains(wanted), "the page shows {wanted}: {seen}");
    }
    // Four courses: three of them of what was answered, of which a quarter was refused before a deployment was chosen.
    assert!(figure(&seen, "requests").is_some_and(|rate| rate > 0.0), "{seen}");
    assert_eq!(label(&seen, "failed"), Some("25 %"), "{seen}");
    assert!(label(&seen, "p95").is_some_and(|p95| p95.ends_with(" ms")), "{seen}");
    assert!(figure(&seen, "at work").is_some_and(|busy| busy >= 6.0), "three at each: {seen}");
    assert_eq!(seen.matches("<polyline").count(), 4, "{seen}");
    let serving = seen.matches("<span class=\"good\">serving</span>").count();
    assert_eq!(serving, 2, "two replicas serve: {seen}");
    assert!(seen.contains("role=\"alert\" hidden"), "nothing is said to be old: {seen}");

    let seen = look(browser, folder.path(), "--dump-dom", &format!("{at}/docs")).await;
    assert!(seen.contains("data-ready=\"yes\""), "the description was read: {seen}");
    assert!(seen.matches("<details").count() >= 35 && seen.contains("/api/v1/endpoints/set-traffic"), "{seen}");

    // Everything is followed, nothing is asked for again and again; a stream that breaks is followed anew.
    let (mut seen, mut asked) = (String::new(), Vec::new());
    for _ in 0..LOOKS_MAX {
        let wire = Wire::before(fleet.members[0].address).await;
        seen = look(browser, &folder.path().join("wire"), "--dump-dom", &format!("http://{}/", wire.address)).await;
        asked = wire.asked();
        // A busy host may answer the second time when the picture is taken already.
        if seen.contains("blue 2/2, green 0/1") {
            break;
        }
    }
    let times = |path: &str| asked.iter().filter(|asked| asked.as_str() == path).count();
    assert!(times("/api/v1/boards/follow") >= 2, "it was cut once: {asked:?}");
    assert!(!asked.iter().any(|path| path.ends_with("/list") && !path.ends_with("alerts/list")), "{asked:?}");
    assert!(seen.contains("blue 2/2, green 0/1") && seen.contains("role=\"alert\" hidden"), "it goes on: {seen}");

    let picture = folder.path().join("page.png");
    look(browser, folder.path(), &format!("--screenshot={}", picture.display()), &format!("{at}/")).await;
    puppets.into_iter().for_each(Puppet::stop);
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000, "{} bytes", bytes.len());
}
