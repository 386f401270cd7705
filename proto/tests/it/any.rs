//! Arbitrary values of everything that is stored or sent.

use std::{collections::BTreeMap, sync::Arc};

use berth_core::{
    agent::{
        PrefetchOrder,
        order::{Assignments, Desired, ReplicaOrder},
    },
    error::{Code as ErrorCode, Error, Problem},
    id::{Digest, Generation, LoanId, LogIndex, MemberId, NodeEpoch, NodeId, ReplicaId, RequestId, SlotId, Term},
    model::{
        Alert, AlertKey, AlertRule, AlertSeverity, AlertState, Asset, AssetKind, AssetRef, AuthMode, Code, Condition,
        Deployment, DeploymentKey, DeploymentName, DeploymentSpec, Device, DeviceCondition, DeviceGrant, DeviceState,
        Disconnect, DrainBy, Endpoint, EndpointKeys, EndpointName, EndpointSpec, Environment, FailedReplica, Family,
        GpuAsk, HedgeAfter, Hedging, HttpRoute, LabelRule, Loan, Measure, MirrorRules, Model, ModelType, Node,
        NodeDrain, NodeName, NodeProfile, NodeState, Probe, ProjectName, ProjectQuota, Quotas, Reconcile, ReleaseCause,
        Replica, ReplicaState, RequestSettings, ReserveSlot, ReserveSpend, Runtime, SealedKey, Settings,
        SettingsChange, Side, SpendCause, Spread, SpreadBy, Traffic, UpgradeLock, Yielded,
    },
    state::{
        AlertChange, AlertTold, Command, DeviceTransition, DrainWish, Entry, Event, EventLog, EventSubject,
        NodeTransition, Observed, Plan, PutMode, RegisterNode, ReplicaReport, Reply, ReplyRecord, ReplyTable,
        RouteRevisions, Severity, Snapshot, Step,
    },
    time::{LogTime, Millis},
    traffic::absence::Expected,
    traffic::table::{DeploymentRoute, EndpointRoute, ReplicaRoute, RouteRuntime, RouteTable},
    units::Resources,
};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
    strategy::Union,
};

/// Names every field with its strategy, so that a new field of core does not compile until it is generated too. Boxed:
/// the strategy of a snapshot, held by value, is larger than the stack of a test.
macro_rules! any_struct {
    ($($fn:ident: $type:ident { $($field:ident: $strategy:expr),* $(,)? })*) => {$(
        pub(crate) fn $fn() -> BoxedStrategy<$type> {
            prop_compose! {
                fn composed()($($field in $strategy.boxed()),*) -> $type {
                    $type { $($field),* }
                }
            }
            composed().boxed()
        }
    )*};
}

macro_rules! any_number {
    ($($fn:ident: $type:ident)*) => {$(
        pub(crate) fn $fn() -> impl Strategy<Value = $type> {
            number().prop_map($type)
        }
    )*};
}

any_number! {
    index: LogIndex
    term: Term
    epoch: NodeEpoch
    generation: Generation
    replica_id: ReplicaId
    node_id: NodeId
    slot_id: SlotId
    loan_id: LoanId
    member_id: MemberId
}

any_struct! {
    resources: Resources { cpu_milli: number(), memory_mib: number(), disk_mib: number(), gpus: number() }
    endpoint_spec: EndpointSpec {
        description: text(), tags: words(), auth_mode: auth_mode(), max_body_bytes: number(),
        idempotent: option::of(any::<bool>()), mirror_rules: mirror_rules(),
        hedging: option::of(hedging()), alerts: vec(alert_rule(), 0..3),
    }
    hedging: Hedging { after: hedge_after(), budget_percent: any::<u32>() }
    alert_rule: AlertRule {
        name: "[a-z0-9.-]{1,20}", when: alert_condition(), deployment: option::of(deployment_name()),
        severity: select(vec![AlertSeverity::Warning, AlertSeverity::Critical]), notify: vec(text(), 0..3),
        min_requests: 1_u64..,
    }
    alert_condition: Condition {
        measure: select(Measure::all().collect::<Vec<_>>()), side: select(vec![Side::Over, Side::Under]),
        limit: 0_u64..=1_000_000, lasting: (0_u64..1_000_000_000).prop_map(Millis),
    }
    alert_key: AlertKey { endpoint: endpoint_name(), rule: "[a-z0-9.-]{1,20}" }
    alert_told: AlertTold { key: alert_key(), revision: index(), given_up: vec(text(), 0..3) }
    mirror_rules: MirrorRules {
        compare: any::<bool>(), rtol_ppb: number(), atol_ppb: number(), ignore: vec(text(), 0..3),
        redact: any::<bool>(), pinned: any::<bool>(),
    }
    sealed_key: SealedKey {
        cluster_key_id: any::<u32>(), nonce: vec(any::<u8>(), 0..13), ciphertext: vec(any::<u8>(), 0..60),
        hash: any::<[u8; 32]>(),
    }
    keys: EndpointKeys { primary: sealed_key(), secondary: sealed_key() }
    endpoint: Endpoint {
        name: endpoint_name(), project: project(), spec: endpoint_spec(), keys: keys(), traffic: traffic(),
        mirror: traffic(), created_at: time(), revision: index(),
    }
    asset_ref: AssetRef {
        digest: digest(), kind: select(vec![AssetKind::File, AssetKind::Folder]), name: text(), size_bytes: number(),
    }
    asset: Asset {
        digest: digest(), size_bytes: number(), committed_at: time(), revision: index(),
        holders: vec(member_id(), 0..4),
    }
    model: Model {
        name: text(), version: text(),
        model_type: select(vec![ModelType::CustomModel, ModelType::MlflowModel, ModelType::TritonModel]),
        asset: asset_ref(),
    }
    code: Code { asset: asset_ref(), scoring_script: text() }
    http_route: HttpRoute { path: text(), port: any::<u32>() }
    environment: Environment {
        name: text(), image: option::of(text()), python: option::of(text()), pip: vec(text(), 0..3),
        liveness_route: option::of(http_route()), readiness_route: option::of(http_route()),
        scoring_route: option::of(http_route()),
    }
    request_settings: RequestSettings {
        request_timeout_ms: number(), max_concurrent_requests_per_instance: any::<u32>(), max_queue_wait_ms: option::of(number()),
    }
    probe: Probe {
        initial_delay_ms: number(), period_ms: number(), timeout_ms: number(), success_threshold: any::<u32>(),
        failure_threshold: any::<u32>(),
    }
    spec: DeploymentSpec {
        description: text(), tags: words(), runtime: runtime(), model: option::of(model()),
        model_mount_path: option::of(text()), code: option::of(code()), environment: environment(),
        environment_variables: words(), instance_type: text(), resources: resources(), gpu: gpu_ask(),
        constraints: btree_map(text(), label_rule(), 0..3), instance_count: any::<u32>(), request_settings: request_settings(),
        liveness_probe: probe(), readiness_probe: probe(), reserve: any::<bool>(), disconnect: disconnect(),
        priority: any::<u32>(), min_instances: option::of(any::<u32>()), spread: spread(),
    }
    label_rule: LabelRule { not: any::<bool>(), values: btree_set(text(), 0..3) }
    spread: Spread { by: select(&SpreadBy::ALL[..]), max_per_domain: option::of(any::<u32>()) }
    deployment: Deployment {
        key: key(), spec: spec(), generation: generation(), old_specs: btree_map(generation(), spec(), 0..2), old_began: Just(BTreeMap::new()), paused: any::<bool>(),
        created_at: time(), generation_at: time(), deleting: any::<bool>(), failures: any::<u32>(),
        last_failure: option::of(text()), last_failed: option::of(failed()),
        retry_at: time(), served_generation: option::of(number().prop_map(Generation)),
        started_in: option::of(number().prop_map(Millis)),
        room_made_for: option::of(number().prop_map(Generation)),
        stand_in_failures: any::<u32>(), stand_in_retry_at: time(),
        reserve_short_since: option::of(time()), yielded: vec(yielded(), 0..3), revision: index(),
    }
    yielded: Yielded { to: key(), count: any::<u32>() }
    failed: FailedReplica { replica: replica_id(), node: node_id() }
    device: Device {
        uuid: text(), model: text(), memory_mib: number(), mig_profile: option::of(text()), healthy: any::<bool>(),
        card: option::of(text()), driver: text(), simulated: any::<bool>(),
    }
    grant: DeviceGrant { uuid: text(), memory_mib: option::of(number()) }
    replica: Replica {
        id: replica_id(), key: key(), generation: generation(), node: node_id(), resources: resources(),
        devices: vec(grant(), 0..3), replaces: option::of(replica_id()), reserve_spent: option::of(spend()),
        made_room_for: option::of(key()), state: select(&ReplicaState::ALL[..]),
        reason: text(), lost: any::<bool>(), restarts: any::<u32>(), pid: any::<u32>(), address: text(),
        retry_at: time(), placed_at: time(), since: time(), drain_deadline: time(), revision: index(),
    }
    spend: ReserveSpend { slot: slot_id(), cause: spend_cause() }
    slot: ReserveSlot {
        id: slot_id(), key: key(), node: node_id(), resources: resources(), devices: vec(grant(), 0..3),
        reason: text(), since: time(), revision: index(),
    }
    profile: NodeProfile {
        name: node_name(), labels: words(), capacity: resources(), devices: vec(device(), 0..3), gate_address: text(),
        ingress_address: text(), is_virtual: any::<bool>(), version: text(),
    }
    node: Node {
        id: node_id(), epoch: epoch(), profile: profile(), state: select(&NodeState::ALL[..]),
        cordoned: any::<bool>(), drain: option::of(drain()), devices: btree_map(text(), condition(), 0..2), overfull: any::<bool>(), returns: any::<u32>(),
        returned_at: time(), reason: text(), since: time(), revision: index(),
    }
    loan: Loan {
        id: loan_id(), project: project(), family: family(), milli: number(), lent_at: time(), expires_at: time(),
        revision: index(),
    }
    project_quota: ProjectQuota {
        limits: btree_map(family(), number(), 0..3), over_since: btree_map(family(), time(), 0..3), revision: index(),
    }
    quotas: Quotas {
        projects: btree_map(project(), project_quota(), 0..3), pool: btree_map(family(), number(), 0..3),
        loans: vec(loan(), 0..3).prop_map(|loans| loans.into_iter().map(|loan| (loan.id, loan)).collect()),
        pool_revision: index(),
    }
    upgrade: UpgradeLock { holder: text(), taken_at: time(), expires_at: time() }
    settings: Settings {
        suspect_after: number().prop_map(Millis), lost_after: number().prop_map(Millis),
        restart_grace: number().prop_map(Millis), brake_percent: number(), brake_floor: number(),
        brake_window: number().prop_map(Millis), device_silent: number().prop_map(Millis),
        returns_free: number(), returns_window: number().prop_map(Millis), return_hold: number().prop_map(Millis), return_hold_max: number().prop_map(Millis),
        device_probation: number().prop_map(Millis), device_strikes_max: number(),
        device_failed: number().prop_map(Millis), revision: index(),
    }
    settings_change: SettingsChange {
        suspect_after: option::of(number().prop_map(Millis)), lost_after: option::of(number().prop_map(Millis)),
        restart_grace: option::of(number().prop_map(Millis)), brake_percent: option::of(number()),
        brake_floor: option::of(number()), brake_window: option::of(number().prop_map(Millis)),
        device_silent: option::of(number().prop_map(Millis)),
        returns_free: option::of(number()), returns_window: option::of(number().prop_map(Millis)), return_hold: option::of(number().prop_map(Millis)), return_hold_max: option::of(number().prop_map(Millis)), device_probation: option::of(number().prop_map(Millis)),
        device_strikes_max: option::of(number()), device_failed: option::of(number().prop_map(Millis)), reset: any::<bool>(),
    }
    disconnect: Disconnect {
        lost_after: option::of(number().prop_map(Millis)), replace: any::<bool>(),
        stop_on_client_after: option::of(number().prop_map(Millis)), reconcile: select(&Reconcile::ALL[..]),
    }
    condition: DeviceCondition {
        state: select(&DeviceState::ALL[..]), reason: text(), since: time(), strikes: any::<u32>(), epoch: epoch(),
        faults: number(),
    }
    device_transition: DeviceTransition {
        term: term(), node: node_id(), epoch: epoch(), card: text(),
        to: option::of(select(&DeviceState::ALL[..])), reason: text(), faults: number(),
    }
    drain: NodeDrain {
        reason: text(), started_at: time(), deadline: time(), force: any::<bool>(), by: select(&DrainBy::ALL[..]),
        finished_at: option::of(time()), moved: number(), cut_requests: number(),
    }
    wish: DrainWish { within: number().prop_map(Millis), reason: text(), force: any::<bool>(), by: select(&DrainBy::ALL[..]) }
    report: ReplicaReport {
        replica: replica_id(),
        observed: select(vec![
            Observed::Preparing, Observed::Starting, Observed::Warm, Observed::Failed, Observed::Gone,
        ]),
        reason: text(), permanent: any::<bool>(), restarts: any::<u32>(), retry_in: number().prop_map(Millis), pid: any::<u32>(), address: text(),
    }
    problem: Problem { field: text(), what: text(), try_: text() }
    error: Error {
        code: select(ErrorCode::ALL), what: text(), why: text(), try_: text(), problems: vec(problem(), 0..3),
    }
    plan: Plan { term: term(), based_on: index(), part: any::<u32>(), parts: any::<u32>(), steps: vec(step(), 0..4) }
    transition: NodeTransition {
        term: term(), node: node_id(), epoch: epoch(), to: select(&NodeState::ALL[..]), reason: text(),
    }
    register: RegisterNode { node: node_id(), profile: profile(), epoch_seen: epoch(), held: epoch(), takes_over: any::<bool>() }
    entry: Entry {
        proposed_at: time(), request_id: option::of(text().prop_map(RequestId)), fingerprint: number(),
        principal: text(), command: command(),
    }
    subject: EventSubject {
        endpoint: option::of(endpoint_name()), deployment: option::of(key()), replica: option::of(replica_id()),
        node: option::of(node_id()), node_name: option::of(node_name()),
    }
    event: Event {
        seq: number(), index: index(), at: time(),
        severity: select(vec![Severity::Info, Severity::Warning, Severity::Error]), kind: text(), subject: subject(),
        text: text(),
    }
    snapshot: Snapshot {
        cluster_id: text(), applied: index(), time: time(), term: term(), feature_level: any::<u32>(),
        endpoints: vec(endpoint(), 0..3), deployments: vec(deployment(), 0..3), replicas: vec(replica(), 0..3),
        slots: vec(slot(), 0..3), nodes: vec(node(), 0..3), settings: settings(), upgrade: option::of(upgrade()), quotas: quotas(), alerts: vec(alert(), 0..2), assets: vec(asset(), 0..3),
        replies: replies(), events: events(), routes: routes(),
    }
    expected: Expected { within: number().prop_map(Millis), key: key() }
    replica_route: ReplicaRoute {
        id: replica_id(), node: node_id(), epoch: epoch(), gate_address: text(),
        state: select(vec![ReplicaState::Warm, ReplicaState::Serving]), slots: any::<u32>(),
    }
    deployment_route: DeploymentRoute {
        name: deployment_name(), generation: generation(),
        runtime: select(vec![RouteRuntime::Python, RouteRuntime::Onnx, RouteRuntime::Command]),
        request_timeout_ms: number(), max_concurrent_requests_per_instance: any::<u32>(), max_queue_wait_ms: number(),
        scoring_path: text(), replicas: vec(replica_route(), 0..3),
    }
    endpoint_route: EndpointRoute {
        name: endpoint_name(), revision: index(), auth_mode: auth_mode(), key_hashes: vec(any::<[u8; 32]>(), 0..3),
        max_body_bytes: number(), idempotent: option::of(any::<bool>()), split: shares(), mirror: shares(),
        mirror_rules: mirror_rules(), hedging: option::of(hedging()), created_at: time(),
        deployments: vec(deployment_route(), 0..3),
    }
    order: ReplicaOrder {
        replica: replica_id(), key: key(), generation: generation(), spec: spec(), devices: vec(grant(), 0..3),
        desired: desired(),
    }
}

/// Every width of number: most bugs sit at the ends.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 1..1_000_u64, any::<u64>()]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ -~é\u{0}]{1,12}"]
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

fn time() -> impl Strategy<Value = LogTime> {
    number().prop_map(LogTime::from_millis)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

pub(crate) fn endpoint_name() -> impl Strategy<Value = EndpointName> {
    "[a-z][a-z0-9]{2,8}".prop_map(|text| EndpointName::new(&text).expect("a valid name"))
}

fn deployment_name() -> impl Strategy<Value = DeploymentName> {
    "[a-z][a-z0-9]{2,8}".prop_map(|text| DeploymentName::new(&text).expect("a valid name"))
}

fn node_name() -> impl Strategy<Value = NodeName> {
    "[a-z0-9][a-z0-9._-]{0,8}".prop_map(|text| NodeName::new(&text).expect("a valid name"))
}

fn key() -> impl Strategy<Value = DeploymentKey> {
    (endpoint_name(), deployment_name()).prop_map(|(endpoint, deployment)| DeploymentKey::new(endpoint, deployment))
}

fn auth_mode() -> impl Strategy<Value = AuthMode> {
    select(vec![AuthMode::Key, AuthMode::None])
}

fn traffic() -> impl Strategy<Value = Traffic> {
    btree_map(deployment_name(), any::<u32>(), 0..3).prop_map(Traffic)
}

fn shares() -> impl Strategy<Value = Vec<(DeploymentName, u32)>> {
    traffic().prop_map(|traffic| traffic.0.into_iter().collect())
}

fn runtime() -> impl Strategy<Value = Runtime> {
    prop_oneof![Just(Runtime::Python), Just(Runtime::Onnx), vec(text(), 0..3).prop_map(Runtime::Command)]
}

fn hedge_after() -> impl Strategy<Value = HedgeAfter> {
    prop_oneof![
        number().prop_map(|ms| HedgeAfter::Delay(Millis(ms))),
        any::<u32>().prop_map(|permille| HedgeAfter::Percentile { permille }),
    ]
}

fn gpu_ask() -> impl Strategy<Value = GpuAsk> {
    prop_oneof![
        Just(GpuAsk::None),
        (any::<u32>(), option::of(text()), number()).prop_map(|(count, model, memory_mib_min)| GpuAsk::Whole {
            count,
            model,
            memory_mib_min
        }),
        (number(), option::of(text())).prop_map(|(mib, model)| GpuAsk::Memory { mib, model }),
        (text(), any::<u32>()).prop_map(|(profile, count)| GpuAsk::Mig { profile, count }),
    ]
}

fn spend_cause() -> impl Strategy<Value = SpendCause> {
    prop_oneof![
        generation().prop_map(|generation| SpendCause::RollingUpdate { generation }),
        node_name().prop_map(|node| SpendCause::Recovery { node }),
        node_name().prop_map(|node| SpendCause::Drain { node }),
        node_name().prop_map(|node| SpendCause::AgentUpgrade { node }),
    ]
}

fn release_cause() -> impl Strategy<Value = ReleaseCause> {
    prop_oneof![
        Just(ReleaseCause::NotNeeded),
        Just(ReleaseCause::OtherSize),
        Just(ReleaseCause::NodeUnfit),
        Just(ReleaseCause::Moved),
        key().prop_map(|to| ReleaseCause::Yielded { to }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (
            (replica_id(), key(), generation(), node_id(), vec(grant(), 0..3)),
            (option::of(replica_id()), option::of(spend()), text())
        )
            .prop_map(|((replica, key, generation, node, devices), (replaces, reserve_spent, reason))| {
                Step::Place { replica, key, generation, node, devices, replaces, reserve_spent, reason }
            }),
        (slot_id(), key(), node_id(), vec(grant(), 0..3), text())
            .prop_map(|(slot, key, node, devices, reason)| Step::HoldSlot { slot, key, node, devices, reason }),
        (slot_id(), release_cause()).prop_map(|(slot, cause)| Step::ReleaseSlot { slot, cause }),
        (key(), any::<bool>(), text()).prop_map(|(key, short, reason)| Step::NoteReserve { key, short, reason }),
        replica_id().prop_map(|replica| Step::Serve { replica }),
        (replica_id(), time(), text()).prop_map(|(replica, deadline, reason)| Step::Drain {
            replica,
            deadline,
            reason
        }),
        (replica_id(), key(), time()).prop_map(|(replica, to, deadline)| Step::Preempt { replica, to, deadline }),
        (replica_id(), number(), text()).prop_map(|(replica, cut, reason)| Step::Stop { replica, cut, reason }),
    ]
}

fn family() -> impl Strategy<Value = Family> {
    select(Family::all())
}

fn limits() -> impl Strategy<Value = BTreeMap<Family, Option<u64>>> {
    btree_map(family(), option::of(number()), 0..4)
}

fn project() -> impl Strategy<Value = ProjectName> {
    "[a-z][a-z0-9]{0,8}".prop_map(|text| ProjectName::new(&text).expect("a valid name"))
}

fn command() -> impl Strategy<Value = Command> {
    let mode = || select(vec![PutMode::Upsert, PutMode::Create, PutMode::Update]);
    let revision = || option::of(index());
    let arms: Vec<BoxedStrategy<Command>> = vec![
        text().prop_map(|cluster_id| Command::ClusterInit { cluster_id }).boxed(),
        (term(), member_id()).prop_map(|(term, member)| Command::LeaderEstablished { term, member }).boxed(),
        any::<u32>().prop_map(|level| Command::FeatureLevelRaise { level }).boxed(),
        (endpoint_name(), endpoint_spec(), option::of(project()), keys(), mode(), revision())
            .prop_map(|(name, spec, project, keys, mode, if_revision)| Command::EndpointPut {
                name,
                spec,
                project,
                keys,
                mode,
                if_revision,
            })
            .boxed(),
        (endpoint_name(), keys(), revision())
            .prop_map(|(name, keys, if_revision)| Command::EndpointKeysPut { name, keys, if_revision })
            .boxed(),
        (endpoint_name(), revision())
            .prop_map(|(name, if_revision)| Command::EndpointDelete { name, if_revision })
            .boxed(),
        (endpoint_name(), option::of(traffic()), option::of(traffic()), any::<bool>(), revision())
            .prop_map(|(endpoint, split, mirror, strict_azure, if_revision)| Command::TrafficSet {
                endpoint,
                split,
                mirror,
                strict_azure,
                if_revision,
            })
            .boxed(),
        (key(), spec(), mode(), revision())
            .prop_map(|(key, spec, mode, if_revision)| Command::DeploymentPut {
                key,
                spec: Box::new(spec),
                mode,
                if_revision,
            })
            .boxed(),
        (key(), any::<u32>(), revision())
            .prop_map(|(key, instance_count, if_revision)| Command::DeploymentScale {
                key,
                instance_count,
                if_revision,
            })
            .boxed(),
        (key(), revision()).prop_map(|(key, if_revision)| Command::DeploymentDelete { key, if_revision }).boxed(),
        register().prop_map(|register| Command::NodeRegister(Box::new(register))).boxed(),
        transition().prop_map(Command::NodeTransition).boxed(),
        device_transition().prop_map(Command::DeviceTransition).boxed(),
        (node_name(), any::<bool>()).prop_map(|(name, cordoned)| Command::NodeCordon { name, cordoned }).boxed(),
        (node_name(), option::of(wish())).prop_map(|(name, wish)| Command::NodeDrain { name, wish }).boxed(),
        (text(), option::of(number().prop_map(Millis)), any::<bool>())
            .prop_map(|(holder, within, steal)| Command::UpgradeLock { holder, within, steal })
            .boxed(),
        (project(), limits(), revision())
            .prop_map(|(project, limits, if_revision)| Command::QuotaSet { project, limits, if_revision })
            .boxed(),
        (limits(), revision()).prop_map(|(amounts, if_revision)| Command::PoolSet { amounts, if_revision }).boxed(),
        (loan_id(), project(), family(), number(), number().prop_map(Millis))
            .prop_map(|(loan, project, family, milli, within)| Command::QuotaLend {
                loan,
                project,
                family,
                milli,
                within,
            })
            .boxed(),
        loan_id().prop_map(|loan| Command::QuotaReturn { loan }).boxed(),
        (key(), any::<bool>(), revision())
            .prop_map(|(key, paused, if_revision)| Command::DeploymentPause { key, paused, if_revision })
            .boxed(),
        (key(), revision()).prop_map(|(key, if_revision)| Command::DeploymentRestart { key, if_revision }).boxed(),
        (any::<u64>(), option::of(any::<u64>()))
            .prop_map(|(id, within)| Command::ReplicaReplace { replica: ReplicaId(id), within: within.map(Millis) })
            .boxed(),
        (term(), vec(alert_change(), 0..3)).prop_map(|(term, changes)| Command::AlertsChange { term, changes }).boxed(),
        (term(), vec(alert_told(), 0..3)).prop_map(|(term, told)| Command::AlertsTold { term, told }).boxed(),
        (term(), vec(loan_id(), 0..3)).prop_map(|(term, loans)| Command::LoansExpire { term, loans }).boxed(),
        (settings_change(), revision())
            .prop_map(|(change, if_revision)| Command::SettingsSet { change, if_revision })
            .boxed(),
        node_name().prop_map(|name| Command::NodeForget { name }).boxed(),
        (node_id(), epoch(), vec(report(), 0..3))
            .prop_map(|(node, epoch, reports)| Command::ReplicaReports { node, epoch, reports })
            .boxed(),
        plan().prop_map(Command::PlanCommit).boxed(),
        (digest(), number(), vec(member_id(), 0..4))
            .prop_map(|(digest, size_bytes, holders)| Command::AssetCommit { digest, size_bytes, holders })
            .boxed(),
        vec(digest(), 0..3).prop_map(|digests| Command::AssetExpire { digests }).boxed(),
    ];
    Union::new(arms)
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        index().prop_map(|revision| Reply::Done { revision }),
        epoch().prop_map(|epoch| Reply::Registered { epoch }),
        vec(option::of(error()).prop_map(|refused| refused.map_or(Ok(()), Err)), 0..4)
            .prop_map(|outcomes| Reply::Planned { outcomes }),
        error().prop_map(Reply::Refused),
    ]
}

fn replies() -> impl Strategy<Value = ReplyTable> {
    btree_map(text(), (number(), index(), reply()), 0..3).prop_map(|records| {
        ReplyTable::restore(records.into_iter().map(|(id, (fingerprint, index, reply))| ReplyRecord {
            request_id: RequestId(id),
            fingerprint,
            index,
            reply,
        }))
    })
}

fn alert_state() -> impl Strategy<Value = AlertState> {
    select(vec![AlertState::Firing, AlertState::Resolved])
}

fn alert_change() -> impl Strategy<Value = AlertChange> {
    (endpoint_name(), alert_rule(), alert_state(), option::of(number()), text()).prop_map(
        |(endpoint, rule, to, value, text)| AlertChange {
            key: AlertKey { endpoint, rule: rule.name.clone() },
            rule,
            to,
            value,
            text,
        },
    )
}

fn alert() -> impl Strategy<Value = Alert> {
    (alert_change(), time(), time(), index(), any::<bool>()).prop_map(|(change, fired_at, since, revision, told)| {
        Alert {
            key: change.key,
            rule: change.rule,
            state: change.to,
            fired_at,
            since,
            value: change.value,
            text: change.text,
            revision,
            told,
        }
    })
}

fn events() -> impl Strategy<Value = EventLog> {
    (vec(event(), 0..3), number()).prop_map(|(events, next_seq)| EventLog::restore(events, next_seq))
}

fn routes() -> impl Strategy<Value = RouteRevisions> {
    (index(), index(), btree_map(endpoint_name(), index(), 0..3), vec((index(), endpoint_name()), 0..3)).prop_map(
        |(version, floor, endpoints, tombstones)| RouteRevisions::restore(version, floor, endpoints, tombstones),
    )
}

pub(crate) fn table() -> impl Strategy<Value = RouteTable> {
    (text(), index(), vec(endpoint_route(), 0..4)).prop_map(|(cluster_id, version, routes)| RouteTable {
        cluster_id,
        version,
        endpoints: routes.into_iter().map(|route| (route.name.clone(), Arc::new(route))).collect(),
    })
}

fn desired() -> impl Strategy<Value = Desired> {
    prop_oneof![Just(Desired::Run), time().prop_map(|deadline| Desired::Drain { deadline }), Just(Desired::Stop)]
}

pub(crate) fn assignments() -> impl Strategy<Value = Assignments> {
    let orders = (vec(order(), 0..3), vec(prefetch(), 0..3));
    (term(), epoch(), index(), orders).prop_map(|(term, epoch, revision, (orders, prefetches))| Assignments {
        term,
        epoch,
        revision,
        replicas: orders.into_iter().map(|order| (order.replica, order)).collect(),
        prefetches: prefetches.into_iter().map(|order| (order.key.clone(), order)).collect(),
    })
}

fn prefetch() -> impl Strategy<Value = PrefetchOrder> {
    order().prop_map(|order| PrefetchOrder { key: order.key, generation: order.generation, spec: order.spec })
}
