//! Prometheus itself reads a cluster, and answers a question about it. Skipped, loudly, where it is not installed.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::berth::Dev;

/// How long Prometheus may take to come up, scrape twice and answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// Reads a page; nothing while nobody answers.
fn page(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// Waits until something is there.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Finds Prometheus: named by BERTH_TEST_PROMETHEUS, or on the path.
fn prometheus() -> Option<PathBuf> {
    let named = std::env::var_os("BERTH_TEST_PROMETHEUS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file()))
}

/// Starts a cluster that was called, and returns where its node's metrics are.
fn served(folder: &Path) -> (Dev, SocketAddr) {
    let dev = Dev::start(&folder.join("data"), &["--nodes", "1", "--metrics", "127.0.0.1:0"]);
    let metrics = dev.metrics.parse().expect("an address");
    let file = folder.join("talk.yml");
    fs::write(&file, crate::verbs::FILE).expect("a file");
    dev.run(&["apply", "-f", &file.display().to_string()]).good();
    for _ in 0..5 {
        dev.run(&["invoke", "talk", "-d", "{}"]).good();
    }
    (dev, metrics)
}

/// Numbers of processes that are set up otherwise, with the tests that see them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("berth_mesh_access_log_lost_total", "a node with an access log: the mesh's tests of records"),
    ("berth_mesh_spans_lost_total", "a node with a collector: the mesh's tests of traces"),
    ("berth_coordinator_alert_firing", "an endpoint with rules: the tests of alerts"),
    ("berth_coordinator_alert_value", "an endpoint with rules: the tests of alerts"),
    ("berth_coordinator_alert_messages_total", "coordinators with receivers: the tests of alerts"),
];

/// Lists what a page's samples are called, from what it says about their kinds.
fn families(page: &str) -> BTreeSet<String> {
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    kinds
        .flat_map(|(name, kind)| match kind {
            "counter" => vec![format!("{name}_total")],
            "histogram" => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

/// Lists the numbers that a text names; a name that ends in an underscore stands for several. A histogram may be named whole.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("berth_") && !word.ends_with('_'));
    names.map(|name| if name.ends_with("_seconds") { format!("{name}_sum") } else { name.to_owned() }).collect()
}

#[test]
fn every_process_shows_its_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dev, metrics) = served(folder.path());
    let api: SocketAddr = dev.api.parse().expect("an address");
    let text = until(|| page(metrics, "/metrics").filter(|text| text.contains("berth_replica_cpu_held_cores{")));
    let labels = "endpoint=\"talk\",deployment=\"blue\"";
    for line in [
        format!("berth_mesh_answers_total{{{labels},status=\"200\"}} 5"),
        format!("berth_mesh_duration_seconds_count{{{labels},status=\"2xx\"}} 5"),
        format!("berth_mesh_queue_wait_seconds_count{{{labels}}} 5"),
        format!("berth_mesh_request_bytes_total{{{labels}}} 10"),
        format!("berth_mesh_response_bytes_total{{{labels}}} 10"),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    let of_nodes = families(&text);
    let text = page(api, "/metrics").expect("a page");
    assert!(text.contains("berth_coordinator_endpoints 1"), "{text}");
    let mut shown: BTreeSet<String> = families(&text);
    shown.extend(of_nodes);
    shown.extend(ELSEWHERE.iter().map(|(name, _)| (*name).to_owned()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let examples = fs::read_dir(root.join("examples/telemetry")).expect("a folder");
    let mut files: Vec<_> = examples.map(|entry| entry.expect("an entry").path()).collect();
    files.extend(["telemetry.md", "operations.md", "alerts.md", "mesh.md"].map(|name| root.join("docs").join(name)));
    let mut seen = 0;
    for file in &files {
        for name in named(&fs::read_to_string(file).expect("a text")) {
            assert!(shown.contains(&name), "{} uses {name}, which no process shows", file.display());
            seen += 1;
        }
    }
    assert!(files.len() >= 8 && seen > 60, "{seen} names in {files:?}");

    let bill = dev.run(&["cost", "--core-hour", "1", "-o", "json"]).good().json();
    assert_eq!(
        (&bill[0]["endpoint"], &bill[0]["replicas"], &bill[0]["reserve_slots"]),
        (&"talk".into(), &1.into(), &1.into())
    );
    assert_eq!((&bill[0]["per_hour"], &bill[0]["reserve_per_hour"]), (&2.0.into(), &1.0.into()), "{bill}");
    until(|| {
        let bill = dev.run(&["cost", "--core-hour", "1", "-o", "json"]).good().json();
        bill[0]["idle_cpu_percent"].as_f64().filter(|idle| (0.0..=100.0).contains(idle))
    });
    let csv = dev.run(&["cost", "--core-hour", "1", "--csv"]).good().out;
    assert!(csv.starts_with("endpoint,deployment,") && csv.lines().count() == 2, "{csv}");
    assert_eq!(dev.stop(), 0);
}

#[test]
fn prometheus_scrapes_a_cluster_and_answers() {
    let Some(program) = prometheus() else {
        crate::berth::not_required("prometheus");
        let mut err = std::io::stderr();
        let _ = writeln!(err, "SKIPPED: no `prometheus` on the path; `apt-get install prometheus` has it");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (dev, metrics) = served(folder.path());
    let web = free();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/telemetry/berth.rules.yml");
    let rules = fs::read_to_string(rules).expect("the rules").replace("interval: 1m", "interval: 1s");
    fs::write(folder.path().join("berth.rules.yml"), rules).expect("a file");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/telemetry/berth.alerts.yml");
    // As they are, but for how long something must last before it is told.
    let patient = fs::read_to_string(file).expect("the alerts");
    let hasty = patient.lines().map(|line| match line.split_once("for: ") {
        Some((before, _)) => format!("{before}for: 1s\n"),
        None => format!("{line}\n"),
    });
    fs::write(folder.path().join("berth.alerts.yml"), hasty.collect::<String>()).expect("a file");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [berth.rules.yml, berth.alerts.yml]\nscrape_configs:\n- job_name: berth-node\n  \
         static_configs: [{{targets: ['{metrics}']}}]\n- job_name: berth-coordinator\n  static_configs: [{{targets: ['{}']}}]\n",
        dev.api
    );
    fs::write(folder.path().join("prometheus.yml"), config).expect("a file");
    let prometheus = Command::new(program)
        .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
        .arg(format!("--web.listen-address={web}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let _ending = Ending(prometheus);
    let ask = |query: &str| {
        let text = page(web, &format!("/api/v1/query?query={query}"))?;
        // The body may be chunked: the answer is its only line that is JSON.
        let json = text.lines().find(|line| line.starts_with('{'))?;
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        value["data"]["result"].as_array().filter(|result| !result.is_empty()).cloned()
    };
    let sum = until(|| ask("sum(berth_mesh_answers_total%7Bendpoint=%22talk%22,status=%22200%22%7D)"));
    assert_eq!(sum[0]["value"][1], "5", "{sum:?}");
    // Every alert is loaded, and what it asks can be asked.
    let rules = until(|| {
        page(web, "/api/v1/rules?type=alert")
            .filter(|text| alerts().iter().all(|name| text.contains(&format!("\"name\":\"{name}\""))))
    });
    assert!(!rules.contains("\"health\":\"err\""), "{rules}");
    // Both processes are up, and Azure's names are there: a rate needs two scrapes between which something happened.
    until(|| ask("sum(up)").filter(|result| result[0]["value"][1] == "2"));
    let named = until(|| {
        dev.run(&["invoke", "talk", "-d", "{}"]).good();
        ask("RequestsPerMinute%7BstatusCode=%22200%22%7D%3E0")
    });
    assert_eq!(
        (&named[0]["metric"]["endpoint"], &named[0]["metric"]["statusCodeClass"]),
        (&"talk".into(), &"2xx".into()),
        "{named:?}"
    );
    until(|| {
        dev.run(&["invoke", "talk", "-d", "{}"]).good();
        ask("RequestLatency_P95%3E0")
    });
    // What is well is not told; what ends is, under the name that the handbook explains.
    let firing = || {
        let text = page(web, "/api/v1/alerts")?;
        let json: serde_json::Value = serde_json::from_str(text.lines().find(|line| line.starts_with('{'))?).ok()?;
        let all = json["data"]["alerts"].as_array()?.clone();
        let firing = all.into_iter().filter(|alert| alert["state"] == "firing");
        Some(firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let downs = ["BerthCoordinatorDown", "BerthNodeDown"];
    let before: BTreeSet<String> = until(firing);
    assert!(!downs.iter().any(|name| before.contains(*name)), "{before:?}");
    assert_eq!(dev.stop(), 0);
    until(|| firing().filter(|now| downs.iter().all(|name| now.contains(*name))));
}

/// Lists the alerts that the examples have.
fn alerts() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/telemetry/berth.alerts.yml");
    let text = fs::read_to_string(path).expect("the alerts");
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(|name| name.trim().to_owned())
        .collect();
    assert!(names.len() > 5, "{names:?}");
    names
}

#[test]
fn the_handbook_says_what_every_alert_means() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(path).expect("the handbook");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")).filter_map(|line| line.split(" |").next());
    let mut told: Vec<_> = rows.filter(|name| name.starts_with("Berth")).map(str::to_owned).collect();
    let mut there = alerts();
    told.sort();
    there.sort();
    assert_eq!(told, there, "docs/operations.md and examples/telemetry/berth.alerts.yml");
}

#[test]
fn promtool_takes_the_rules_and_the_alerts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/telemetry");
    let check = |file: &str| Command::new("promtool").args(["check", "rules"]).arg(folder.join(file)).output();
    for file in ["berth.rules.yml", "berth.alerts.yml"] {
        let Ok(checked) = check(file) else {
            // It comes with Prometheus.
            crate::berth::not_required("prometheus");
            let _ = writeln!(std::io::stderr(), "SKIPPED: no `promtool` on the path; Debian's prometheus has it");
            return;
        };
        assert!(checked.status.success(), "{file}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}
