//! The stages of the demo: what is deployed, sent, moved and killed, in order.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use berth_client::{Client, InferClient, api::PutEndpointRequest};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::{DemoError, DemoOptions, DemoReport, files::Digits};
use crate::{
    fleet::Fleet,
    load::{LoadOptions, LoadReport},
};

/// The endpoint of the example.
const ENDPOINT: &str = "digits";
/// How long a killed node's replicas may take to be replaced: detection, placement, start of a Python server.
const RECOVERY_WITHIN: Duration = Duration::from_secs(90);
/// How long the first split may take to be known at every node.
const ROUTED_WITHIN: Duration = Duration::from_secs(30);
/// How long a request may take; the split waits for nobody, so this only bounds a broken run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Reasons of failures that are printed.
const FAILURES_SHOWN: usize = 5;

/// Nodes of the demo's cluster.
pub(super) const NODES: usize = 3;
/// How long a node may take to show its metrics.
const METRICS_WITHIN: Duration = Duration::from_secs(2);

/// One stage: what the traffic is and how many images are sent under it.
struct Stage {
    name: &'static str,
    split: &'static [(&'static str, u32)],
    mirror: &'static [(&'static str, u32)],
    images: u64,
    kill: bool,
}

/// The 360 images, in the order of the story.
const STAGES: [Stage; 4] = [
    Stage { name: "1 blue=100", split: &[("blue", 100)], mirror: &[], images: 60, kill: false },
    Stage { name: "2 mirror green=10", split: &[("blue", 100)], mirror: &[("green", 10)], images: 100, kill: false },
    Stage { name: "3 blue=90 green=10", split: &[("blue", 90), ("green", 10)], mirror: &[], images: 100, kill: true },
    Stage { name: "4 green=100", split: &[("green", 100)], mirror: &[], images: 100, kill: false },
];

/// Everything a stage works with.
pub(super) struct Show<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) client: &'a Client,
    pub(super) digits: &'a Digits,
    pub(super) options: &'a DemoOptions,
    pub(super) python: bool,
    pub(super) say: &'a mut dyn FnMut(&str),
}

// === impl Show ===

impl Show<'_> {
    /// Plays every stage and adds up the report.
    pub(super) async fn play(mut self) -> Result<DemoReport, DemoError> {
        self.deploy().await?;
        let headers = self.headers().await?;
        let mut reports = Vec::new();
        let mut first = 0;
        let mut recovery = None;
        let mut mirrored = 0;
        for stage in &STAGES {
            self.set_traffic(stage).await?;
            if first == 0 {
                self.routed().await?;
            }
            (self.say)(&format!("stage {}: {} images", stage.name, stage.images));
            let load = tokio::spawn(crate::load::run(self.load_options(&headers, first, stage.images).await?));
            if stage.kill {
                recovery = Some(self.kill_half_way(stage).await?);
            }
            let report = load.await.map_err(|error| std::io::Error::other(error.to_string()))?;
            reports.push((stage.name, report));
            first += stage.images;
            if !stage.mirror.is_empty() {
                // Read here, because a node that dies takes what it counted with it.
                mirrored = self.mirrored().await;
            }
        }
        Ok(self.add_up(&reports, mirrored, recovery.unwrap_or_default()))
    }

    async fn deploy(&mut self) -> Result<(), DemoError> {
        let within = self.options.deploy_within;
        let mut endpoint = crate::verbs::create_endpoint(self.client, &self.digits.path("endpoint.yml")).await?;
        // Looking at an image twice changes nothing, so a router may repeat what a killed replica left unanswered.
        if let Some(spec) = &mut endpoint.spec {
            spec.idempotent = Some(true);
        }
        let request = PutEndpointRequest { name: endpoint.name, spec: endpoint.spec, ..Default::default() };
        self.client.put_endpoint(request).await?;
        (self.say)(
            "requests that a killed replica leaves unanswered are sent again: the endpoint says `idempotent: true`",
        );
        for name in ["green", "blue"] {
            let file = match (name, self.python) {
                ("blue", true) => "blue-deployment.yml",
                _ => "green-deployment.yml",
            };
            (self.say)(&format!("deploying {name} with two instances from {file}"));
            let overrides = [("name".to_owned(), name.to_owned())];
            crate::verbs::create_deployment(self.client, &self.digits.path(file), &overrides, within).await?;
        }
        Ok(())
    }

    async fn headers(&self) -> Result<HeaderMap, DemoError> {
        let keys = self.client.list_keys(ENDPOINT).await?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(bearer) = HeaderValue::from_str(&format!("Bearer {}", keys.primary_key)) {
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(headers)
    }

    async fn set_traffic(&self, stage: &Stage) -> Result<(), DemoError> {
        let shares = |list: &[(&str, u32)]| list.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
        self.client.set_traffic(ENDPOINT, Some(shares(stage.split)), Some(shares(stage.mirror))).await?;
        Ok(())
    }

    /// Waits until every node has a split to go by: it is set when a majority of coordinators holds it, and a node may
    /// hear of it a moment later.
    async fn routed(&self) -> Result<(), DemoError> {
        let keys = self.client.list_keys(ENDPOINT).await?;
        let body = self.digits.bodies.first().cloned().unwrap_or_default();
        for ingress in self.ingresses().await? {
            let caller = InferClient::new([ingress.to_string()], ENDPOINT)?.with_key(&keys.primary_key);
            let answers = async || caller.score(body.clone()).await.is_ok_and(|answer| answer.status == 200);
            self.fleet.wait(&format!("{ingress} answers"), ROUTED_WITHIN, answers).await?;
        }
        Ok(())
    }

    async fn load_options(&self, headers: &HeaderMap, first: u64, total: u64) -> Result<LoadOptions, DemoError> {
        Ok(LoadOptions {
            targets: self.ingresses().await?,
            path: format!("/e/{ENDPOINT}/score"),
            headers: headers.clone(),
            bodies: Arc::from(self.digits.bodies.clone()),
            first,
            total,
            rate_per_second: self.options.rate_per_second,
            timeout: REQUEST_TIMEOUT,
            deadline_header: None,
            in_flight_max: 1_000,
            idempotent: true,
            patient: true,
            run: "demo".to_owned(),
        })
    }

    /// Lists the ingress of every node that is not lost.
    async fn ingresses(&self) -> Result<Vec<SocketAddr>, DemoError> {
        let nodes = self.client.list_nodes().await?;
        let live = nodes.iter().filter(|node| node.state != "lost");
        Ok(live.filter_map(|node| node.ingress_address.parse().ok()).collect())
    }

    /// Kills a node and its replicas in the middle of a stage and measures until all replicas serve again.
    async fn kill_half_way(&mut self, stage: &Stage) -> Result<Duration, DemoError> {
        let half = Duration::from_millis(stage.images * 500 / self.options.rate_per_second.max(1));
        tokio::time::sleep_until(Instant::now() + half).await;
        let replicas = self.client.list_replicas(ENDPOINT, "").await?;
        let mut per_node: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for replica in replicas.iter().filter(|replica| replica.pid > 0) {
            per_node.entry(replica.node.as_str()).or_default().push(replica.pid);
        }
        // The node with most to lose; a demo that kills an idle one shows nothing.
        let Some((node, pids)) = per_node.into_iter().max_by_key(|(_, pids)| pids.len()) else {
            return Ok(Duration::ZERO);
        };
        let number = (0..NODES).find(|n| Fleet::node_name(*n) == node).unwrap_or(0);
        (self.say)(&format!("killing {node} with its {} replicas", pids.len()));
        let killed_at = Instant::now();
        self.fleet.kill_node(number, &pids)?;
        let client = self.client;
        self.fleet
            .wait("every deployment has its replicas back", RECOVERY_WITHIN, async || {
                let replicas = client.list_replicas(ENDPOINT, "").await.unwrap_or_default();
                let serving = |name: &str| {
                    let of = |replica: &&berth_client::api::Replica| {
                        replica.deployment == name && replica.state == "serving" && replica.node != node
                    };
                    replicas.iter().filter(of).count()
                };
                serving("blue") >= 2 && serving("green") >= 2
            })
            .await?;
        let recovery = killed_at.elapsed();
        (self.say)(&format!("all replicas serve again after {:.1} s", recovery.as_secs_f64()));
        Ok(recovery)
    }

    /// Adds up the good answers of the mirror, as the routers that sent it copies counted them.
    async fn mirrored(&self) -> u64 {
        let mut total = 0;
        for n in 0..NODES {
            let text = metrics(self.fleet.metrics(n)).await.unwrap_or_default();
            total += mirror_answers(&text);
        }
        total
    }

    fn add_up(&self, reports: &[(&str, LoadReport)], mirrored: u64, recovery: Duration) -> DemoReport {
        let outcomes = || reports.iter().flat_map(|(_, report)| &report.outcomes);
        let mut right: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for outcome in outcomes().filter(|outcome| outcome.is_ok()) {
            if let Ok(answer) = &outcome.result {
                let (right, all) = right.entry(answer.deployment.clone()).or_default();
                *right += u64::from(self.digits.is_right(outcome.number, &answer.body));
                *all += 1;
            }
        }
        let percent = |part: u64, all: u64| part as f64 * 100.0 / all.max(1) as f64;
        let shares = reports.iter().map(|(name, report)| {
            let counts = report.by_deployment();
            let total = counts.values().sum();
            let shares = counts.iter().map(|(name, count)| ((*name).to_owned(), percent(*count, total))).collect();
            ((*name).to_owned(), shares)
        });
        let all = LoadReport { outcomes: outcomes().cloned().collect(), elapsed: Duration::ZERO };
        let millis = |permille| all.latency(permille).as_secs_f64() * 1_000.0;
        DemoReport {
            answers: all.ok(),
            failed: all.failed(),
            failures: all
                .failures()
                .take(FAILURES_SHOWN)
                .map(|(number, why)| format!("image {number}: {why}"))
                .collect(),
            mirrored,
            accuracy: right.into_iter().map(|(name, (right, all))| (name, right as f64 / all as f64)).collect(),
            shares: shares.collect(),
            recovery_seconds: recovery.as_secs_f64(),
            retried: all.outcomes.iter().map(|outcome| u64::from(outcome.retries)).sum(),
            latency_ms: [("p50", 500), ("p99", 990)].map(|(name, permille)| (name.to_owned(), millis(permille))).into(),
            blue_runtime: if self.python { "python" } else { "onnx" }.to_owned(),
        }
    }
}

/// Counts the copies that a mirror answered with 200 in a node's metrics.
fn mirror_answers(metrics: &str) -> u64 {
    let answers = metrics.lines().filter(|line| line.starts_with("berth_mesh_mirror_answers_total{"));
    let good = answers.filter(|line| line.contains("status=\"200\""));
    good.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Reads a node's metrics.
async fn metrics(address: SocketAddr) -> Option<String> {
    let read = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    };
    tokio::time::timeout(METRICS_WITHIN, read).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_mirror_answered_well_is_counted() {
        let text = "\
# TYPE berth_mesh_mirror_answers counter
berth_mesh_mirror_answers_total{endpoint=\"digits\",deployment=\"green\",status=\"200\"} 9
berth_mesh_mirror_answers_total{endpoint=\"digits\",deployment=\"green\",status=\"500\"} 3
berth_mesh_mirrored_total{endpoint=\"digits\",deployment=\"green\"} 12
berth_mesh_answers_total{endpoint=\"digits\",deployment=\"green\",status=\"200\"} 50
";
        assert_eq!(mirror_answers(text), 9);
        assert_eq!(mirror_answers(""), 0);
    }
}
