//! The page of a coordinator in a real browser: what it shows is what the cluster holds.
//!
//! Needs Debian's `chromium-headless-shell` (or any Chromium); without one the test says so and skips.

use std::{
    io::{self, Write as _},
    path::Path,
    process::Command,
    time::Duration,
};

use berth_proto::{
    api::v1::{SetTrafficRequest, TrafficMap},
    store::v1::AlertRule,
};

use crate::api_fleet::{Fleet, endpoint_request, fresh_id};

/// How long a browser may take to come up, read everything and draw it, on a busy host.
const WITHIN: Duration = Duration::from_secs(120);
/// Milliseconds of the page's own clock that pass before the browser says what it sees.
const PAGE_MS: &str = "--virtual-time-budget=6000";

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
    let mut request = endpoint_request("fraud", &fresh_id());
    let rule = AlertRule { when: "replicas short for 0s".into(), ..AlertRule::default() };
    request.spec.as_mut().expect("a spec").alerts = vec![rule];
    fleet.endpoints(0).put(request).await.expect("created");
    fleet.put_deployment(0, "fraud", "blue", 2).await.expect("created");
    let split = TrafficMap { percent: [("blue".to_owned(), 100)].into() };
    let request = SetTrafficRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        split: Some(split),
        ..Default::default()
    };
    fleet.endpoints(0).set_traffic(request).await.expect("set");
    // Rules are looked at by the clock; none of the two replicas has a node.
    fleet.until(0, "the rule fires", |state| state.alerts.values().any(|alert| alert.is_firing())).await;
    let folder = tempfile::tempdir().expect("a folder");
    let at = format!("http://{}", fleet.members[0].address);

    let seen = look(browser, folder.path(), "--dump-dom", &format!("{at}/")).await;
    assert!(seen.contains("data-ready=\"yes\""), "everything was read: {seen}");
    for wanted in [
        "fraud",
        "blue 100 %",
        "blue 0/2",
        "deployment.created",
        "No node has joined",
        "<polyline",
        "fraud/replicas-short",
        "<rect",
    ] {
        assert!(seen.contains(wanted), "the page shows {wanted}: {seen}");
    }
    assert!(seen.contains("role=\"alert\" hidden"), "nothing is said to be old: {seen}");

    let seen = look(browser, folder.path(), "--dump-dom", &format!("{at}/docs")).await;
    assert!(seen.contains("data-ready=\"yes\""), "the description was read: {seen}");
    assert!(seen.matches("<details").count() >= 35 && seen.contains("/api/v1/endpoints/set-traffic"), "{seen}");

    let picture = folder.path().join("page.png");
    look(browser, folder.path(), &format!("--screenshot={}", picture.display()), &format!("{at}/")).await;
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000, "{} bytes", bytes.len());
}
