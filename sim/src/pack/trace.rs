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

/// Characters that are told of a value: a file without commas is one value.
const TOLD_CHARS: usize = 60;

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
    /// The column by its name, where it is one column's.
    pub column: Option<&'static str>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub try_: String,
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
        let column = self.column.map(|column| format!("{column}: ")).unwrap_or_default();
        write!(f, "{} line {}: {column}{}", self.file, self.line, self.what)
    }
}

// === impl Trace ===

impl Trace {
    /// Reads both tables.
    pub fn read(nodes: impl Read, pods: impl Read) -> Result<Self, TraceError> {
        let mut reader = Reader { problems: Vec::new(), models: BTreeMap::new() };
        let columns = &["cpu_milli", "memory_mib", "gpu", "model"];
        let hosts = reader.table("nodes", nodes, columns, "give a line to each host", Reader::host);
        let columns = &["cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec"];
        let pods = reader.table("pods", pods, columns, "give a line to each pod", Reader::pod);
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
        wanted: &[&'static str],
        try_: &str,
        read: impl Fn(&mut Self, &Line<'_>) -> Option<T>,
    ) -> Vec<T> {
        let mut csv = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(source);
        let headers = csv.headers().cloned().unwrap_or_default();
        let columns: BTreeMap<_, _> = headers.iter().enumerate().map(|(at, name)| (name.to_owned(), at)).collect();
        let missing: Vec<_> = wanted.iter().filter(|name| !columns.contains_key(**name)).collect();
        for name in &missing {
            let try_ = "add it to the first line; columns are found by name";
            self.problem(file, 1, Some(**name), "is no column of it".to_owned(), try_);
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
                    self.problem(file, line, None, error.to_string(), "save it as text in UTF-8, with commas");
                    // What cannot be read at all does not become readable further on.
                    break;
                }
            }
            if self.problems.len() >= PROBLEMS_MAX {
                break;
            }
        }
        if rows.is_empty() && self.problems.is_empty() {
            self.problem(file, 1, None, "holds nothing below its headings".to_owned(), try_);
        }
        rows
    }

    fn host(&mut self, line: &Line<'_>) -> Option<HostRoom> {
        let cpu_milli = self.number(line, "cpu_milli");
        let memory_mib = self.number(line, "memory_mib");
        let devices: Option<u32> = self.number(line, "gpu");
        if devices.is_some_and(|devices| devices > DEVICES_MAX) {
            let what = format!("a host has at most {DEVICES_MAX} devices");
            self.problem(line.file, line.at, Some("gpu"), what, "write it as several hosts");
        }
        let model = self.model(line, "model", line.field("model"))?;
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
                let what = format!("{devices} devices of {share} thousandths each cannot be");
                let try_ = format!("ask for 1 device of 1 to {DEVICE} thousandths, or for several of {DEVICE}");
                self.problem(line.file, line.at, Some("gpu_milli"), what, &try_);
            }
        }
        let mut models = 0;
        for name in line.field("gpu_spec").split('|').filter(|name| !name.is_empty()) {
            models |= self.model(line, "gpu_spec", name)?;
        }
        let devices = devices?;
        let share = if devices == 0 { 0 } else { share? };
        Some(Work { cpu_milli: cpu_milli?, memory_mib: memory_mib?, devices, share, models })
    }

    fn number<T: FromStr>(&mut self, line: &Line<'_>, name: &'static str) -> Option<T> {
        let text = line.field(name);
        let number = text.parse().ok();
        if number.is_none() {
            let what = format!("`{}` is no whole number", clipped(text));
            self.problem(line.file, line.at, Some(name), what, "write digits alone, such as `4000`");
        }
        number
    }

    /// Returns the bit of a model; no name is no bit.
    fn model(&mut self, line: &Line<'_>, column: &'static str, name: &str) -> Option<u64> {
        if name.is_empty() {
            return Some(0);
        }
        let next = self.models.len();
        if next >= MODELS_MAX && !self.models.contains_key(name) {
            let what = format!("`{}` is one more than {MODELS_MAX} models", clipped(name));
            self.problem(line.file, line.at, Some(column), what, "give the rare ones one name");
            return None;
        }
        Some(*self.models.entry(name.to_owned()).or_insert(1 << next))
    }

    fn problem(&mut self, file: &'static str, line: u64, column: Option<&'static str>, what: String, try_: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(TraceProblem { file, line, column, what, try_: try_.to_owned() });
        }
    }
}

/// Keeps the beginning of what a stranger wrote.
fn clipped(text: &str) -> String {
    text.chars().take(TOLD_CHARS).collect()
}

// === impl Line ===

impl Line<'_> {
    fn field(&self, name: &str) -> &str {
        self.columns.get(name).and_then(|at| self.record.get(*at)).unwrap_or_default()
    }
}
