//! Quotas: what is refused and how it is said, what is lent and returned, and that nothing is ever lost of the sums.

use std::collections::BTreeMap;

use berth_core::{
    controller::{Controller, Effect, Input},
    error::{Code, Error},
    id::{LoanId, MemberId, Term},
    model::{DeploymentSpec, Family, GpuAsk, NodeState, ProjectName, Runtime, instance_type},
    quota::QuotaReport,
    rng::SeedTree,
    state::{ClusterState, Command, EventSubject, PutMode, Reply},
    time::Millis,
    units::Resources,
    whatif::{Bounds, Change, Question, ask},
};
use proptest::prelude::*;

use crate::kit::{Cluster, key, ms, profile};

const DS: &str = "standardDSv2Family";

fn project(name: &str) -> ProjectName {
    ProjectName::new(name).expect("a valid name")
}

fn family(name: &str) -> Family {
    Family::named(name).expect("a known family")
}

fn refused(reply: Reply) -> Result<(), Error> {
    match reply {
        Reply::Refused(error) => Err(error),
        _ => Ok(()),
    }
}

/// A spec of one of Azure's sizes, with the reserve that Azure holds for it.
fn sized(name: &str, instance_count: u32) -> DeploymentSpec {
    let size = instance_type(name).expect(name);
    DeploymentSpec {
        instance_type: name.to_owned(),
        resources: size.resources(),
        gpu: size.gpu_ask(),
        reserve: size.reserve,
        instance_count,
        ..DeploymentSpec::new(Runtime::Onnx)
    }
}

fn set(cluster: &mut Cluster, name: &str, limits: &[(&str, Option<u64>)]) -> Result<(), Error> {
    let limits = limits.iter().map(|(name, milli)| (family(name), *milli)).collect();
    refused(cluster.apply(Command::QuotaSet { project: project(name), limits, if_revision: None }))
}

fn pool(cluster: &mut Cluster, name: &str, milli: u64) -> Result<(), Error> {
    let amounts = BTreeMap::from([(family(name), Some(milli))]);
    refused(cluster.apply(Command::PoolSet { amounts, if_revision: None }))
}

fn lend(cluster: &mut Cluster, id: u64, to: &str, name: &str, milli: u64, secs: u64) -> Result<(), Error> {
    let within = Millis::from_secs(secs);
    let loan = LoanId(id);
    refused(cluster.apply(Command::QuotaLend { loan, project: project(to), family: family(name), milli, within }))
}

fn put(cluster: &mut Cluster, name: &str, spec: DeploymentSpec) -> Result<(), Error> {
    let key = key(name);
    if !cluster.state.endpoints.contains_key(&key.endpoint) {
        cluster.endpoint(key.endpoint.as_str());
    }
    refused(cluster.apply(Command::DeploymentPut {
        key,
        spec: Box::new(spec),
        mode: PutMode::Upsert,
        if_revision: None,
    }))
}

fn scale(cluster: &mut Cluster, name: &str, instance_count: u32) -> Result<(), Error> {
    refused(cluster.apply(Command::DeploymentScale { key: key(name), instance_count, if_revision: None }))
}

fn own(cluster: &mut Cluster, endpoint: &str, name: &str) -> Result<(), Error> {
    let endpoint = &cluster.state.endpoints[endpoint];
    let command = Command::EndpointPut {
        name: endpoint.name.clone(),
        spec: endpoint.spec.clone(),
        project: Some(project(name)),
        keys: endpoint.keys.clone(),
        mode: PutMode::Upsert,
        if_revision: None,
    };
    refused(cluster.apply(command))
}

/// Returns what a project takes of a family and how much of it is reserve, in whole cores or devices.
fn used(state: &ClusterState, name: &str, of: &str) -> (u64, u64) {
    let taken = state.index().usage().taken(&project(name), family(of));
    (taken.milli / 1_000, taken.reserve_milli / 1_000)
}

fn over(state: &ClusterState, name: &str, of: &str) -> Option<u64> {
    let report = QuotaReport::of(state, Some(&project(name))).expect("a project");
    let line = report.lines.iter().find(|line| line.family == family(of)).expect("a line");
    line.over_since.map(|_| line.over() / 1_000)
}

#[test]
fn places_are_counted_as_azure_counts_them() {
    for (size, count, of, taken, why) in [
        ("Standard_DS3_v2", 1, DS, (8, 4), "one instance needs two"),
        ("Standard_DS3_v2", 4, DS, (20, 4), "four need five"),
        ("Standard_DS3_v2", 6, DS, (32, 8), "7.2 is eight"),
        ("Standard_DS3_v2", 0, DS, (0, 0), "none holds nothing"),
        ("Standard_NC48ads_A100_v4", 3, "standardNCADSA100v4Family", (6, 0), "an exempt size holds no reserve"),
        ("Standard_NV18ads_A10_v5", 4, "standardNVADSA10v5Family", (2, 0), "five halves, of which half is reserve"),
    ] {
        let mut cluster = Cluster::of(1);
        assert_eq!(put(&mut cluster, "llm/main", sized(size, count)), Ok(()), "{why}");
        assert_eq!(used(&cluster.state, "default", of), taken, "{why}");
    }
}

#[test]
fn a_refusal_says_its_arithmetic_and_the_ways_out() {
    let mut cluster = Cluster::of(1);
    set(&mut cluster, "default", &[(DS, Some(40_000))]).expect("set");
    put(&mut cluster, "fraud/blue", sized("Standard_DS4_v2", 1)).expect("16 of 40");
    let error = put(&mut cluster, "fraud/green", sized("Standard_DS4_v2", 3)).expect_err("32 do not fit into 24");
    assert_eq!(error.code, Code::Quota);
    assert_eq!(error.what, "deployment `fraud/green` takes more than its project may");
    assert_eq!(
        error.why,
        format!("ceil(1.2 × 3) = 4 instances × 8 cores = 32 cores of {DS}, project default has 24 of 40 free")
    );
    assert_eq!(
        error.try_,
        format!(
            "lower to 2 instances, or `berth quota set default {DS}=48`, or `berth quota lend default {DS}=8 --for 24h`"
        )
    );
    assert!(!cluster.state.deployments.contains_key(&key("fraud/green")), "nothing of it is kept");
    assert_eq!(put(&mut cluster, "fraud/green", sized("Standard_DS4_v2", 2)), Ok(()), "as it says");

    let error = scale(&mut cluster, "fraud/blue", 2).expect_err("nothing is left");
    assert_eq!(
        error.why,
        format!(
            "ceil(1.2 × 2) = 3 instances × 8 cores = 24 cores of {DS}, 8 more than now, project default has 0 of 40 free"
        )
    );
    assert!(error.try_.starts_with("stay at 1 instance, or `berth quota set"), "{error}");
    set(&mut cluster, "default", &[(DS, Some(48_000))]).expect("set");
    assert_eq!(scale(&mut cluster, "fraud/blue", 2), Ok(()), "as it says");
}

#[test]
fn every_family_that_is_short_is_told_at_once() {
    let mut cluster = Cluster::of(1);
    set(&mut cluster, "default", &[("cpu", Some(10_000)), ("H100", Some(2_000))]).expect("set");
    let mut spec = sized("Standard_DS3_v2", 2);
    spec.instance_type = String::new();
    (spec.resources.cpu_milli, spec.resources.gpus) = (8_000, 1);
    spec.gpu = GpuAsk::parse("H100").expect("an ask");
    let error = put(&mut cluster, "llm/main", spec.clone()).expect_err("both are short");
    let told: Vec<_> = error.problems.iter().map(|it| (it.field.as_str(), it.what.as_str())).collect();
    assert_eq!(
        told,
        [
            ("H100", "ceil(1.2 × 2) = 3 instances × 1 GPU = 3 GPUs of H100, project default has 2 of 2 free"),
            ("cpu", "ceil(1.2 × 2) = 3 instances × 8 cores = 24 cores of cpu, project default has 10 of 10 free"),
        ]
    );
    // Two places of a GPU each would fit, and one of eight cores: with its reserve that is not even one instance.
    assert!(error.problems.iter().all(|it| it.try_.starts_with("`berth quota set")), "{error}");
    spec.reserve = false;
    let error = put(&mut cluster, "llm/main", spec).expect_err("cpu is short");
    assert_eq!(
        (error.why.as_str(), error.try_.starts_with("lower to 1 instance, or ")),
        ("2 instances × 8 cores = 16 cores of cpu, project default has 10 of 10 free", true)
    );
}

#[test]
fn what_does_not_grow_passes_however_far_over_a_project_is() {
    let mut cluster = Cluster::of(1);
    put(&mut cluster, "fraud/blue", sized("Standard_DS3_v2", 5)).expect("unlimited");
    set(&mut cluster, "default", &[(DS, Some(8_000))]).expect("a quota below what is used is taken");
    assert_eq!(over(&cluster.state, "default", DS), Some(16));
    let told = cluster.state.events.iter().last().expect("an event").text.clone();
    assert_eq!(
        told,
        format!(
            "project default may take 8 cores of {DS}; it takes 16 cores more of {DS}, which stay: nothing more is admitted"
        )
    );
    for (count, ok, why) in [(6, false, "up"), (4, true, "down"), (5, false, "up again"), (1, true, "into the limit")] {
        assert_eq!(scale(&mut cluster, "fraud/blue", count).is_ok(), ok, "{why}");
    }
    assert_eq!(over(&cluster.state, "default", DS), None, "8 of 8");
    let mut other = sized("Standard_DS3_v2", 1);
    other.environment_variables.insert("VERSION".to_owned(), "2".to_owned());
    assert_eq!(put(&mut cluster, "fraud/blue", other), Ok(()), "a new generation of the same size");
    assert!(put(&mut cluster, "fraud/blue", sized("Standard_DS4_v2", 1)).is_err(), "a generation that grows");
    assert_eq!(put(&mut cluster, "fraud/blue", sized("Standard_F4s_v2", 1)), Ok(()), "of a family without a limit");
    assert_eq!(used(&cluster.state, "default", DS), (0, 0));
}

#[test]
fn a_limit_below_what_is_used_stops_nothing_and_replaces_what_ends() {
    let mut cluster = Cluster::empty();
    for node in 1..=2 {
        let mut large = profile(&format!("n{node}"));
        large.capacity = Resources { cpu_milli: 64_000, memory_mib: 1 << 18, disk_mib: 1 << 20, gpus: 0 };
        cluster.node(node, large);
    }
    put(&mut cluster, "fraud/blue", sized("Standard_DS3_v2", 3)).expect("unlimited");
    cluster.settle();
    let those = |cluster: &Cluster| cluster.replicas("fraud/blue").iter().map(|it| it.id).collect::<Vec<_>>();
    let before = those(&cluster);
    assert_eq!((before.len(), cluster.ready("fraud/blue")), (3, 3));
    set(&mut cluster, "default", &[(DS, Some(4_000))]).expect("a limit below what is used is taken");
    cluster.settle();
    assert_eq!((those(&cluster), cluster.ready("fraud/blue")), (before.clone(), 3), "nobody is stopped by it");
    // What comes in place of another takes no more than it did.
    let home = cluster.replicas("fraud/blue")[0].node.0;
    cluster.transition(home, NodeState::Lost);
    cluster.settle();
    assert_eq!(cluster.ready("fraud/blue"), 3);
    assert!(those(&cluster).len() > 3, "the lost ones are replaced");
    assert!(scale(&mut cluster, "fraud/blue", 4).is_err(), "and nothing grows");
}

#[test]
fn a_failed_deployment_holds_its_quota_until_it_is_deleted() {
    let mut cluster = Cluster::of(1);
    set(&mut cluster, "default", &[(DS, Some(8_000))]).expect("set");
    let mut spec = sized("Standard_DS3_v2", 1);
    spec.constraints.insert("zone".to_owned(), "nowhere".into());
    put(&mut cluster, "fraud/blue", spec).expect("admitted, though it fits no node");
    cluster.settle();
    assert!(put(&mut cluster, "fraud/green", sized("Standard_DS3_v2", 1)).is_err());
    cluster.must(Command::DeploymentDelete { key: key("fraud/blue"), if_revision: None });
    assert_eq!(put(&mut cluster, "fraud/green", sized("Standard_DS3_v2", 1)), Ok(()));
    let endpoint = key("fraud/green").endpoint;
    cluster.must(Command::EndpointDelete { name: endpoint, if_revision: None });
    assert_eq!(used(&cluster.state, "default", DS), (0, 0), "with its endpoint");
}

#[test]
fn an_endpoint_takes_its_deployments_to_another_project() {
    let mut cluster = Cluster::of(1);
    put(&mut cluster, "fraud/blue", sized("Standard_DS3_v2", 1)).expect("unlimited");
    put(&mut cluster, "fraud/green", sized("Standard_DS3_v2", 1)).expect("unlimited");
    set(&mut cluster, "team-a", &[(DS, Some(12_000))]).expect("set");
    let error = own(&mut cluster, "fraud", "team-a").expect_err("16 of 12");
    assert_eq!(error.why, format!("all its deployments take 16 cores of {DS}, project team-a has 12 of 12 free"));
    assert_eq!(used(&cluster.state, "default", DS), (16, 8));
    set(&mut cluster, "team-a", &[(DS, Some(16_000))]).expect("set");
    assert_eq!(own(&mut cluster, "fraud", "team-a"), Ok(()));
    assert_eq!((used(&cluster.state, "default", DS), used(&cluster.state, "team-a", DS)), ((0, 0), (16, 8)));
    assert_eq!(put(&mut cluster, "churn/blue", sized("Standard_DS3_v2", 9)), Ok(()), "the default project is free");
}

#[test]
fn a_loan_raises_the_limit_and_returns_by_itself() {
    let mut cluster = Cluster::of(1);
    let error = lend(&mut cluster, 1, "team-a", DS, 8_000, 60).expect_err("team-a is unlimited");
    assert_eq!(error.what, format!("project `team-a` needs no loan of {DS}"));
    set(&mut cluster, "team-a", &[(DS, Some(8_000))]).expect("set");
    let error = lend(&mut cluster, 1, "team-a", DS, 8_000, 60).expect_err("an empty pool");
    assert_eq!((error.code, error.why.as_str()), (Code::Quota, "it has 0 of 0 cores left to lend"));
    pool(&mut cluster, DS, 10_000).expect("set");
    for (secs, ok) in [(59, false), (7 * 86_400 + 1, false), (3_600, true)] {
        assert_eq!(lend(&mut cluster, 1, "team-a", DS, 8_000, secs).is_ok(), ok, "{secs} s");
    }
    let error = lend(&mut cluster, 2, "team-a", DS, 4_000, 3_600).expect_err("2 are left");
    assert_eq!(error.try_, format!("lend 2 cores or less, or raise the pool with `berth quota set --pool {DS}=12`"));
    let error = pool(&mut cluster, DS, 4_000).expect_err("8 are out");
    assert_eq!(error.problems[0].what, "8 cores are lent and not back yet");
    cluster.endpoint("fraud");
    own(&mut cluster, "fraud", "team-a").expect("empty");
    assert_eq!(put(&mut cluster, "fraud/blue", sized("Standard_DS3_v2", 3)), Ok(()), "16 of 8 + 8");
    let error = scale(&mut cluster, "fraud/blue", 4).expect_err("none is left");
    assert!(error.why.ends_with("project team-a has 0 of 16 free (8 of them on loan)"), "{error}");

    // Before its time nobody takes it back, whoever says so.
    let expire = || Command::LoansExpire { term: Term(1), loans: vec![LoanId(1)] };
    assert_eq!(refused(cluster.apply(expire())).map_err(|error| error.code), Err(Code::Stale));
    cluster.now = cluster.now + Millis::from_secs(3_600);
    let late = Command::LoansExpire { term: Term(0), loans: vec![LoanId(1)] };
    assert_eq!(refused(cluster.apply(late)).map_err(|error| error.code), Err(Code::Stale), "a deposed leader");
    cluster.must(expire());
    assert_eq!(over(&cluster.state, "team-a", DS), Some(8));
    let line = &QuotaReport::of(&cluster.state, Some(&project("team-a"))).expect("a project").lines[0];
    assert_eq!(line.over_since, Some(cluster.now), "from the moment it was taken back");
    assert!(scale(&mut cluster, "fraud/blue", 4).is_err());
    assert_eq!(scale(&mut cluster, "fraud/blue", 1), Ok(()));
    assert_eq!(over(&cluster.state, "team-a", DS), None);
}

#[test]
fn a_loan_is_found_by_what_people_see_of_its_id_and_returned_early() {
    let mut cluster = Cluster::of(1);
    set(&mut cluster, "team-a", &[("gpu", Some(0))]).expect("none at all");
    pool(&mut cluster, "gpu", 4_000).expect("set");
    for id in [0x1234_5678_0000_0001, 0x1234_9999_0000_0002] {
        lend(&mut cluster, id, "team-a", "gpu", 2_000, 600).expect("lent");
    }
    let found = |text: &str| cluster.state.quotas.loan(text).map(|loan| loan.id.0).map_err(|error| error.code);
    for (text, id) in [
        ("12345678", Ok(0x1234_5678_0000_0001)),
        ("12349", Ok(0x1234_9999_0000_0002)),
        ("1234", Err(Code::Invalid)),
        ("ffff0000", Err(Code::LoanNotFound)),
        ("", Err(Code::LoanNotFound)),
    ] {
        assert_eq!(found(text), id, "{text}");
    }
    cluster.must(Command::QuotaReturn { loan: LoanId(0x1234_5678_0000_0001) });
    let again = cluster.apply(Command::QuotaReturn { loan: LoanId(0x1234_5678_0000_0001) });
    assert_eq!(refused(again).map_err(|error| error.code), Err(Code::LoanNotFound));
    assert_eq!(cluster.state.quotas.lent(family("gpu")), 2_000);
}

#[test]
fn absurd_amounts_are_refused_with_every_one_named() {
    let mut cluster = Cluster::of(1);
    let error = set(&mut cluster, "a", &[("cpu", Some(u64::MAX)), ("gpu", Some(1 << 50))]).expect_err("absurd");
    assert_eq!(error.problems.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(), ["cpu", "gpu"]);
    assert_eq!(lend(&mut cluster, 1, "a", "cpu", 0, 60).map_err(|error| error.code), Err(Code::Invalid));
    assert_eq!(set(&mut cluster, "a", &[("cpu", Some(0))]), Ok(()), "nothing at all is a limit");
    assert_eq!(set(&mut cluster, "a", &[("cpu", None)]), Ok(()));
    assert!(cluster.state.quotas.projects.is_empty(), "a project without a limit has no quota");
    let error = QuotaReport::of(&cluster.state, Some(&project("a"))).expect_err("and is nobody");
    assert_eq!(error.code, Code::ProjectNotFound);
}

#[test]
fn the_leader_takes_back_what_is_over_and_wakes_for_the_next() {
    let mut cluster = Cluster::of(0);
    set(&mut cluster, "team-a", &[("cpu", Some(0))]).expect("set");
    pool(&mut cluster, "cpu", 4_000).expect("set");
    lend(&mut cluster, 1, "team-a", "cpu", 1_000, 60).expect("lent");
    lend(&mut cluster, 2, "team-a", "cpu", 1_000, 90).expect("lent");
    let mut controller = Controller::new(Term(1), MemberId(1), SeedTree::new(1));
    let effects = controller.step(Input::Tick, &cluster.state, ms(1_000));
    assert!(effects.contains(&Effect::WakeAt(ms(61_000))), "it wakes for the first: {effects:?}");
    let effects = controller.step(Input::Tick, &cluster.state, ms(61_000));
    let command = Command::LoansExpire { term: Term(1), loans: vec![LoanId(1)] };
    let [Effect::Propose { command: proposed, .. }, ..] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(**proposed, command, "the one that is over and no other");
    let again = controller.step(Input::Tick, &cluster.state, ms(61_001));
    assert!(!again.iter().any(|effect| matches!(effect, Effect::Propose { .. })), "not twice: {again:?}");
}

#[test]
fn a_plan_that_has_no_room_in_its_quota_is_a_refusal() {
    let mut cluster = Cluster::of(3);
    put(&mut cluster, "fraud/blue", sized("Standard_DS1_v2", 1)).expect("unlimited");
    set(&mut cluster, "default", &[(DS, Some(2_000))]).expect("set");
    let scaled = Change::Scale { key: key("fraud/blue"), instance_count: 2 };
    for (change, why) in [(scaled, "a scale"), (Change::spike("fraud=2x").expect("a spike"), "a spike")] {
        let asked = ask(&cluster.state, &Question::of([change]), Bounds::default());
        assert_eq!(asked.map(drop).map_err(|error| error.code), Err(Code::Quota), "{why}");
    }
}

#[test]
fn a_snapshot_keeps_limits_loans_and_sums() {
    let mut cluster = Cluster::of(1);
    put(&mut cluster, "fraud/blue", sized("Standard_DS3_v2", 2)).expect("unlimited");
    set(&mut cluster, "default", &[(DS, Some(4_000))]).expect("set");
    pool(&mut cluster, DS, 4_000).expect("set");
    lend(&mut cluster, 1, "default", DS, 4_000, 60).expect("lent");
    let again = ClusterState::from_snapshot(cluster.state.to_snapshot());
    assert_eq!(again, cluster.state);
    assert_eq!(used(&again, "default", DS), (12, 4));
    assert_eq!(over(&again, "default", DS), Some(4));
    assert_eq!(EventSubject::default(), again.events.iter().last().expect("an event").subject);
}

/// Something a user may do with one of four deployments of two projects.
fn deed() -> impl Strategy<Value = (u8, usize, u32, usize)> {
    (0..6_u8, 0..4_usize, 0..7_u32, 0..4_usize)
}

const NAMES: [&str; 4] = ["fraud/blue", "fraud/green", "churn/blue", "llm/main"];
const SIZES: [&str; 4] = ["Standard_DS3_v2", "Standard_F4s_v2", "Standard_NV6ads_A10_v5", "Standard_NC24ads_A100_v4"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever was created, scaled, moved, refused and deleted: the sums are true after every step (the kit judges that),
    /// nothing grew beyond its limit, and once everything is deleted nothing is used.
    #[test]
    fn nothing_is_ever_lost_of_the_sums(deeds in proptest::collection::vec(deed(), 1..40)) {
        let mut cluster = Cluster::of(2);
        set(&mut cluster, "team-a", &[(DS, Some(24_000)), ("standardNVADSA10v5Family", Some(500))]).expect("set");
        pool(&mut cluster, DS, 16_000).expect("set");
        for (nth, (what, name, count, size)) in deeds.into_iter().enumerate() {
            let _answer = match what {
                0 | 1 => put(&mut cluster, NAMES[name], sized(SIZES[size], count)),
                2 => scale(&mut cluster, NAMES[name], count),
                3 => refused(cluster.apply(Command::DeploymentDelete { key: key(NAMES[name]), if_revision: None })),
                4 if cluster.state.endpoints.contains_key(&key(NAMES[name]).endpoint) => {
                    own(&mut cluster, key(NAMES[name]).endpoint.as_str(), ["team-a", "default"][size % 2])
                }
                _ if count < 3 => lend(&mut cluster, nth as u64, "team-a", DS, u64::from(count) * 4_000, 60),
                _ => set(&mut cluster, "team-a", &[(DS, Some(u64::from(count) * 4_000))]),
            };
            cluster.now = cluster.now + Millis::from_secs(7);
        }
        for name in cluster.state.endpoints.keys().cloned().collect::<Vec<_>>() {
            cluster.must(Command::EndpointDelete { name, if_revision: None });
        }
        cluster.settle();
        for owner in ["team-a", "default"] {
            prop_assert_eq!(cluster.state.index().usage().families_of(&project(owner)).count(), 0);
        }
        prop_assert!(cluster.state.quotas.projects.values().all(|quota| quota.over_since.is_empty()));
    }
}
