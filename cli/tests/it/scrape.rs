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
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

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
pub(crate) fn prometheus() -> Option<PathBuf> {
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
    fs::write(folder.path().join("berth.rules.yml"), quick_rules()).expect("a file");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/telemetry/berth.alerts.yml");
    // As they are, but for how long something must last before it is told.
    let patient = fs::read_to_string(file).expect("the alerts");
    let hasty = patient.lines().map(|line| match line.split_once("for: ") {
        Some((before, _)) => format!("{before}for: 1s\n"),
        None => format!("{line}\n"),
    });
    fs::write(folder.path().join("berth.alerts.yml"), hasty.collect::<String>()).expect("a file");
    fs::write(folder.path().join("prometheus.yml"), config(metrics, &dev.api)).expect("a file");
    let prometheus = Prometheus::start(&program, folder.path());
    let (web, ask) = (prometheus.web, |query: &str| prometheus.ask(query));
    let sum = until(|| ask("sum(berth_mesh_answers_total{endpoint='talk',status='200'})"));
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
        ask("RequestsPerMinute{statusCode='200'}>0")
    });
    assert_eq!(
        (&named[0]["metric"]["endpoint"], &named[0]["metric"]["statusCodeClass"]),
        (&"talk".into(), &"2xx".into()),
        "{named:?}"
    );
    until(|| {
        dev.run(&["invoke", "talk", "-d", "{}"]).good();
        ask("RequestLatency_P95>0")
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

/// Prometheus itself, over what a folder tells it.
pub(crate) struct Prometheus {
    web: SocketAddr,
    _process: Ending,
}

impl Prometheus {
    fn start(program: &Path, folder: &Path) -> Self {
        let web = free();
        let child = Command::new(program)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={web}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        Self { web, _process: Ending(child) }
    }

    /// Asks a question; nothing while there is no answer, or when it cannot be asked.
    pub(crate) fn ask(&self, query: &str) -> Option<Vec<serde_json::Value>> {
        self.told(query).filter(|result| !result.is_empty())
    }

    /// Asks a question whose answer may be empty; nothing when it cannot be asked.
    pub(crate) fn told(&self, query: &str) -> Option<Vec<serde_json::Value>> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let text = page(self.web, &format!("/api/v1/query?query={escaped}"))?;
        // The body may be chunked: the answer is its only line that is JSON.
        let json = text.lines().find(|line| line.starts_with('{'))?;
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        (value["status"] == "success").then(|| value["data"]["result"].as_array().cloned())?
    }
}

/// The rules as they are, but for how often they are recorded.
fn quick_rules() -> String {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/telemetry/berth.rules.yml");
    fs::read_to_string(rules).expect("the rules").replace("interval: 1m", "interval: 1s")
}

/// Scrapes a node and a coordinator each second.
fn config(node: SocketAddr, coordinator: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [berth.*.yml]\nscrape_configs:\n\
         - job_name: berth-node\n  static_configs: [{{targets: ['{node}']}}]\n\
         - job_name: berth-coordinator\n  static_configs: [{{targets: ['{coordinator}']}}]\n"
    )
}

/// Two endpoints of one program, which takes 50 ms: `well` has one instance with a card, `ill` has two that always fail.
const WELL_AND_ILL: &str = "\
name: NAME
auth_mode: none
traffic: {blue: 100}
---
name: blue
endpoint_name: NAME
command: [python3, -uc, 'import http.server as h,os,time; R=h.BaseHTTPRequestHandler; \
R.do_GET=lambda s:(s.send_response(200),s.send_header(\"content-length\",\"2\"),s.end_headers(),s.wfile.write(b\"ok\")); \
R.do_POST=lambda s:(s.rfile.read(2),time.sleep(0.05),s.send_response(STATUS),s.send_header(\"content-length\",\"2\"),s.end_headers(),s.wfile.write(b\"ok\")); \
R.log_message=lambda *a:None; h.ThreadingHTTPServer((\"127.0.0.1\",int(os.environ[\"PORT\"])),R).serve_forever()']
resources: {cpu: 1, memory: 64MiB, gpu: GPUS}
instance_count: COUNT
";

/// Calls an endpoint once, on a connection of its own.
pub(crate) fn call(ingress: SocketAddr, endpoint: &str) {
    let mut stream = TcpStream::connect(ingress).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let head =
        format!("POST /e/{endpoint}/score HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
    stream.write_all(head.as_bytes()).expect("it is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it is answered");
}

/// Every alias of the example's rules, what is asked of it, and between which numbers the answer lies. Bounds are close where
/// the number is known, and else so that another unit or another state is outside.
const ALIASES: &[(&str, &str, f64, f64)] = &[
    (
        "RequestsPerMinute",
        "sum(RequestsPerMinute{endpoint='well',deployment='blue',statusCode='200',statusCodeClass='2xx'})",
        10.0,
        900.0,
    ),
    ("RequestsPerMinute", "sum(RequestsPerMinute{endpoint='ill',statusCode='424',statusCodeClass='4xx'})", 10.0, 900.0),
    (
        "ModelRequestsPerMinute",
        "ModelRequestsPerMinute{endpoint='ill',deployment='blue',modelStatusCode='500'}",
        10.0,
        900.0,
    ),
    ("RequestLatency", "RequestLatency{endpoint='well',deployment='blue'}", 50.0, 60_000.0),
    ("RequestLatency_P50", "RequestLatency_P50{endpoint='well',deployment='blue'}", 25.0, 60_000.0),
    ("RequestLatency_P90", "RequestLatency_P90{endpoint='well'} - RequestLatency_P50{endpoint='well'}", 0.0, 60_000.0),
    ("RequestLatency_P95", "RequestLatency_P95{endpoint='well'} - RequestLatency_P90{endpoint='well'}", 0.0, 60_000.0),
    ("RequestLatency_P99", "RequestLatency_P99{endpoint='well'} - RequestLatency_P95{endpoint='well'}", 0.0, 60_000.0),
    ("ConnectionsActive", "ConnectionsActive", 3.0, 3.0),
    // Two calls one after the other, each of 50 ms, and three that are held for three seconds.
    ("NewConnectionsPerSecond", "NewConnectionsPerSecond", 0.1, 25.0),
    (
        "NetworkBytes",
        "60 * sum(NetworkBytes{endpoint='well',deployment='blue'}) / sum(RequestsPerMinute{endpoint='well',deployment='blue'})",
        3.9,
        4.1,
    ),
    ("CpuUtilizationPercentage", "CpuUtilizationPercentage{endpoint='well',instanceId='WELL'}", 0.0, 200.0),
    ("CpuMemoryUtilizationPercentage", "CpuMemoryUtilizationPercentage{endpoint='well',instanceId='WELL'}", 2.0, 400.0),
    ("GpuUtilizationPercentage", "GpuUtilizationPercentage{endpoint='well',instanceId='WELL'}", 40.0, 40.0),
    ("GpuMemoryUtilizationPercentage", "GpuMemoryUtilizationPercentage{instanceId!=''}", 10.0, 10.0),
    ("GpuEnergyJoules", "GpuEnergyJoules{instanceId!=''}", 3_600.0, 3_600.0),
    ("DiskUtilization", "DiskUtilization{instanceId!='',disk='data'}", 0.0, 100.0),
    (
        "RequestsPerMinute",
        "sum(RequestsPerMinute{endpoint='ill',deployment='blue',envoy_response_code='424'}) \
         / sum(RequestsPerMinute{endpoint='ill',statusCode='424'})",
        1.0,
        1.0,
    ),
    // Per instance there is no name of Azure's.
    (
        "RequestsPerMinute",
        "60 * rate(berth_mesh_replica_answers_total{endpoint='well',deployment='blue',replica='WELL',status='2xx'}[1m])",
        10.0,
        900.0,
    ),
    (
        "RequestsPerMinute",
        "count(rate(berth_mesh_replica_answers_total{endpoint='ill',status='5xx'}[1m]) > 0)",
        2.0,
        2.0,
    ),
    (
        "RequestLatency",
        "1000 * sum by (replica) (rate(berth_mesh_replica_held_seconds_total{replica='WELL'}[1m])) \
         / sum by (replica) (rate(berth_mesh_replica_answers_total{replica='WELL'}[1m]))",
        49.0,
        60_000.0,
    ),
    (
        "DeploymentCapacity",
        "sum(DeploymentCapacity{endpoint='well',deployment='blue',State='serving',instanceId='WELL'})",
        1.0,
        1.0,
    ),
    ("DeploymentCapacity", "sum(DeploymentCapacity{endpoint='ill',deployment='blue',State='serving'})", 2.0, 2.0),
    ("DeploymentCapacity", "count by (State) (DeploymentCapacity{endpoint='ill',instanceId!=''})", 2.0, 2.0),
    ("DeploymentCapacity", "DeploymentCapacity{endpoint='none',State='serving'}", 0.0, 0.0),
];

/// Starts a cluster of endpoints that are well, ill and without instances, and a Prometheus that records it.
pub(crate) fn well_and_ill(folder: &Path, program: &Path) -> (Dev, Prometheus) {
    let data = folder.join("data");
    let dev = Dev::start(&data, &["--nodes", "1", "--metrics", "127.0.0.1:0", "--fake-gpus", "1x80GiB:H100"]);
    for (name, status, gpus, count) in [("well", "200", "1", "1"), ("ill", "500", "0", "2"), ("none", "200", "0", "0")]
    {
        let text = WELL_AND_ILL.replace("NAME", name).replace("STATUS", status).replace("GPUS", gpus);
        let text = text.replace("COUNT", count);
        let file = folder.join(format!("{name}.yml"));
        fs::write(&file, text).expect("a file");
        dev.run(&["apply", "-f", &file.display().to_string()]).good();
    }
    let script = data.join("node-1/gpus/gpus.ini");
    let text = fs::read_to_string(&script).expect("the simulated card");
    fs::write(&script, text.replace("temperature", "used_mib = 8192\nutilization = 40\ntemperature")).expect("a file");
    fs::write(folder.join("berth.rules.yml"), quick_rules()).expect("a file");
    let metrics = dev.metrics.parse().expect("an address");
    fs::write(folder.join("prometheus.yml"), config(metrics, &dev.api)).expect("a file");
    let prometheus = Prometheus::start(program, folder);
    (dev, prometheus)
}

/// What Azure calls the metrics of endpoints and deployments, and of the compute below them.
const AZURES: &[&str] = &[
    "ConnectionsActive",
    "CpuMemoryUtilizationPercentage",
    "CpuUtilizationPercentage",
    "DataCollectionErrorsPerMinute",
    "DataCollectionEventsPerMinute",
    "DeploymentCapacity",
    "DiskUtilization",
    "GpuEnergyJoules",
    "GpuMemoryUtilizationPercentage",
    "GpuUtilizationPercentage",
    "NetworkBytes",
    "NewConnectionsPerSecond",
    "Preempted cores",
    "Preempted nodes",
    "RequestLatency",
    "RequestLatency_P50",
    "RequestLatency_P90",
    "RequestLatency_P95",
    "RequestLatency_P99",
    "RequestsPerMinute",
];

#[test]
fn azures_names_answer_with_azures_numbers() {
    let recorded = quick_rules();
    let recorded = recorded.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    let (recorded, asked): (BTreeSet<_>, BTreeSet<_>) = (recorded.collect(), ALIASES.iter().map(|row| row.0).collect());
    assert_eq!(recorded, asked, "examples/telemetry/berth.rules.yml and what is asked here");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/telemetry.md")).expect("a page");
    for name in &recorded {
        // A row names the percentiles in one word.
        assert!(page.contains(name.split("_P").next().expect("a name")), "docs/telemetry.md does not tell of {name}");
    }
    // What is not recorded is told of below the table.
    let (before, after) = page.split_once(" have no counterpart").expect("what there is not");
    let first = before.rsplit('\n').next().unwrap_or_default();
    let without = format!("{first} {}", after.split("\n\n").next().unwrap_or_default());
    for name in AZURES {
        assert!(recorded.contains(name) != without.contains(name), "{name} is neither recorded nor said to be missing");
    }
    let Some(program) = prometheus() else {
        crate::berth::not_required("prometheus");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (dev, prometheus) = well_and_ill(folder.path(), &program);
    let replica = dev.run(&["get", "replicas", "well", "-o", "name"]).good().out.trim().to_owned();

    let ingress: SocketAddr = dev.ingress.parse().expect("an address");
    // Who says nothing is cut off after a while, so they are made anew.
    const HELD: Duration = Duration::from_secs(3);
    let hold = || (0..3).map(|_| TcpStream::connect(ingress).expect("a connection")).collect::<Vec<_>>();
    let (mut held, mut since) = (hold(), Instant::now());
    for (alias, query, low, high) in ALIASES {
        let query = query.replace("WELL", &replica);
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = prometheus.ask(&query);
            let value = told.as_ref().and_then(|told| told[0]["value"][1].as_str()?.parse::<f64>().ok());
            if value.is_some_and(|value| (low - 0.001..=high + 0.001).contains(&value)) {
                break;
            }
            last = told.or(last);
            assert!(Instant::now() < deadline, "{alias}: {query} is {last:?}, not {low} to {high}");
            if since.elapsed() > HELD {
                (held, since) = (hold(), Instant::now());
            }
            // Rates are of what happens.
            call(ingress, "well");
            call(ingress, "ill");
        }
    }
    drop(held);
    assert_eq!(dev.stop(), 0);
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
