//! Traces and numbers as a collector sees them that is none of ours: OpenTelemetry's own messages behind a stock grpcio
//! server, and a replica that reports with OpenTelemetry's own SDK.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use berth_chaos_tests::cluster::{Cluster, ENDPOINT};
use berth_client::InferClient;
use berth_core::model::{DeploymentSpec, Runtime};
use hyper::{HeaderMap, Method, body::Bytes};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    BERTH,
    clients::{python, repository},
};

/// What the collector may take: numbers are sent every fifteen seconds.
const WITHIN: Duration = Duration::from_secs(120);
/// The span of whoever calls.
const CALLER: &str = "b7ad6b7169203331";
/// A span of whoever was called, as OpenTelemetry numbers kinds, and one of whoever calls.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// The collector, and what it said.
struct Collector {
    port: u64,
    lines: Lines<BufReader<ChildStdout>>,
    spans: Vec<Value>,
    /// The last of every number, by its name, whoever sent it and its labels.
    numbers: BTreeMap<(String, String, String), Value>,
    _input: ChildStdin,
    _process: Child,
}

// === impl Collector ===

impl Collector {
    async fn start(python: &Path) -> Self {
        let script = repository().join("chaos-tests/python/collector.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("the collector starts");
        let input = process.stdin.take().expect("its input");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut collector =
            Self { port: 0, lines, spans: Vec::new(), numbers: BTreeMap::new(), _input: input, _process: process };
        let said = collector.next().await;
        collector.port = said["port"].as_u64().expect("its port");
        collector
    }

    async fn next(&mut self) -> Value {
        let line = self.lines.next_line().await.expect("it can be read").expect("the collector goes on");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    /// Reads on until something holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let reading = async {
            while !holds(self) {
                let line = self.next().await;
                if line["span"].is_string() {
                    self.spans.push(line);
                } else {
                    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                    let by = (text("metric"), text("instance"), line["attributes"].to_string());
                    self.numbers.insert(by, line);
                }
            }
        };
        if timeout(WITHIN, reading).await.is_err() {
            panic!("{what} did not arrive; there are {:#?} and {:#?}", self.spans, self.numbers);
        }
    }

    /// Lists the last numbers of a name that a service sent, of one kind.
    fn numbers(&self, service: &str, kind: &str, name: &str) -> Vec<&Value> {
        let of =
            self.numbers.values().filter(|it| it["metric"] == name && it["service"] == service && it["kind"] == kind);
        of.collect()
    }

    /// Lists the spans of a trace.
    fn trace(&self, id: &str) -> Vec<&Value> {
        self.spans.iter().filter(|span| span["trace_id"] == id).collect()
    }
}

/// Finds the only span below another.
fn below<'a>(spans: &[&'a Value], parent: &Value, service: &str, name: &str) -> &'a Value {
    let found: Vec<_> = spans
        .iter()
        .filter(|span| span["parent_id"] == *parent && span["service"] == service && span["span"] == name)
        .collect();
    let [one] = found[..] else { panic!("{name} of {service} below {parent} in {spans:#?}") };
    one
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_from_the_caller_through_the_mesh_into_the_replica() {
    let Some(python) = python("traces.txt") else { return };
    let mut collector = Collector::start(&python).await;
    let to = format!("http://127.0.0.1:{}", collector.port);
    // What begins here is not kept: every span below is there because its caller asked for it.
    let args = ["--otlp", &to, "--trace-percent", "0"].map(str::to_owned).to_vec();
    let env = [("BERTH_COORDINATOR_OTLP".to_owned(), to.clone())];
    let cluster = Cluster::start_told(BERTH, 3, 2, args, env.into()).await;
    cluster.endpoint().await;
    let script = repository().join("chaos-tests/python/traced_model.py").display().to_string();
    let mut spec = DeploymentSpec {
        runtime: Runtime::Command(vec![python.display().to_string(), script]),
        ..cluster.command(&[])
    };
    spec.environment_variables.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), to);
    cluster.put(ENDPOINT, "blue", &spec).await;
    cluster.serving("blue", 1).await;
    cluster.split(&[("blue", 100)]).await;

    let ingresses = cluster.ingresses().await;
    for (at, ingress) in ingresses.iter().enumerate() {
        // One of the two nodes has the replica, and the other asks it.
        let trace = format!("0af7651916cd43dd8448eb211c80319{at}");
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", format!("00-{trace}-{CALLER}-01").parse().expect("a value"));
        let client = InferClient::new([ingress.to_string()], ENDPOINT).expect("a client");
        let answer = client.send(Method::POST, "/score", headers, Bytes::from_static(b"{}")).await;
        assert_eq!(answer.expect("an answer").status, 200);

        collector.until("a trace of three spans", |it| it.trace(&trace).len() == 3).await;
        let spans = collector.trace(&trace);
        let request = below(&spans, &CALLER.into(), "berth-node", &format!("POST {ENDPOINT}"));
        let asked = below(&spans, &request["span_id"], "berth-node", "ask replica");
        let scored = below(&spans, &request["span_id"], "model", "score");
        assert_eq!([&request["kind"], &asked["kind"], &scored["kind"]], [SERVER, CLIENT, SERVER]);
        assert_eq!(request["attributes"]["berth.deployment"], "blue");
        assert_eq!(request["attributes"]["http.response.status_code"], 200);
        let time = |span: &Value, which: &str| span[which].as_u64().expect("a time");
        let within = time(request, "begin") <= time(asked, "begin") && time(asked, "end") <= time(request, "end");
        assert!(within, "{asked} is not within {request}");
    }

    // Without a context nothing is kept, and the caller who does not sample is obeyed.
    let unsampled = "0af7651916cd43dd8448eb211c80319f";
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{unsampled}-{CALLER}-00").parse().expect("a value"));
    let client = InferClient::new([ingresses[0].to_string()], ENDPOINT).expect("a client");
    client.send(Method::POST, "/score", headers, Bytes::from_static(b"{}")).await.expect("an answer");
    // Its number comes later than its span would have.
    let answers = |it: &Collector, kind: &str, name: &str, status: &str| -> u64 {
        let all = it.numbers("berth-node", kind, name).into_iter();
        let of = all.filter(|it| it["attributes"]["endpoint"] == ENDPOINT && it["attributes"]["status"] == status);
        of.filter_map(|it| it["value"].as_u64()).sum()
    };
    collector.until("the number of answers", |it| answers(it, "sum", "berth_mesh_answers", "200") == 3).await;
    assert_eq!((collector.spans.len(), collector.trace(unsampled).len()), (6, 0), "{:#?}", collector.spans);
    // How long they took may come in a message of its own: OTLP does not add up buckets as it goes, and all of them are the count.
    let took = "berth_mesh_duration_seconds";
    collector.until("how long they took", |it| answers(it, "histogram", took, "2xx") == 3).await;
    for one in collector.numbers("berth-node", "histogram", took) {
        let buckets = one["buckets"].as_array().expect("buckets").iter().filter_map(Value::as_u64);
        assert_eq!(Some(buckets.sum()), one["value"].as_u64(), "{one}");
        assert!(one["value"] == 0 || one["sum"].as_f64().is_some_and(|sum| sum > 0.0), "{one}");
    }
    // A level of each node, and of each coordinator what the cluster has.
    let senders = |it: &Collector, service: &str, name: &str, value: u64| {
        it.numbers(service, "gauge", name).iter().filter(|it| it["value"] == value).count()
    };
    let (serving, endpoints) = ("berth_coordinator_deployment_replicas", "berth_coordinator_endpoints");
    collector.until("every coordinator's levels", |it| senders(it, "berth-coordinator", endpoints, 1) == 3).await;
    collector.until("what serves", |it| senders(it, "berth-coordinator", serving, 1) == 3).await;
    let levels = |it: &Collector| it.numbers("berth-node", "gauge", "berth_mesh_connections").len();
    collector.until("every node's level", |it| levels(it) == 2).await;
    if let Some(venv) = python.parent().and_then(Path::parent) {
        let _ = std::fs::remove_dir_all(venv);
    }
}
