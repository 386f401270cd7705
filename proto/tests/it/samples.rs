//! One value of everything stored, with every field set and every variant somewhere: what the golden bytes hold.
//!
//! A field that holds its zero is not written at all, so no field here is zero.

use std::{collections::BTreeMap, sync::Arc};

use berth_core::{
    error::{Code as ErrorCode, Error, Problem},
    id::{Digest, Generation, LoanId, LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId, RequestId, SlotId, Term},
    model::{
        Alert, AlertKey, AlertRule, AlertSeverity, AlertState, Asset, AssetKind, AssetRef, AuthMode, Code, Condition,
        Deployment, DeploymentKey, DeploymentName, DeploymentSpec, Device, DeviceCondition, DeviceGrant, DeviceState,
        Disconnect, DrainBy, Endpoint, EndpointKeys, EndpointName, EndpointSpec, Environment, FailedReplica, Family,
        GpuAsk, HedgeAfter, Hedging, HttpRoute, LabelRule, Loan, MirrorRules, Model, ModelType, Node, NodeDrain,
        NodeName, NodeProfile, NodeState, Probe, ProjectName, ProjectQuota, Quotas, Reconcile, ReleaseCause, Replica,
        ReplicaState, RequestSettings, ReserveSlot, ReserveSpend, Runtime, SealedKey, Settings, SettingsChange,
        SpendCause, Spread, SpreadBy, Traffic, UpgradeLock, Yielded,
    },
    state::{
        AlertChange, AlertTold, Command, DeviceTransition, DrainWish, Entry, Event, EventLog, EventSubject,
        NodeTransition, Observed, Plan, PutMode, RegisterNode, ReplicaReport, Reply, ReplyRecord, ReplyTable,
        RouteRevisions, Severity, Snapshot, Step,
    },
    time::{LogTime, Millis},
    traffic::table::{DeploymentRoute, EndpointRoute, ReplicaRoute, RouteRuntime, RouteTable},
    units::Resources,
};

/// 2026-01-01T00:00:00Z.
const NEW_YEAR_MS: u64 = 1_767_225_600_000;

/// Lists one entry per command, named after it.
pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let if_revision = Some(LogIndex(41));
    let commands = [
        ("cluster_init", Command::ClusterInit { cluster_id: "berth-7f3a".into() }),
        ("leader_established", Command::LeaderEstablished { term: Term(3), member: MemberId(0x11) }),
        ("feature_level_raise", Command::FeatureLevelRaise { level: 2 }),
        (
            "endpoint_put",
            Command::EndpointPut {
                name: endpoint_name("fraud"),
                spec: endpoint_spec(),
                project: Some(project()),
                keys: keys(),
                mode: PutMode::Create,
                if_revision,
            },
        ),
        ("endpoint_keys_put", Command::EndpointKeysPut { name: endpoint_name("fraud"), keys: keys(), if_revision }),
        ("endpoint_delete", Command::EndpointDelete { name: endpoint_name("fraud"), if_revision }),
        (
            "traffic_set",
            Command::TrafficSet {
                endpoint: endpoint_name("fraud"),
                split: Some(shares([("blue", 90), ("green", 10)])),
                mirror: Some(shares([("green", 5)])),
                strict_azure: true,
                if_revision,
            },
        ),
        (
            "deployment_put",
            Command::DeploymentPut {
                key: key(),
                spec: Box::new(DeploymentSpec {
                    spread: Spread { by: SpreadBy::Node, max_per_domain: Some(1) },
                    ..python_spec()
                }),
                mode: PutMode::Update,
                if_revision,
            },
        ),
        (
            "deployment_put_command",
            Command::DeploymentPut {
                key: key(),
                spec: Box::new(command_spec()),
                mode: PutMode::Upsert,
                if_revision: None,
            },
        ),
        ("deployment_scale", Command::DeploymentScale { key: key(), instance_count: 5, if_revision }),
        ("deployment_delete", Command::DeploymentDelete { key: key(), if_revision }),
        (
            "node_register",
            Command::NodeRegister(Box::new(RegisterNode {
                node: NodeId(0x21),
                profile: profile(),
                epoch_seen: NodeEpoch(7),
                held: NodeEpoch(6),
                takes_over: true,
            })),
        ),
        (
            "node_transition",
            Command::NodeTransition(NodeTransition {
                term: Term(3),
                node: NodeId(0x21),
                epoch: NodeEpoch(4),
                to: NodeState::Suspect,
                reason: "silent for 1.5 s".into(),
            }),
        ),
        (
            "device_transition",
            Command::DeviceTransition(DeviceTransition {
                term: Term(3),
                node: NodeId(0x21),
                epoch: NodeEpoch(4),
                card: "GPU-0".into(),
                to: Some(DeviceState::Probation),
                reason: "XID 79: fell off the bus".into(),
                faults: 2,
            }),
        ),
        ("node_cordon", Command::NodeCordon { name: node_name("node-1"), cordoned: true }),
        (
            "node_drain",
            Command::NodeDrain {
                name: node_name("node-1"),
                wish: Some(DrainWish {
                    within: Millis(300_000),
                    reason: "kernel update".into(),
                    force: true,
                    by: DrainBy::Agent,
                }),
            },
        ),
        (
            "upgrade_lock",
            Command::UpgradeLock { holder: "ann@host-1".into(), within: Some(Millis(900_000)), steal: true },
        ),
        (
            "quota_set",
            Command::QuotaSet {
                project: project(),
                limits: BTreeMap::from([(family("H100"), Some(8_000)), (Family::CPU, None)]),
                if_revision,
            },
        ),
        (
            "pool_set",
            Command::PoolSet {
                amounts: BTreeMap::from([(family("H100"), Some(4_000)), (Family::GPU, None)]),
                if_revision,
            },
        ),
        (
            "quota_lend",
            Command::QuotaLend {
                loan: LoanId(0x51),
                project: project(),
                family: family("H100"),
                milli: 2_000,
                within: Millis(86_400_000),
            },
        ),
        ("quota_return", Command::QuotaReturn { loan: LoanId(0x51) }),
        ("pause_deployment", Command::DeploymentPause { key: key(), paused: true, if_revision }),
        ("restart_deployment", Command::DeploymentRestart { key: key(), if_revision }),
        ("replace_replica", Command::ReplicaReplace { replica: ReplicaId(0x61), within: Some(Millis::from_secs(5)) }),
        (
            "alerts_change",
            Command::AlertsChange {
                term: Term(3),
                changes: vec![alert_change(AlertState::Firing), alert_change(AlertState::Resolved)],
            },
        ),
        (
            "alerts_told",
            Command::AlertsTold {
                term: Term(3),
                told: vec![AlertTold {
                    key: alert_key(),
                    revision: LogIndex(48),
                    given_up: vec!["pager: it did not answer".into()],
                }],
            },
        ),
        ("loans_expire", Command::LoansExpire { term: Term(3), loans: vec![LoanId(0x51)] }),
        (
            "settings_set",
            Command::SettingsSet {
                change: SettingsChange {
                    suspect_after: Some(Millis(2_000)),
                    lost_after: Some(Millis(5_000)),
                    restart_grace: Some(Millis(1_500)),
                    brake_percent: Some(40),
                    brake_floor: Some(3),
                    brake_window: Some(Millis(60_000)),
                    device_silent: Some(Millis(20_000)),
                    returns_free: Some(4),
                    returns_window: Some(Millis(601_000)),
                    return_hold: Some(Millis(11_000)),
                    return_hold_max: Some(Millis(301_000)),
                    device_probation: Some(Millis(120_000)),
                    device_strikes_max: Some(3),
                    device_failed: Some(Millis(3_600_000)),
                    reset: true,
                },
                if_revision,
            },
        ),
        ("node_forget", Command::NodeForget { name: node_name("node-1") }),
        ("replica_reports", Command::ReplicaReports { node: NodeId(0x21), epoch: NodeEpoch(4), reports: reports() }),
        ("plan_commit", Command::PlanCommit(plan())),
        (
            "asset_commit",
            Command::AssetCommit {
                digest: Digest::of(b"model"),
                size_bytes: 1_048_576,
                holders: vec![MemberId(0x11), MemberId(u64::MAX)],
            },
        ),
        ("asset_expire", Command::AssetExpire { digests: vec![Digest::of(b"model"), Digest::of(b"code")] }),
    ];
    let entry = |(name, command)| {
        let entry = Entry {
            proposed_at: LogTime::from_millis(NEW_YEAR_MS),
            request_id: Some(RequestId("apply-1".into())),
            fingerprint: 0xfeed_beef_0000_0001,
            principal: "admin".into(),
            command,
        };
        (name, entry)
    };
    commands.into_iter().map(entry).collect()
}

/// Lists one of each reply.
pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    vec![
        ("done", Reply::Done { revision: LogIndex(42) }),
        ("registered", Reply::Registered { epoch: NodeEpoch(4) }),
        ("planned", Reply::Planned { outcomes: vec![Ok(()), Err(error()), Ok(())] }),
        ("refused", Reply::Refused(error())),
    ]
}

/// The state of a small cluster in which everything occurs.
pub(crate) fn snapshot() -> Snapshot {
    let replies = replies().into_iter().zip(1..).map(|((name, reply), index)| ReplyRecord {
        request_id: RequestId(name.into()),
        fingerprint: 7,
        index: LogIndex(index),
        reply,
    });
    let severities = [Severity::Info, Severity::Warning, Severity::Error];
    let events = severities.into_iter().zip(1..).map(|(severity, seq)| Event {
        seq,
        index: LogIndex(30 + seq),
        at: at(seq),
        severity,
        kind: "replica.serving".into(),
        subject: EventSubject {
            endpoint: Some(endpoint_name("fraud")),
            deployment: Some(key()),
            replica: Some(ReplicaId(0x31)),
            node: Some(NodeId(0x21)),
            node_name: Some(node_name("node-1")),
        },
        text: "fraud/blue serves on node-1".into(),
    });
    Snapshot {
        cluster_id: "berth-7f3a".into(),
        applied: LogIndex(50),
        time: at(900),
        term: Term(3),
        feature_level: 1,
        endpoints: vec![endpoint()],
        deployments: vec![deployment()],
        replicas: ReplicaState::ALL.into_iter().zip(0x31..).map(|(state, id)| replica(id, state)).collect(),
        slots: vec![slot()],
        nodes: NodeState::ALL.into_iter().zip(0x21..).map(|(state, id)| node(id, state)).collect(),
        upgrade: Some(UpgradeLock { holder: "ann@host-1".into(), taken_at: at(7), expires_at: at(907) }),
        quotas: quotas(),
        settings: Settings {
            suspect_after: Millis(2_000),
            lost_after: Millis(5_000),
            restart_grace: Millis(1_500),
            brake_percent: 40,
            brake_floor: 3,
            brake_window: Millis(60_000),
            device_silent: Millis(20_000),
            returns_free: 4,
            returns_window: Millis(601_000),
            return_hold: Millis(11_000),
            return_hold_max: Millis(301_000),
            device_probation: Millis(120_000),
            device_strikes_max: 3,
            device_failed: Millis(3_600_000),
            revision: LogIndex(39),
        },
        alerts: vec![Alert {
            key: alert_key(),
            rule: alert_rule(AlertSeverity::Critical),
            state: AlertState::Resolved,
            fired_at: at(800),
            since: at(860),
            value: Some(640_000),
            text: "p99 of fraud/blue is 640 ms again".into(),
            revision: LogIndex(48),
            told: true,
        }],
        assets: vec![Asset {
            digest: Digest::of(b"model"),
            size_bytes: 1_048_576,
            committed_at: at(3),
            revision: LogIndex(9),
            holders: vec![MemberId(0x11), MemberId(0x12)],
        }],
        replies: ReplyTable::restore(replies),
        events: EventLog::restore(events, 4),
        routes: RouteRevisions::restore(
            LogIndex(49),
            LogIndex(12),
            BTreeMap::from([(endpoint_name("fraud"), LogIndex(49))]),
            [(LogIndex(13), endpoint_name("gone"))],
        ),
    }
}

/// A table with every kind of route.
pub(crate) fn table() -> RouteTable {
    let replica = |id, state| ReplicaRoute {
        id: ReplicaId(id),
        node: NodeId(0x21),
        epoch: NodeEpoch(4),
        gate_address: "10.0.0.1:7481".into(),
        state,
        slots: 2,
    };
    let runtimes = [RouteRuntime::Python, RouteRuntime::Onnx, RouteRuntime::Command];
    let deployments = ["blue", "green", "red"].into_iter().zip(runtimes).map(|(name, runtime)| DeploymentRoute {
        name: deployment_name(name),
        generation: Generation(2),
        runtime,
        request_timeout_ms: 5_000,
        max_concurrent_requests_per_instance: 2,
        max_queue_wait_ms: 500,
        scoring_path: "/score".into(),
        replicas: vec![replica(0x34, ReplicaState::Warm), replica(0x35, ReplicaState::Serving)],
    });
    let fraud = EndpointRoute {
        name: endpoint_name("fraud"),
        revision: LogIndex(49),
        auth_mode: AuthMode::Key,
        key_hashes: vec![[0xa1; 32], [0xb2; 32]],
        max_body_bytes: 1 << 20,
        idempotent: Some(false),
        hedging: Some(Hedging { after: HedgeAfter::Delay(Millis(40)), budget_percent: 7 }),
        split: vec![(deployment_name("blue"), 90), (deployment_name("green"), 10)],
        mirror: vec![(deployment_name("red"), 5)],
        mirror_rules: mirror_rules(),
        created_at: at(9),
        deployments: deployments.collect(),
    };
    let open = EndpointRoute {
        name: endpoint_name("open"),
        revision: LogIndex(20),
        auth_mode: AuthMode::None,
        key_hashes: Vec::new(),
        idempotent: None,
        hedging: None,
        split: Vec::new(),
        mirror: Vec::new(),
        deployments: Vec::new(),
        ..fraud.clone()
    };
    RouteTable {
        cluster_id: "berth-7f3a".into(),
        version: LogIndex(49),
        endpoints: [fraud, open].into_iter().map(|route| (route.name.clone(), Arc::new(route))).collect(),
    }
}

fn at(seconds: u64) -> LogTime {
    LogTime::from_millis(NEW_YEAR_MS + seconds * 1_000)
}

fn endpoint_name(text: &str) -> EndpointName {
    EndpointName::new(text).expect("a valid name")
}

fn deployment_name(text: &str) -> DeploymentName {
    DeploymentName::new(text).expect("a valid name")
}

fn node_name(text: &str) -> NodeName {
    NodeName::new(text).expect("a valid name")
}

fn key() -> DeploymentKey {
    DeploymentKey::new(endpoint_name("fraud"), deployment_name("blue"))
}

fn shares<const N: usize>(shares: [(&str, u32); N]) -> Traffic {
    shares.into_iter().map(|(name, percent)| (deployment_name(name), percent)).collect()
}

fn words(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.into(), value.into()), ("z".into(), "last".into())])
}

fn resources() -> Resources {
    Resources { cpu_milli: 4_000, memory_mib: 14_336, disk_mib: 10_240, gpus: 1 }
}

fn project() -> ProjectName {
    ProjectName::new("team-a").expect("a valid name")
}

fn family(name: &str) -> Family {
    Family::named(name).expect("a known family")
}

fn quotas() -> Quotas {
    let quota = ProjectQuota {
        limits: BTreeMap::from([(family("H100"), 8_000), (Family::CPU, 64_000)]),
        over_since: BTreeMap::from([(family("H100"), at(800))]),
        revision: LogIndex(44),
    };
    let loan = Loan {
        id: LoanId(0x51),
        project: project(),
        family: family("H100"),
        milli: 2_000,
        lent_at: at(700),
        expires_at: at(90_000),
        revision: LogIndex(46),
    };
    Quotas {
        projects: BTreeMap::from([(project(), quota)]),
        pool: BTreeMap::from([(family("H100"), 4_000)]),
        loans: BTreeMap::from([(loan.id, loan)]),
        pool_revision: LogIndex(45),
    }
}

fn endpoint_spec() -> EndpointSpec {
    EndpointSpec {
        description: "scores payments".into(),
        tags: words("team", "risk"),
        auth_mode: AuthMode::Key,
        max_body_bytes: 1 << 20,
        idempotent: Some(true),
        hedging: Some(Hedging { after: HedgeAfter::Percentile { permille: 950 }, budget_percent: 5 }),
        mirror_rules: mirror_rules(),
        alerts: vec![alert_rule(AlertSeverity::Warning), AlertRule::new(alert_when("replicas short for 10m"))],
    }
}

fn alert_when(text: &str) -> Condition {
    text.parse().expect("a condition")
}

fn alert_rule(severity: AlertSeverity) -> AlertRule {
    AlertRule {
        name: "slow".into(),
        when: alert_when("p99 > 800 ms for 2m"),
        deployment: Some(deployment_name("blue")),
        severity,
        notify: vec!["pager".into(), "chat".into()],
        min_requests: 20,
    }
}

fn alert_key() -> AlertKey {
    AlertKey { endpoint: endpoint_name("fraud"), rule: "slow".into() }
}

fn alert_change(to: AlertState) -> AlertChange {
    AlertChange {
        key: alert_key(),
        rule: alert_rule(AlertSeverity::Critical),
        to,
        value: Some(1_200_000),
        text: "p99 of fraud/blue is 1200 ms, over 800 ms, for 2m00s".into(),
    }
}

fn mirror_rules() -> MirrorRules {
    MirrorRules {
        compare: false,
        rtol_ppb: 1_000_000,
        atol_ppb: 7,
        ignore: vec!["took_ms".into()],
        redact: true,
        pinned: true,
    }
}

fn keys() -> EndpointKeys {
    let sealed = |byte: u8| SealedKey {
        cluster_key_id: 1,
        nonce: vec![byte; 12],
        ciphertext: vec![byte ^ 0xff; 48],
        hash: [byte; 32],
    };
    EndpointKeys { primary: sealed(0xa1), secondary: sealed(0xb2) }
}

fn endpoint() -> Endpoint {
    Endpoint {
        name: endpoint_name("fraud"),
        project: ProjectName::default(),
        spec: EndpointSpec { auth_mode: AuthMode::None, ..endpoint_spec() },
        keys: keys(),
        traffic: shares([("blue", 90), ("green", 10)]),
        mirror: shares([("green", 5)]),
        created_at: at(1),
        revision: LogIndex(49),
    }
}

fn asset_ref(name: &str, kind: AssetKind) -> AssetRef {
    AssetRef { digest: Digest::of(name.as_bytes()), kind, name: name.into(), size_bytes: 1_048_576 }
}

fn model(name: &str, model_type: ModelType) -> Model {
    Model { name: "fraud".into(), version: "3".into(), model_type, asset: asset_ref(name, AssetKind::File) }
}

fn disconnect(reconcile: Reconcile) -> Disconnect {
    Disconnect {
        lost_after: Some(Millis(600_000)),
        replace: true,
        stop_on_client_after: Some(Millis(900_000)),
        reconcile,
    }
}

fn python_spec() -> DeploymentSpec {
    let route = |path: &str| Some(HttpRoute { path: path.into(), port: 5_001 });
    let probe = |start: u64| Probe {
        initial_delay_ms: start,
        period_ms: start + 1,
        timeout_ms: start + 2,
        success_threshold: 1,
        failure_threshold: 30,
    };
    DeploymentSpec {
        description: "the first model".into(),
        tags: words("stage", "production"),
        runtime: Runtime::Python,
        model: Some(model("model.pkl", ModelType::CustomModel)),
        model_mount_path: Some("/var/models".into()),
        code: Some(Code { asset: asset_ref("src", AssetKind::Folder), scoring_script: "score.py".into() }),
        environment: Environment {
            name: "sklearn".into(),
            image: Some("mcr/inference:1".into()),
            python: Some("3.9".into()),
            pip: vec!["numpy==2.0".into(), "scikit-learn".into()],
            liveness_route: route("/live"),
            readiness_route: route("/ready"),
            scoring_route: route("/score"),
        },
        environment_variables: words("LOG_LEVEL", "debug"),
        instance_type: "Standard_DS3_v2".into(),
        resources: resources(),
        gpu: GpuAsk::Whole { count: 1, model: Some("A10".into()), memory_mib_min: 24_000 },
        constraints: BTreeMap::from([
            ("zone".to_owned(), LabelRule::from("a")),
            ("tier".to_owned(), LabelRule::none_of(["b".to_owned(), "c".to_owned()])),
        ]),
        instance_count: 2,
        request_settings: RequestSettings {
            request_timeout_ms: 5_000,
            max_concurrent_requests_per_instance: 2,
            max_queue_wait_ms: Some(500),
        },
        liveness_probe: probe(10_000),
        readiness_probe: probe(20_000),
        reserve: true,
        disconnect: disconnect(Reconcile::KeepServing),
        priority: 70,
        min_instances: Some(1),
        spread: Spread { by: SpreadBy::Zone, max_per_domain: Some(2) },
    }
}

fn command_spec() -> DeploymentSpec {
    DeploymentSpec {
        runtime: Runtime::Command(vec!["./serve".into(), "--fast".into()]),
        model: Some(model("triton", ModelType::TritonModel)),
        gpu: GpuAsk::Memory { mib: 8_192, model: Some("A10".into()) },
        disconnect: disconnect(Reconcile::KeepOriginal),
        spread: Spread { by: SpreadBy::Rack, max_per_domain: None },
        ..python_spec()
    }
}

fn onnx_spec() -> DeploymentSpec {
    DeploymentSpec {
        runtime: Runtime::Onnx,
        model: Some(model("model.onnx", ModelType::MlflowModel)),
        gpu: GpuAsk::Mig { profile: "1g.10gb".into(), count: 2 },
        disconnect: disconnect(Reconcile::KeepReplacement),
        spread: Spread { by: SpreadBy::None, max_per_domain: None },
        ..python_spec()
    }
}

fn deployment() -> Deployment {
    Deployment {
        key: key(),
        spec: onnx_spec(),
        generation: Generation(3),
        old_specs: BTreeMap::from([(Generation(1), python_spec()), (Generation(2), command_spec())]),
        old_began: BTreeMap::from([(Generation(1), at(4)), (Generation(2), at(5))]),
        paused: true,
        created_at: at(1),
        generation_at: at(2),
        deleting: true,
        failures: 2,
        last_failure: Some("init() raised: no such file".into()),
        last_failed: Some(FailedReplica { replica: ReplicaId(0x2f), node: NodeId(0x11) }),
        retry_at: at(60),
        served_generation: Some(Generation(4)),
        started_in: Some(Millis(31_000)),
        room_made_for: Some(Generation(3)),
        stand_in_failures: 1,
        stand_in_retry_at: at(61),
        reserve_short_since: Some(at(30)),
        yielded: vec![Yielded { to: key(), count: 2 }],
        revision: LogIndex(48),
    }
}

fn grants() -> Vec<DeviceGrant> {
    vec![
        DeviceGrant { uuid: "GPU-1".into(), memory_mib: None },
        DeviceGrant { uuid: "GPU-2".into(), memory_mib: Some(8_192) },
    ]
}

fn replica(id: u64, state: ReplicaState) -> Replica {
    Replica {
        id: ReplicaId(id),
        key: key(),
        generation: Generation(2),
        node: NodeId(0x21),
        resources: resources(),
        devices: grants(),
        replaces: Some(ReplicaId(0x30)),
        reserve_spent: Some(spend(SpendCause::RollingUpdate { generation: Generation(2) })),
        made_room_for: Some(key()),
        state,
        reason: "placed for instance 2 of 2".into(),
        lost: true,
        restarts: 1,
        pid: 4_711,
        address: "127.0.0.1:31000".into(),
        placed_at: at(4),
        since: at(5),
        drain_deadline: at(65),
        retry_at: at(70),
        revision: LogIndex(47),
    }
}

fn slot() -> ReserveSlot {
    ReserveSlot {
        id: SlotId(0x41),
        key: key(),
        node: NodeId(0x21),
        resources: resources(),
        devices: grants(),
        reason: "away from all that it covers".into(),
        since: at(7),
        revision: LogIndex(45),
    }
}

fn spend(cause: SpendCause) -> ReserveSpend {
    ReserveSpend { slot: SlotId(0x41), cause }
}

fn profile() -> NodeProfile {
    NodeProfile {
        name: node_name("node-1"),
        labels: words("zone", "a"),
        capacity: resources(),
        devices: vec![Device {
            uuid: "GPU-1".into(),
            model: "A10".into(),
            memory_mib: 24_564,
            mig_profile: Some("1g.10gb".into()),
            healthy: true,
            card: Some("GPU-0".into()),
            driver: "550.90.07".into(),
            simulated: true,
        }],
        gate_address: "10.0.0.1:7481".into(),
        ingress_address: "10.0.0.1:7480".into(),
        is_virtual: true,
        version: "0.1.0".into(),
    }
}

fn condition(state: DeviceState) -> DeviceCondition {
    let reason = "XID 79: fell off the bus".into();
    DeviceCondition { state, reason, since: at(7), strikes: 1, epoch: NodeEpoch(4), faults: 2 }
}

fn node(id: u64, state: NodeState) -> Node {
    Node {
        id: NodeId(id),
        epoch: NodeEpoch(4),
        profile: profile(),
        state,
        cordoned: true,
        drain: Some(NodeDrain {
            reason: "kernel update".into(),
            started_at: at(6),
            deadline: at(306),
            force: true,
            by: DrainBy::ALL[(id % 3) as usize],
            finished_at: Some(at(66)),
            moved: 3,
            cut_requests: 2,
        }),
        overfull: true,
        returns: 5,
        returned_at: at(5),
        devices: DeviceState::ALL.iter().map(|state| (format!("GPU-{state}"), condition(*state))).collect(),
        reason: "registered".into(),
        since: at(6),
        revision: LogIndex(46),
    }
}

fn reports() -> Vec<ReplicaReport> {
    let seen = [Observed::Preparing, Observed::Starting, Observed::Warm, Observed::Failed, Observed::Gone];
    let report = |(observed, id)| ReplicaReport {
        replica: ReplicaId(id),
        observed,
        reason: "exited with code 3".into(),
        permanent: true,
        restarts: 2,
        retry_in: Millis(4_000),
        pid: 4_711,
        address: "127.0.0.1:31000".into(),
    };
    seen.into_iter().zip(0x31..).map(report).collect()
}

fn plan() -> Plan {
    let replica = ReplicaId(0x31);
    let place = |cause| Step::Place {
        replica,
        key: key(),
        generation: Generation(2),
        node: NodeId(0x21),
        devices: grants(),
        replaces: Some(ReplicaId(0x30)),
        reserve_spent: Some(spend(cause)),
        reason: "placed for instance 2 of 2".into(),
    };
    let release = |cause| Step::ReleaseSlot { slot: SlotId(0x41), cause };
    Plan {
        term: Term(3),
        based_on: LogIndex(40),
        part: 1,
        parts: 2,
        steps: vec![
            place(SpendCause::RollingUpdate { generation: Generation(2) }),
            place(SpendCause::Recovery { node: node_name("node-1") }),
            place(SpendCause::Drain { node: node_name("node-1") }),
            place(SpendCause::AgentUpgrade { node: node_name("node-1") }),
            Step::Serve { replica },
            Step::Drain { replica, deadline: at(60), reason: "replaced by generation 2".into() },
            Step::Preempt { replica, to: key(), deadline: at(60) },
            Step::Stop { replica, cut: 2, reason: "drained".into() },
            Step::HoldSlot {
                slot: SlotId(0x41),
                key: key(),
                node: NodeId(0x21),
                devices: grants(),
                reason: "away from all that it covers".into(),
            },
            release(ReleaseCause::NotNeeded),
            release(ReleaseCause::OtherSize),
            release(ReleaseCause::NodeUnfit),
            release(ReleaseCause::Moved),
            release(ReleaseCause::Yielded { to: key() }),
            Step::NoteReserve { key: key(), short: true, reason: "2 replicas + 1 reserve".into() },
        ],
    }
}

fn error() -> Error {
    let problem = Problem { field: "traffic.blue".into(), what: "is wrong".into(), try_: "use 0 to 100".into() };
    Error { problems: vec![problem], ..Error::new(ErrorCode::NoCapacity, "no node fits").why("memory").try_("scale") }
}
