//! Every default in one place: the model, serde, clap and the documents all read it here.

use crate::time::Millis;

/// The defaults of the product.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// How long a request may take. Azure's default.
    pub request_timeout: Millis,
    /// The longest a deployment may allow. Azure's limit for managed endpoints.
    pub request_timeout_max: Millis,
    /// How many requests an instance works on at once. Azure's default: one worker.
    pub max_concurrent_requests_per_instance: u32,
    /// Wait before the first probe. Azure's default.
    pub probe_initial_delay: Millis,
    /// Time between probes. Azure's default.
    pub probe_period: Millis,
    /// How long a probe may take. Azure's default.
    pub probe_timeout: Millis,
    /// Successes that make a probe pass. Azure's default.
    pub probe_success_threshold: u32,
    /// Failures that make a probe fail. Azure's default.
    pub probe_failure_threshold: u32,
    /// Largest request body in MiB: room for tensors, small enough that a node survives a hundred of them at once.
    pub max_body_mib: u64,
    /// Instances of a deployment that names no count.
    pub instance_count: u32,
    /// Instances a deployment may have. Azure's limit is 50 per deployment; ours guards the table, not a quota.
    pub instance_count_max: u32,
    /// How important a deployment is that says nothing: in the middle of 0 to 100, as with Nomad's jobs.
    pub priority: u32,
    /// Deployments an endpoint may have. Azure's limit.
    pub deployments_per_endpoint_max: u32,
    /// The size of a deployment that names none. The default of Azure's REST interface.
    pub instance_type: &'static str,
    /// How long a stopping replica may finish requests before it is cut.
    pub drain_deadline: Millis,
    /// Time between the polite and the forced end of a process.
    pub kill_grace: Millis,
    /// How long a replica may take from launch to its first successful warm-up: a large model from a cold disk.
    pub start_deadline: Millis,
    /// Time between a node's heartbeats.
    pub heartbeat_interval: Millis,
    /// Silence after which a node gets no new replicas.
    pub suspect_after: Millis,
    /// Silence after which a node's replicas are replaced.
    pub lost_after: Millis,
    /// How long a crashed agent has to come back before its node is lost.
    pub restart_grace: Millis,
    /// Share of nodes, in percent, that may turn suspect within `brake_window` before the coordinator suspects itself.
    pub brake_percent: u64,
    /// Nodes that may always turn suspect without the brake.
    pub brake_floor: u64,
    /// Window of the brake.
    pub brake_window: Millis,
    /// Returns of a node in a row after which it is no longer taken at its word: an operator at work makes a few.
    pub returns_free: u64,
    /// Time without a return after which the earlier ones are forgotten.
    pub returns_window: Millis,
    /// How long a node that returned too often must be heard without a break before anything new is placed on it; doubles with
    /// each further return.
    pub return_hold: Millis,
    /// The longest such wait: a node that was mended is of use again after it.
    pub return_hold_max: Millis,
    /// First wait before a crashed replica is started again; doubles up to `restart_backoff_max`.
    pub restart_backoff: Millis,
    /// Longest wait between restarts.
    pub restart_backoff_max: Millis,
    /// Starts that may end by themselves in a row before a replica that never served is reported failed: a crash shows
    /// within seconds and may be bad luck. A start that has to be ended because nothing answered counts as all of them.
    /// It took as long as its probes allow, 300 s by Azure's defaults; two such replicas condemn a deployment within
    /// the quarter of an hour for which people wait, three tries each would keep them for half an hour.
    pub start_attempts: u32,
    /// How long a look at a device may be old before nothing new is placed on it: the driver hangs.
    pub device_silent: Millis,
    /// How long a device must pass its self-test after a first fault; quadruples with each fault in a row.
    pub device_probation: Millis,
    /// Faults in a row after which a device has failed.
    pub device_strikes_max: u64,
    /// How long a failed device stays out, and how long without a fault makes the next one a first one.
    pub device_failed: Millis,
    /// Time between two looks at a node's devices.
    pub device_look_interval: Millis,
    /// Looks in a row at which a replica may use more device memory than its share: programs reserve in steps and give
    /// back a moment later.
    pub device_share_grace: u32,
    /// Port of the coordinators: API, Raft, sessions and tables.
    pub api_port: u16,
    /// Port callers send requests to, on every node.
    pub ingress_port: u16,
    /// Port other nodes send requests to, on every node.
    pub gate_port: u16,
    /// Port on which a node's metrics are read, where they are.
    pub metrics_port: u16,
    /// Domain under which a host name is an endpoint name.
    pub domain: &'static str,
}

/// The defaults of the product.
pub const DEFAULTS: Defaults = Defaults {
    request_timeout: Millis(5_000),
    request_timeout_max: Millis(180_000),
    max_concurrent_requests_per_instance: 1,
    probe_initial_delay: Millis(10_000),
    probe_period: Millis(10_000),
    probe_timeout: Millis(2_000),
    probe_success_threshold: 1,
    probe_failure_threshold: 30,
    max_body_mib: 64,
    instance_count: 1,
    instance_count_max: 10_000,
    priority: 50,
    deployments_per_endpoint_max: 20,
    instance_type: "Standard_F4s_v2",
    drain_deadline: Millis(30_000),
    kill_grace: Millis(5_000),
    start_deadline: Millis(600_000),
    heartbeat_interval: Millis(500),
    suspect_after: Millis(1_500),
    lost_after: Millis(3_000),
    restart_grace: Millis(1_000),
    brake_percent: 30,
    brake_floor: 2,
    brake_window: Millis(30_000),
    returns_free: 3,
    returns_window: Millis(600_000),
    return_hold: Millis(10_000),
    return_hold_max: Millis(300_000),
    restart_backoff: Millis(500),
    restart_backoff_max: Millis(30_000),
    start_attempts: 3,
    device_silent: Millis(10_000),
    device_probation: Millis(60_000),
    device_strikes_max: 4,
    device_failed: Millis(86_400_000),
    device_look_interval: Millis(1_000),
    device_share_grace: 3,
    api_port: 7_400,
    ingress_port: 7_480,
    gate_port: 7_481,
    metrics_port: 7_482,
    domain: "localhost",
};
