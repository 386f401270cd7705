//! The demo's report: what was measured, nothing else.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// What the demo measured.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Held-out images answered with 200.
    pub answers: u64,
    /// Images sent that have no answer with 200.
    pub failed: u64,
    /// Why, for the first few.
    pub failures: Vec<String>,
    /// Copies that the mirror answered with 200 while it was on, as the routers that sent them counted the answers.
    pub mirrored: u64,
    /// Share of right answers per deployment, 0 to 1.
    pub accuracy: BTreeMap<String, f64>,
    /// Percent of the answers per deployment in each stage.
    pub shares: BTreeMap<String, BTreeMap<String, f64>>,
    /// From the kill of a node with its replicas until every deployment had all its replicas serving again.
    pub recovery_seconds: f64,
    /// Requests sent to a second address because the first one was gone.
    pub retried: u64,
    /// Latency from the moment a request was due.
    pub latency_ms: BTreeMap<String, f64>,
    /// What served `blue`.
    pub blue_runtime: String,
}

impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "answers    {} of {} held-out digits", self.answers, self.answers + self.failed)?;
        for (deployment, share) in &self.accuracy {
            let runtime = if deployment == "blue" { self.blue_runtime.as_str() } else { "onnx" };
            writeln!(f, "accuracy   {deployment:<6} {:.1} %  ({runtime})", share * 100.0)?;
        }
        for (stage, shares) in &self.shares {
            let parts: Vec<_> = shares.iter().map(|(name, share)| format!("{name} {share:.0} %")).collect();
            writeln!(f, "shares     {stage:<22} {}", parts.join(", "))?;
        }
        writeln!(f, "mirrored   {}", self.mirrored)?;
        writeln!(f, "failed     {}", self.failed)?;
        for failure in &self.failures {
            writeln!(f, "           {failure}")?;
        }
        writeln!(f, "retried    {}", self.retried)?;
        let latency: Vec<_> = self.latency_ms.iter().map(|(name, ms)| format!("{name} {ms:.1} ms")).collect();
        writeln!(f, "latency    {}", latency.join(", "))?;
        write!(f, "recovery   {:.1} s after a node died with its replicas", self.recovery_seconds)
    }
}
