//! Deployments: a model, the code and environment to serve it, and a size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AssetRef, DeploymentKey, Disconnect, GPUS_MAX, LabelRule, Spread, Yielded, instance_type, reserve_of};
use crate::{
    defaults::DEFAULTS,
    error::{Code as ErrorCode, Error, Problems},
    id::{Generation, LogIndex, NodeId, ReplicaId},
    time::{LogTime, Millis},
    units::Resources,
};

/// What serves the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// An Azure scoring script (`init` and `run`) under azureml-inference-server-http.
    Python,
    /// The built-in server for one `.onnx` file.
    Onnx,
    /// Any program that listens on `$PORT`; run without a shell.
    Command(Vec<String>),
}

/// What kind of model it is, in Azure's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
    /// Files whose meaning only the code knows.
    #[default]
    CustomModel,
    /// An MLflow folder.
    MlflowModel,
    /// A Triton repository.
    TritonModel,
}

/// A model and its place in the replica's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name; part of the mount path.
    pub name: String,
    /// Its version; part of the mount path.
    pub version: String,
    /// What kind it is.
    pub model_type: ModelType,
    /// Its bytes.
    pub asset: AssetRef,
}

/// The code folder and the script in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The folder.
    pub asset: AssetRef,
    /// The script, relative to the folder; empty for a `command`.
    pub scoring_script: String,
}

/// A port-less HTTP route of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRoute {
    /// The path.
    pub path: String,
    /// The port the image would listen on; the process launcher gives `$PORT` instead.
    pub port: u32,
}

/// What the code needs around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name, for people.
    pub name: String,
    /// A container image; the process launcher does not use it.
    pub image: Option<String>,
    /// The Python the code was written for, such as `3.9`; a node that has no such one uses its own.
    pub python: Option<String>,
    /// Requirements in pip's syntax.
    pub pip: Vec<String>,
    /// Where the server answers liveness.
    pub liveness_route: Option<HttpRoute>,
    /// Where the server answers readiness.
    pub readiness_route: Option<HttpRoute>,
    /// Where the server answers scoring.
    pub scoring_route: Option<HttpRoute>,
}

/// How many GPUs of what kind one instance needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuAsk {
    /// None.
    #[default]
    None,
    /// Whole devices.
    Whole {
        /// How many.
        count: u32,
        /// Of which model; any when absent.
        model: Option<String>,
        /// With at least this memory each, in MiB.
        memory_mib_min: u64,
    },
    /// A share of one device.
    Memory {
        /// The share in MiB.
        mib: u64,
        /// Of which model; any when absent.
        model: Option<String>,
    },
    /// MIG slices.
    Mig {
        /// The profile, such as `1g.10gb`.
        profile: String,
        /// How many.
        count: u32,
    },
}

/// How requests are admitted to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSettings {
    /// How long a request may take.
    pub request_timeout_ms: u64,
    /// How many requests an instance works on at once.
    pub max_concurrent_requests_per_instance: u32,
    /// How long a request may wait for a slot; nothing for as long as its deadline allows, which is Azure's law.
    pub max_queue_wait_ms: Option<u64>,
}

/// How a probe asks, and when its answers count. Azure's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Wait before the first probe.
    pub initial_delay_ms: u64,
    /// Time between probes.
    pub period_ms: u64,
    /// How long a probe may take.
    pub timeout_ms: u64,
    /// Successes in a row that make it pass.
    pub success_threshold: u32,
    /// Failures in a row that make it fail.
    pub failure_threshold: u32,
}

/// What a user says about a deployment. Any change but that of places (`instance_count`, `min_instances`, `priority`,
/// `reserve`, `spread`) makes a new generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// Free text.
    pub description: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// What serves the model.
    pub runtime: Runtime,
    /// The model; absent when the code brings its own.
    pub model: Option<Model>,
    /// Where models are mounted instead of the default root.
    pub model_mount_path: Option<String>,
    /// The code folder.
    pub code: Option<Code>,
    /// What the code needs around it.
    pub environment: Environment,
    /// Variables of the process.
    pub environment_variables: BTreeMap<String, String>,
    /// Azure's size name, as written; empty when resources were given directly.
    pub instance_type: String,
    /// What one instance holds.
    pub resources: Resources,
    /// GPUs of one instance.
    pub gpu: GpuAsk,
    /// What labels of its nodes have to say.
    pub constraints: BTreeMap<String, LabelRule>,
    /// How many instances.
    pub instance_count: u32,
    /// How many of them are promised, whatever is more important; all of them when absent.
    pub min_instances: Option<u32>,
    /// How important it is, from 0 to 100.
    pub priority: u32,
    /// How its instances keep apart.
    pub spread: Spread,
    /// How requests are admitted.
    pub request_settings: RequestSettings,
    /// Restarts an instance that stopped answering.
    pub liveness_probe: Probe,
    /// Takes an instance out of rotation while it does not answer.
    pub readiness_probe: Probe,
    /// Whether upgrade and recovery places are held for it.
    pub reserve: bool,
    /// What becomes of it on a node that cannot be reached.
    pub disconnect: Disconnect,
}

/// A replica that could not start, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedReplica {
    /// Which one it was.
    pub replica: ReplicaId,
    /// The node that tried.
    pub node: NodeId,
}

/// A deployment as the cluster holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its endpoint and name.
    pub key: DeploymentKey,
    /// What the user says about it.
    pub spec: DeploymentSpec,
    /// How often the spec changed.
    pub generation: Generation,
    /// Specs of earlier generations: those that replicas still run, and the newest that one may go back to.
    pub old_specs: BTreeMap<Generation, DeploymentSpec>,
    /// When each of those began.
    pub old_began: BTreeMap<Generation, LogTime>,
    /// Whether replicas of earlier generations stay as they are until an operator goes on.
    pub paused: bool,
    /// When it was created.
    pub created_at: LogTime,
    /// When the current generation began.
    pub generation_at: LogTime,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Replicas of the current generation that failed in a row without one that served.
    pub failures: u32,
    /// The last failure of the current generation, for people: why, with the tail of the log.
    pub last_failure: Option<String>,
    /// The replica that failed last: its log is still to be had when nothing else is left of it.
    pub last_failed: Option<FailedReplica>,
    /// No replica is placed again before this time: the back-off after failures.
    pub retry_at: LogTime,
    /// The newest generation of which any replica ever served.
    pub served_generation: Option<Generation>,
    /// How long the last replica that came up took from its place to its first answer.
    pub started_in: Option<Millis>,
    /// The generation for which an old replica gave up its place, until one of it is placed.
    pub room_made_for: Option<Generation>,
    /// Replicas of the generation that served that failed in a row, while the current one has not served.
    pub stand_in_failures: u32,
    /// No replica of the generation that served is placed again before this time: the back-off after those failures.
    pub stand_in_retry_at: LogTime,
    /// Since when no node has room for all of its reserve.
    pub reserve_short_since: Option<LogTime>,
    /// Places it gave up for more important deployments and does not have back, each deployment once.
    pub yielded: Vec<Yielded>,
    /// The entry that last changed it.
    pub revision: LogIndex,
}

// === impl Deployment ===

impl Deployment {
    /// Returns the spec of a generation, current or old.
    pub fn spec_of(&self, generation: Generation) -> Option<&DeploymentSpec> {
        if generation == self.generation { Some(&self.spec) } else { self.old_specs.get(&generation) }
    }

    /// Returns whether any replica of the current generation ever served.
    pub fn generation_served(&self) -> bool {
        self.served_generation == Some(self.generation)
    }

    /// Returns the generation of which what is missing comes: the newest that is known to work, until the current one is.
    pub fn stand_in(&self) -> Option<Generation> {
        self.served_generation.filter(|served| *served < self.generation && self.old_specs.contains_key(served))
    }

    /// Returns how many replicas should serve.
    pub fn desired(&self) -> u64 {
        if self.deleting { 0 } else { u64::from(self.spec.instance_count) }
    }

    /// Returns how many of them are promised, whatever is more important.
    pub fn minimum(&self) -> u64 {
        if self.deleting { 0 } else { self.spec.minimum() }
    }

    /// Counts the places it gave up for more important deployments and does not have back.
    pub fn yielded(&self) -> u64 {
        self.yielded.iter().map(|yielded| u64::from(yielded.count)).sum()
    }

    /// Returns how many replicas no planned step may go below: those it asks for, less what it gave up.
    pub fn floor(&self) -> u64 {
        self.desired().saturating_sub(self.yielded()).max(self.minimum())
    }

    /// Returns how many places are held beyond those that should serve; none for an exempt size.
    pub fn reserve(&self) -> u64 {
        if self.spec.reserve { reserve_of(self.desired()) } else { 0 }
    }
}

// === impl RequestSettings ===

impl RequestSettings {
    /// Returns how long a request may wait for a slot. Its deadline may be sooner.
    pub fn queue_wait_ms(&self) -> u64 {
        self.max_queue_wait_ms.unwrap_or(self.request_timeout_ms)
    }
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            request_timeout_ms: DEFAULTS.request_timeout.0,
            max_concurrent_requests_per_instance: DEFAULTS.max_concurrent_requests_per_instance,
            max_queue_wait_ms: None,
        }
    }
}

// === impl Probe ===

impl Default for Probe {
    fn default() -> Self {
        Self {
            initial_delay_ms: DEFAULTS.probe_initial_delay.0,
            period_ms: DEFAULTS.probe_period.0,
            timeout_ms: DEFAULTS.probe_timeout.0,
            success_threshold: DEFAULTS.probe_success_threshold,
            failure_threshold: DEFAULTS.probe_failure_threshold,
        }
    }
}

impl Probe {
    fn check(&self, field: &str, problems: &mut Problems) {
        let hour_ms = Millis::from_secs(3_600).0;
        for (name, ms) in
            [("initial_delay", self.initial_delay_ms), ("period", self.period_ms), ("timeout", self.timeout_ms)]
        {
            if !(1..=hour_ms).contains(&ms) {
                problems.add_try(
                    format!("{field}.{name}"),
                    format!("{ms} ms is out of range"),
                    "use 1 to 3600 seconds",
                );
            }
        }
        for (name, count) in
            [("success_threshold", self.success_threshold), ("failure_threshold", self.failure_threshold)]
        {
            if !(1..=10_000).contains(&count) {
                problems.add_try(format!("{field}.{name}"), format!("{count} is out of range"), "use 1 to 10000");
            }
        }
    }
}

// === impl Runtime ===

impl Runtime {
    /// Returns the word people use for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Onnx => "onnx",
            Self::Command(_) => "command",
        }
    }
}

// === impl DeploymentSpec ===

impl DeploymentSpec {
    /// Creates a spec with every default, of the given runtime.
    pub fn new(runtime: Runtime) -> Self {
        let size = instance_type(DEFAULTS.instance_type);
        Self {
            description: String::new(),
            tags: BTreeMap::new(),
            runtime,
            model: None,
            model_mount_path: None,
            code: None,
            environment: Environment::default(),
            environment_variables: BTreeMap::new(),
            instance_type: DEFAULTS.instance_type.to_owned(),
            resources: size.map(|size| size.resources()).unwrap_or_default(),
            gpu: GpuAsk::None,
            constraints: BTreeMap::new(),
            instance_count: DEFAULTS.instance_count,
            min_instances: None,
            priority: DEFAULTS.priority,
            spread: Spread::default(),
            request_settings: RequestSettings::default(),
            liveness_probe: Probe::default(),
            readiness_probe: Probe::default(),
            reserve: true,
            disconnect: Disconnect::default(),
        }
    }

    /// Returns how long a replica may drain: a request that was just accepted may take this long, and none is cut in a
    /// planned change.
    pub fn drain_within(&self) -> Millis {
        Millis(self.request_settings.request_timeout_ms).max(DEFAULTS.drain_deadline)
    }

    /// Returns whether going from `self` to `next` needs new replicas, rather than more or fewer.
    pub fn differs_beyond_count(&self, next: &Self) -> bool {
        *self != self.with_process_of(next.clone())
    }

    /// Returns `generation` with everything that makes no generation as it is in `self`.
    pub fn with_process_of(&self, generation: Self) -> Self {
        // What happens to a node concerns the cluster and the agent, not the process; nor do places that nothing runs in, nor
        // what people write beside it.
        Self {
            description: self.description.clone(),
            tags: self.tags.clone(),
            instance_count: self.instance_count,
            min_instances: self.min_instances,
            priority: self.priority,
            spread: self.spread,
            disconnect: self.disconnect,
            reserve: self.reserve,
            ..generation
        }
    }

    /// Lists the assets it refers to.
    pub fn assets(&self) -> impl Iterator<Item = &AssetRef> {
        let model = self.model.iter().map(|model| &model.asset);
        model.chain(self.code.iter().map(|code| &code.asset))
    }

    /// Checks every rule and reports all that are broken.
    pub fn validate(&self) -> Result<(), Error> {
        let mut problems = Problems::default();
        self.check_size(&mut problems);
        self.check_priority(&mut problems);
        self.spread.check(&mut problems);
        self.check_requests(&mut problems);
        self.check_runtime(&mut problems);
        self.check_variables(&mut problems);
        self.check_environment(&mut problems);
        self.liveness_probe.check("liveness_probe", &mut problems);
        self.readiness_probe.check("readiness_probe", &mut problems);
        self.disconnect.check(&mut problems);
        if self.liveness_probe.success_threshold > 1 {
            problems.add_try("liveness_probe.success_threshold", "liveness passes with one success", "use 1");
        }
        problems.into_result(ErrorCode::Invalid, "the deployment")
    }

    fn check_size(&self, problems: &mut Problems) {
        let max = DEFAULTS.instance_count_max;
        if self.instance_count > max {
            problems.add_try(
                "instance_count",
                format!("{} is too many", self.instance_count),
                format!("use 0 to {max}"),
            );
        }
        let Resources { cpu_milli, memory_mib, disk_mib, gpus } = self.resources;
        if cpu_milli == 0 || cpu_milli > 100_000_000 {
            problems.add_try("resources.cpu", "out of range", "use 0.001 to 100000 cores");
        }
        if memory_mib == 0 || memory_mib > 1 << 32 {
            problems.add_try("resources.memory", "out of range", "use 1 MiB to 4096 TiB");
        }
        if disk_mib > 1 << 32 {
            problems.add_try("resources.disk", "out of range", "use at most 4096 TiB");
        }
        let whole = match &self.gpu {
            GpuAsk::Whole { count, .. } => u64::from(*count),
            GpuAsk::None | GpuAsk::Memory { .. } | GpuAsk::Mig { .. } => 0,
        };
        if let Some(what) = self.gpu.problem() {
            problems.add_try("resources.gpu", what, format!("use 1 to {GPUS_MAX} devices, or a share of one"));
        } else if gpus != whole {
            problems.add_try("resources.gpu", "is not what the GPU request says", "give both the same number");
        }
    }

    fn check_requests(&self, problems: &mut Problems) {
        let settings = self.request_settings;
        let longest_ms = DEFAULTS.request_timeout_max.0;
        if !(1..=longest_ms).contains(&settings.request_timeout_ms) {
            problems.add_try(
                "request_settings.request_timeout_ms",
                format!("{} is out of range", settings.request_timeout_ms),
                format!("use 1 to {longest_ms}"),
            );
        }
        if !(1..=100_000).contains(&settings.max_concurrent_requests_per_instance) {
            problems.add_try(
                "request_settings.max_concurrent_requests_per_instance",
                format!("{} is out of range", settings.max_concurrent_requests_per_instance),
                "use 1 to 100000",
            );
        }
        if let Some(wait_ms) = settings.max_queue_wait_ms.filter(|wait_ms| *wait_ms > longest_ms) {
            problems.add_try(
                "request_settings.max_queue_wait_ms",
                format!("{wait_ms} is out of range"),
                format!("use 0 to {longest_ms}"),
            );
        }
    }

    fn check_runtime(&self, problems: &mut Problems) {
        match &self.runtime {
            Runtime::Python => match &self.code {
                None => {
                    problems.add("code_configuration", "a Python deployment needs a code folder and a scoring script")
                }
                Some(code) if !is_relative_inside(&code.scoring_script) => problems.add_try(
                    "code_configuration.scoring_script",
                    format!("`{}` is not a path inside the code folder", code.scoring_script),
                    "give it relative to `code`, without `..`",
                ),
                Some(_) => {}
            },
            Runtime::Onnx => {
                let file = self.model.as_ref().map(|model| model.asset.name.as_str());
                if !file.is_some_and(|name| name.to_ascii_lowercase().ends_with(".onnx")) {
                    problems.add("model.path", "the ONNX runtime needs a model that is one `.onnx` file");
                }
            }
            Runtime::Command(argv) => {
                if argv.first().is_none_or(String::is_empty) {
                    problems.add("command", "is empty");
                }
                if argv.iter().any(|arg| arg.contains('\0')) {
                    problems.add("command", "holds a NUL byte");
                }
            }
        }
        for (field, asset) in [
            ("model.path", self.model.as_ref().map(|model| &model.asset)),
            ("code_configuration.code", self.code.as_ref().map(|code| &code.asset)),
        ] {
            if asset.is_some_and(|asset| !is_file_name(&asset.name)) {
                problems.add(field, "its base name is no plain file name");
            }
        }
        if let Some(model) = &self.model {
            for (field, part) in [("model.name", &model.name), ("model.version", &model.version)] {
                if !is_file_name(part) {
                    problems.add(field, format!("`{part}` cannot be part of a path"));
                }
            }
        }
    }

    fn check_variables(&self, problems: &mut Problems) {
        for (name, value) in &self.environment_variables {
            let bad_name = name.is_empty() || name.contains(['=', '\0']);
            if bad_name || value.contains('\0') {
                problems.add(format!("environment_variables.{name}"), "no process can be given this variable");
            }
        }
        let bytes: usize = self.environment_variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > 64 << 10 {
            problems.add("environment_variables", "larger than 64 KiB in all");
        }
    }

    fn check_environment(&self, problems: &mut Problems) {
        let environment = &self.environment;
        // The name of a program is made of it, so it is digits and nothing else.
        if let Some(python) = environment.python.as_deref().filter(|python| !is_python_version(python)) {
            problems.add_try("environment.python", format!("`{python}` is no version of Python"), "such as `3.11`");
        }
        if environment.pip.iter().map(String::len).sum::<usize>() > 64 << 10 {
            problems.add("environment.pip", "larger than 64 KiB in all");
        }
        if environment.pip.iter().any(|line| line.contains(['\n', '\r', '\0'])) {
            problems.add("environment.pip", "a requirement is one line");
        }
    }
}

/// Returns whether `text` is a version such as `3.11`: what tells one interpreter from another on a host.
fn is_python_version(text: &str) -> bool {
    let is_number = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// Returns whether `name` is one path component that stays where it is put.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\0']) && name != "." && name != ".."
}

/// Returns whether `path` is relative and never climbs out.
fn is_relative_inside(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && path.split('/').all(|part| part == "." || is_file_name(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::Digest, model::AssetKind};

    fn code(script: &str) -> Option<Code> {
        let asset = AssetRef { digest: Digest::of(b"x"), kind: AssetKind::Folder, name: "src".into(), size_bytes: 1 };
        Some(Code { asset, scoring_script: script.into() })
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let mut spec = DeploymentSpec::new(Runtime::Python);
        spec.request_settings.request_timeout_ms = 0;
        spec.liveness_probe.period_ms = 0;
        spec.instance_count = 1_000_000;
        (spec.priority, spec.min_instances) = (101, Some(1_000_001));
        let error = spec.validate().expect_err("six rules are broken");
        let fields: Vec<_> = error.problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "instance_count",
                "priority",
                "min_instances",
                "request_settings.request_timeout_ms",
                "code_configuration",
                "liveness_probe.period"
            ]
        );
    }

    #[test]
    fn a_script_stays_inside_its_folder() {
        for (script, ok) in
            [("score.py", true), ("a/score.py", true), ("../score.py", false), ("/score.py", false), ("", false)]
        {
            let spec = DeploymentSpec { code: code(script), ..DeploymentSpec::new(Runtime::Python) };
            assert_eq!(spec.validate().is_ok(), ok, "{script}");
        }
    }

    #[test]
    fn only_a_change_beyond_the_count_needs_new_replicas() {
        let spec = DeploymentSpec { code: code("score.py"), ..DeploymentSpec::new(Runtime::Python) };
        let scaled = DeploymentSpec { instance_count: 5, min_instances: Some(2), priority: 70, ..spec.clone() };
        let changed = DeploymentSpec { code: code("other.py"), ..scaled.clone() };
        assert!(!spec.differs_beyond_count(&scaled));
        let tags = [("team".to_owned(), "risk".to_owned())].into();
        let told = DeploymentSpec { description: "for the risk team".to_owned(), tags, ..spec.clone() };
        assert!(!spec.differs_beyond_count(&told));
        assert!(spec.differs_beyond_count(&changed));
    }
}
