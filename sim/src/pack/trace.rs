//! The trace format of Alibaba's GPU cluster data of 2023: a table of nodes and a table of pods, as CSV.
//!
//! Columns are found by name and may stand in any order; what is not needed is not read. A file is refused with all of
//! its problems at once, up to a bound.

use std::{collections::BTreeMap, fmt, io::Read, str::FromStr};

use berth_core::schedule::{
    fragment::{DEVICE, Room},
    pack::{HostRoom, Work},
};

/// Problems that are told; a file of another kind has one per line.
const PROBLEMS_MAX: usize = 20;

/// Devices of a host: far more than any has, far less than would cost memory.
const DEVICES_MAX: u32 = 64;

/// Models that are told apart: a bit each.
const MODELS_MAX: usize = 64;

/// Hosts and pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// What the hosts have.
    pub hosts: Vec<HostRoom>,
    /// What the pods ask for.
    pub pods: Vec<Work>,
}

/// Why a trace cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} problems in the trace, the first: {}", .problems.len(), .problems[0])]
pub struct TraceError {
    /// All of them, the first [`PROBLEMS_MAX`] at most.
    pub problems: Vec<TraceProblem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceProblem {
    /// Which file: `nodes`, `pods`.
    pub file: &'static str,
    /// The line, from one.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

struct Reader {
    problems: Vec<TraceProblem>,
    models: BTreeMap<String, u64>,
}

/// One line and where its columns are.
struct Line<'a> {
    file: &'static str,
    at: u64,
    columns: &'a BTreeMap<String, usize>,
    record: &'a csv::StringRecord,
}

// === impl TraceProblem ===

impl fmt::Display for TraceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: {}", self.file, self.line, self.what)
    }
}

// === impl Trace ===

impl Trace {
    /// Reads both tables.
    pub fn read(nodes: impl Read, pods: impl Read) -> Result<Self, TraceError> {
        let mut reader = Reader { problems: Vec::new(), models: BTreeMap::new() };
        let hosts = reader.table("nodes", nodes, &["cpu_milli", "memory_mib", "gpu", "model"], Reader::host);
        let columns = &["cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec"];
        let pods = reader.table("pods", pods, columns, Reader::pod);
        if reader.problems.is_empty() {
            Ok(Self { hosts, pods })
        } else {
            Err(TraceError { problems: reader.problems })
        }
    }
}

// === impl Reader ===

impl Reader {
    fn table<T>(
        &mut self,
        file: &'static str,
        source: impl Read,
        wanted: &[&str],
        read: impl Fn(&mut Self, &Line<'_>) -> Option<T>,
    ) -> Vec<T> {
        let mut csv = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(source);
        let headers = csv.headers().cloned().unwrap_or_default();
        let columns: BTreeMap<_, _> = headers.iter().enumerate().map(|(at, name)| (name.to_owned(), at)).collect();
        let missing: Vec<_> = wanted.iter().filter(|name| !columns.contains_key(**name)).collect();
        for name in &missing {
            self.problem(file, 1, format!("has no column `{name}`"));
        }
        if !missing.is_empty() {
            return Vec::new();
        }
        let mut rows = Vec::new();
        for record in csv.records() {
            match record {
                Ok(record) => {
                    let at = record.position().map_or(0, csv::Position::line);
                    rows.extend(read(self, &Line { file, at, columns: &columns, record: &record }));
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    self.problem(file, line, error.to_string());
                    // What cannot be read at all does not become readable further on.
                    break;
                }
            }
            if self.problems.len() >= PROBLEMS_MAX {
                break;
            }
        }
        if rows.is_empty() && self.problems.is_empty() {
            self.problem(file, 1, "holds nothing below its headings".to_owned());
        }
        rows
    }

    fn host(&mut self, line: &Line<'_>) -> Option<HostRoom> {
        let cpu_milli = self.number(line, "cpu_milli");
        let memory_mib = self.number(line, "memory_mib");
        let devices: Option<u32> = self.number(line, "gpu");
        if devices.is_some_and(|devices| devices > DEVICES_MAX) {
            self.problem(line.file, line.at, format!("gpu: a host has at most {DEVICES_MAX}"));
        }
        let model = self.model(line, line.field("model"))?;
        let shares = vec![DEVICE; devices?.min(DEVICES_MAX) as usize];
        Some(HostRoom { memory_mib: memory_mib?, room: Room { model, cpu_milli: cpu_milli?, shares } })
    }

    fn pod(&mut self, line: &Line<'_>) -> Option<Work> {
        let cpu_milli = self.number(line, "cpu_milli");
        let memory_mib = self.number(line, "memory_mib");
        let devices: Option<u32> = self.number(line, "num_gpu");
        let share: Option<u32> = self.number(line, "gpu_milli");
        if let (Some(devices), Some(share)) = (devices, share) {
            let is_whole = devices == 0 || share == DEVICE;
            if share > DEVICE || (devices > 0 && share == 0) || (devices > 1 && !is_whole) {
                self.problem(
                    line.file,
                    line.at,
                    format!("gpu_milli: {devices} devices of {share} thousandths each cannot be"),
                );
            }
        }
        let mut models = 0;
        for name in line.field("gpu_spec").split('|').filter(|name| !name.is_empty()) {
            models |= self.model(line, name)?;
        }
        let devices = devices?;
        let share = if devices == 0 { 0 } else { share? };
        Some(Work { cpu_milli: cpu_milli?, memory_mib: memory_mib?, devices, share, models })
    }

    fn number<T: FromStr>(&mut self, line: &Line<'_>, name: &str) -> Option<T> {
        let text = line.field(name);
        let number = text.parse().ok();
        if number.is_none() {
            self.problem(line.file, line.at, format!("{name}: `{text}` is no whole number"));
        }
        number
    }

    /// Returns the bit of a model; no name is no bit.
    fn model(&mut self, line: &Line<'_>, name: &str) -> Option<u64> {
        if name.is_empty() {
            return Some(0);
        }
        let next = self.models.len();
        if next >= MODELS_MAX && !self.models.contains_key(name) {
            self.problem(line.file, line.at, format!("`{name}`: more than {MODELS_MAX} models"));
            return None;
        }
        Some(*self.models.entry(name.to_owned()).or_insert(1 << next))
    }

    fn problem(&mut self, file: &'static str, line: u64, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(TraceProblem { file, line, what });
        }
    }
}

// === impl Line ===

impl Line<'_> {
    fn field(&self, name: &str) -> &str {
        self.columns.get(name).and_then(|at| self.record.get(*at)).unwrap_or_default()
    }
}
