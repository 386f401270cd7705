//! The replicated state: exactly-once answers, fences, and a snapshot that is the state.

use berth_core::{
    error::Code,
    id::{NodeEpoch, NodeId, Term},
    model::{DeploymentName, EndpointName, NodeState, ReplicaState, Traffic},
    state::{ClusterState, Command, Observed, Plan, PutMode, Reply, Step},
};

use crate::kit::{Cluster, key, profile, spec};

fn traffic(shares: &[(&str, u32)]) -> Traffic {
    shares.iter().map(|(name, percent)| (DeploymentName::new(name).unwrap(), *percent)).collect()
}

fn set_traffic(shares: &[(&str, u32)]) -> Command {
    Command::TrafficSet {
        endpoint: "fraud".parse().unwrap(),
        split: Some(traffic(shares)),
        mirror: None,
        strict_azure: false,
        if_revision: None,
    }
}

fn code(reply: &Reply) -> Option<Code> {
    match reply {
        Reply::Refused(error) => Some(error.code),
        _ => None,
    }
}

#[test]
fn a_retried_request_is_answered_and_not_applied_again() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    let scale = |count| Command::DeploymentScale { key: key("fraud/blue"), instance_count: count, if_revision: None };
    let first = cluster.apply_as(Some("r1"), scale(2));
    cluster.scale("fraud/blue", 3);
    assert_eq!(cluster.apply_as(Some("r1"), scale(2)), first, "the answer of then");
    assert_eq!(cluster.state.deployments[&key("fraud/blue")].spec.instance_count, 3, "and no effect now");
}

#[test]
fn traffic_names_what_exists_and_protects_it() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    for (shares, refused, why) in [
        (&[("blue", 90)][..], Some(Code::Traffic), "ninety is neither"),
        (&[("blue", 50), ("red", 50)][..], Some(Code::Traffic), "red is not there"),
        (&[("blue", 100)][..], None, "all to blue"),
    ] {
        assert_eq!(code(&cluster.apply(set_traffic(shares))), refused, "{why}");
    }
    let delete = Command::DeploymentDelete { key: key("fraud/blue"), if_revision: None };
    assert_eq!(code(&cluster.apply(delete.clone())), Some(Code::CarriesTraffic));
    cluster.must(set_traffic(&[]));
    cluster.must(delete);
    assert!(cluster.state.deployments.is_empty());
}

#[test]
fn azures_limits_hold_for_who_asks_for_them() {
    let mut cluster = Cluster::of(1);
    for name in ["fraud/blue", "fraud/green", "fraud/red"] {
        cluster.deploy(name, spec(1));
    }
    cluster.must(set_traffic(&[("blue", 100)]));
    let set = |cluster: &mut Cluster, mirror: &[(&str, u32)], pinned, strict_azure| {
        let name: EndpointName = "fraud".parse().unwrap();
        let known = cluster.state.endpoints[&name].clone();
        let mut spec = known.spec;
        spec.mirror_rules.pinned = pinned;
        cluster.must(Command::EndpointPut {
            name: name.clone(),
            spec,
            project: None,
            keys: known.keys,
            mode: PutMode::Update,
            if_revision: None,
        });
        let mirror = Some(traffic(mirror));
        let set = Command::TrafficSet { endpoint: name, split: None, mirror, strict_azure, if_revision: None };
        code(&cluster.apply(set))
    };
    for (mirror, pinned, allowed, why) in [
        (&[("green", 50)][..], false, true, "one of half"),
        (&[("green", 51)][..], false, false, "more than half"),
        (&[("green", 10), ("red", 10)][..], false, false, "two"),
        (&[("blue", 10)][..], false, false, "it answers callers"),
        (&[("green", 10)][..], true, false, "what is pinned is copied"),
        (&[][..], true, true, "nothing is copied"),
    ] {
        assert_eq!(set(&mut cluster, mirror, pinned, false), None, "{why}: Berth has none of these limits");
        assert_eq!(set(&mut cluster, mirror, pinned, true), (!allowed).then_some(Code::Traffic), "{why}");
    }
}

#[test]
fn a_write_for_an_older_revision_is_refused() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    let revision = cluster.state.deployments[&key("fraud/blue")].revision;
    cluster.scale("fraud/blue", 2);
    let stale = Command::DeploymentPut {
        key: key("fraud/blue"),
        spec: Box::new(spec(5)),
        mode: PutMode::Upsert,
        if_revision: Some(revision),
    };
    assert_eq!(code(&cluster.apply(stale)), Some(Code::Revision));
}

#[test]
fn what_is_of_an_older_term_or_epoch_is_refused() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    let replica = cluster.replicas("fraud/blue")[0].id;
    cluster.node(1, profile("n1"));
    let reply = cluster.report_as(NodeId(1), NodeEpoch(1), replica, Observed::Failed);
    assert_eq!(code(&reply), Some(Code::Stale), "the agent of epoch 1 was replaced");
    cluster.must(Command::LeaderEstablished { term: Term(5), member: berth_core::id::MemberId(2) });
    let steps = vec![Step::Stop { replica, cut: 0, reason: "old".to_owned() }];
    let plan = Plan { term: Term(1), based_on: cluster.state.applied, part: 0, parts: 1, steps };
    assert_eq!(code(&cluster.apply(Command::PlanCommit(plan))), Some(Code::Stale), "that leader was deposed");
    assert_eq!(cluster.ready("fraud/blue"), 1);
}

#[test]
fn two_live_nodes_cannot_share_a_name() {
    let mut cluster = Cluster::of(1);
    let register = berth_core::state::RegisterNode::new(NodeId(9), profile("n1"));
    let command = Command::NodeRegister(Box::new(register));
    assert_eq!(code(&cluster.apply(command.clone())), Some(Code::NodeNameTaken));
    cluster.transition(1, NodeState::Lost);
    cluster.must(command);
    assert_eq!(cluster.state.nodes.keys().collect::<Vec<_>>(), [&NodeId(9)], "a lost one gives its name up");
}

#[test]
fn a_step_that_no_longer_fits_is_refused_and_the_rest_applied() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(6));
    let (steps, report) = cluster.plan();
    assert_eq!(steps.len(), 4, "four fit");
    assert_eq!(report.short[&key("fraud/blue")].desired, 6);
    cluster.deploy("other/red", spec(1));
    let (other, _) = cluster.plan();
    let red =
        other.into_iter().find(|step| matches!(step, Step::Place { key, .. } if key.endpoint.as_str() == "other"));
    assert!(red.is_none(), "what came first gets the places first");
    let mut doubled = steps.clone();
    doubled.extend(steps);
    let plan = Plan { term: Term(1), based_on: cluster.state.applied, part: 0, parts: 1, steps: doubled };
    let Reply::Planned { outcomes } = cluster.apply(Command::PlanCommit(plan)) else { panic!("a plan was sent") };
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
    assert_eq!(cluster.replicas("fraud/blue").len(), 4);
}

#[test]
fn what_serves_cannot_be_stopped_without_a_drain() {
    let mut cluster = Cluster::of(1);
    cluster.deploy("fraud/blue", spec(1));
    cluster.settle();
    let replica = cluster.replicas("fraud/blue")[0].id;
    let steps = vec![Step::Stop { replica, cut: 0, reason: "hasty".to_owned() }];
    let plan = Plan { term: Term(1), based_on: cluster.state.applied, part: 0, parts: 1, steps };
    let Reply::Planned { outcomes } = cluster.apply(Command::PlanCommit(plan)) else { panic!("a plan was sent") };
    assert!(outcomes[0].is_err());
    assert_eq!(cluster.in_state("fraud/blue", ReplicaState::Serving), [replica]);
}

#[test]
fn a_snapshot_is_the_state() {
    let mut cluster = Cluster::of(3);
    cluster.deploy("fraud/blue", spec(3));
    cluster.settle();
    cluster.transition(1, NodeState::Lost);
    cluster.must(set_traffic(&[("blue", 100)]));
    assert_eq!(ClusterState::from_snapshot(cluster.state.to_snapshot()), cluster.state);
}

#[test]
fn time_never_steps_back_although_clocks_do() {
    let mut cluster = Cluster::of(1);
    let before = cluster.state.time;
    cluster.now = berth_core::time::LogTime::from_millis(5);
    cluster.deploy("fraud/blue", spec(1));
    assert_eq!(cluster.state.time, before);
}
