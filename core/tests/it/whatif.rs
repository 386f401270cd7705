//! What-if against the planner's own cluster: what is told is what happens.

use berth_core::{
    invariant::check,
    model::{DeploymentSpec, NodeState},
    state::ClusterState,
    whatif::{Bounds, Change, Counts, DeploymentOutcome, Fate, Outcome, Question, TakenKind, ask},
};

use crate::kit::{Cluster, key, profile, spec};

fn changes(text: &str) -> Question {
    Question::of(text.split(';').map(|change| {
        let (word, rest) = change.trim().split_once(' ').expect("a verb and its object");
        match word {
            "lose" => Change::Lose(rest.parse().expect("a node")),
            "drain" => Change::Drain(rest.parse().expect("a node")),
            "spike" => Change::spike(rest).expect("a spike"),
            "add" => Change::Add(rest.parse().expect("a shape")),
            "scale" => {
                let (name, count) = rest.split_once('=').expect("a count");
                Change::Scale { key: key(name), instance_count: count.parse().expect("a number") }
            }
            "delete" => Change::Delete { key: key(rest) },
            other => panic!("no change is called {other}"),
        }
    }))
}

fn asked(state: &ClusterState, text: &str) -> Outcome {
    ask(state, &changes(text), Bounds::default()).expect("an answer")
}

fn of<'a>(outcome: &'a Outcome, name: &str) -> &'a DeploymentOutcome {
    outcome.deployments.iter().find(|it| it.key == key(name)).expect("a deployment")
}

/// Three nodes of four places; `fraud/blue` has two instances and all traffic, `llm/main` six and all traffic.
fn fleet() -> Cluster {
    let mut cluster = Cluster::of(3);
    for (name, count) in [("fraud/blue", 2), ("llm/main", 6)] {
        // No reserve: the tests below count places.
        cluster.deploy(name, DeploymentSpec { reserve: false, ..spec(count) });
        cluster.traffic(name);
    }
    cluster.settle();
    cluster
}

/// Each row: what happens, what becomes of fraud/blue and of llm/main, whether every endpoint keeps its minimum, why.
#[test]
fn what_becomes_of_each_deployment() {
    use Fate::*;
    let cluster = fleet();
    for (text, blue, main, keeps, why) in [
        ("add cpu=4,memory=4GiB", Kept, Kept, true, "more room hurts nobody"),
        ("lose n1", Dipped, Dipped, true, "eight instances fit on two nodes of four places"),
        ("lose n2;lose n3", Dipped, Short, false, "six of eight do not fit on one node of four"),
        ("drain n1", Kept, Kept, true, "others come first"),
        ("add cpu=4,memory=4GiB;lose n2;lose n3", Dipped, Dipped, true, "the added node takes what is lost"),
        ("spike llm=1.5x", Kept, Kept, true, "nine and two fit on twelve places"),
        ("spike llm=3x", Kept, Short, false, "eighteen do not"),
        ("spike llm=1.5x;lose n3", Dipped, Short, false, "eleven do not fit on eight places"),
        ("scale llm/main=2;lose n2;lose n3", Dipped, Dipped, true, "four fit on one node"),
    ] {
        let outcome = asked(&cluster.state, text);
        assert_eq!((of(&outcome, "fraud/blue").fate, of(&outcome, "llm/main").fate), (blue, main), "{text}: {why}");
        assert_eq!(outcome.keeps(), keeps, "{text}: {why}");
    }
}

#[test]
fn a_shortfall_has_its_verdict_and_never_ends() {
    let outcome = asked(&fleet().state, "lose n1;lose n2");
    let main = of(&outcome, "llm/main");
    assert_eq!(main.below_rounds, None, "{main:?}");
    assert_eq!(main.below_from, Some(0), "the loss itself takes replicas");
    let verdict = main.verdict.as_ref().expect("a reason");
    assert!(verdict.to_string().contains("n3"), "{verdict}");
    let endpoint = outcome.endpoints.iter().find(|endpoint| endpoint.name.as_str() == "llm").expect("an endpoint");
    assert_eq!(endpoint.why, format!("llm/main ends with {} of 6", main.after.ready));
}

#[test]
fn a_single_instance_is_down_until_its_replacement_serves() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", DeploymentSpec { reserve: false, ..spec(1) });
    cluster.traffic("fraud/blue");
    cluster.settle();
    let node = cluster.replicas("fraud/blue")[0].node;
    let name = cluster.state.nodes[&node].profile.name.clone();
    let outcome = asked(&cluster.state, &format!("lose {name}"));
    let blue = of(&outcome, "fraud/blue");
    assert_eq!((blue.fate, blue.lowest_ready, blue.after.ready), (Fate::Down, 0, 1), "{blue:?}");
    assert!(blue.below_rounds.is_some_and(|rounds| rounds > 0), "{blue:?}");
    assert!(!outcome.keeps());
    let drained = asked(&cluster.state, &format!("drain {name}"));
    assert_eq!(of(&drained, "fraud/blue").fate, Fate::Kept, "a drain brings the replacement first");
    assert!(drained.keeps());
}

/// One that has fewer than it asks for, before and after, is down all the same while nobody of it serves.
#[test]
fn who_was_short_before_is_down_until_its_replacement_serves() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", DeploymentSpec { reserve: true, ..spec(1) });
    cluster.traffic("fraud/blue");
    cluster.settle();
    cluster.deploy("llm/main", DeploymentSpec { reserve: false, ..spec(6) });
    cluster.settle();
    cluster.scale("fraud/blue", 2);
    cluster.settle();
    let [only] = cluster.replicas("fraud/blue")[..] else { panic!("{:?}", cluster.replicas("fraud/blue")) };
    let name = cluster.state.nodes[&only.node].profile.name.clone();
    let outcome = asked(&cluster.state, &format!("lose {name}"));
    let blue = of(&outcome, "fraud/blue");
    assert_eq!((blue.before.ready, blue.before.wanted, blue.lowest_ready, blue.after.ready), (1, 2, 0, 1), "{blue:?}");
    assert_eq!((blue.fate, outcome.keeps()), (Fate::Down, false), "{blue:?}");
}

#[test]
fn draining_the_last_node_that_fits_never_ends() {
    let mut cluster = Cluster::of(2);
    let mut large = profile("large");
    large.capacity.cpu_milli = 16_000;
    large.capacity.memory_mib = 16 << 10;
    cluster.node(3, large);
    let mut wide = DeploymentSpec { reserve: false, ..spec(1) };
    wide.resources.cpu_milli = 12_000;
    cluster.deploy("llm/wide", wide);
    cluster.traffic("llm/wide");
    cluster.settle();
    let outcome = asked(&cluster.state, "drain large");
    let drain = &outcome.drains[0];
    assert_eq!((drain.empty_in, drain.left), (None, 1));
    assert_eq!(of(&outcome, "llm/wide").fate, Fate::Stuck);
    assert!(!outcome.keeps(), "emptying it would take the only replica");
    let outcome = asked(&cluster.state, "add cpu=16,memory=16GiB,name=spare;drain large");
    assert!(outcome.keeps(), "{outcome:?}");
    assert!(outcome.drains[0].empty_in.is_some());
    let placed = outcome.steps.iter().find(|step| step.kind == TakenKind::Place).expect("a place");
    assert_eq!(placed.node, "spare-1");
}

/// The planner that really runs ends exactly where the answer said it would.
#[test]
fn the_answer_is_what_then_happens() {
    for (text, lost) in [("lose n1", &[1][..]), ("lose n2;lose n3", &[2, 3]), ("lose n1;lose n2;lose n3", &[1, 2, 3])] {
        let mut cluster = fleet();
        let outcome = asked(&cluster.state, text);
        lost.iter().for_each(|node| cluster.transition(*node, NodeState::Lost));
        cluster.settle();
        for told in &outcome.deployments {
            assert_eq!(told.after, Counts::of(&cluster.state, &told.key), "{text}: {}", told.key);
        }
        assert_eq!(outcome.after.held, berth_core::whatif::NodeTotals::of(&cluster.state).held, "{text}");
    }
}

#[test]
fn asking_changes_nothing_and_asking_twice_gives_the_same() {
    let cluster = fleet();
    let before = cluster.state.clone();
    let text = "add 2xcpu=8,memory=8GiB;spike llm=2x;drain n1;lose n2";
    assert_eq!(asked(&cluster.state, text), asked(&cluster.state, text));
    assert_eq!(cluster.state, before);
    assert!(check(&cluster.state).is_empty());
}

#[test]
fn a_cluster_that_moves_is_asked_once_it_rests() {
    let mut cluster = Cluster::of(2);
    cluster.deploy("fraud/blue", DeploymentSpec { reserve: false, ..spec(2) });
    let outcome = asked(&cluster.state, "lose n1");
    assert!(outcome.notes[0].contains("moving"), "{:?}", outcome.notes);
    assert_eq!(of(&outcome, "fraud/blue").before.ready, 2);
}

#[test]
fn many_lost_at_once_would_pull_the_brake() {
    let outcome = asked(&Cluster::of(4).state, "lose n1;lose n2;lose n3");
    assert!(outcome.notes.iter().any(|note| note.contains("brake")), "{:?}", outcome.notes);
    assert!(asked(&Cluster::of(4).state, "lose n1").notes.is_empty());
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let cluster = fleet();
    for (change, part) in [
        (Change::Lose("n11".parse().expect("a name")), "did you mean `n1`"),
        (Change::spike("lllm=2x").expect("a spike"), "did you mean `llm`"),
        (Change::Scale { key: key("llm/mian"), instance_count: 1 }, "did you mean `llm/main`"),
    ] {
        let error = ask(&cluster.state, &Question::of([change.clone()]), Bounds::default()).expect_err("a refusal");
        assert!(error.try_.contains(part), "{change}: {error:?}");
    }
}

#[test]
fn what_takes_too_long_to_tell_is_refused() {
    let bounds = Bounds { rounds: 1, steps_kept: 1 };
    let error = ask(&fleet().state, &changes("lose n1"), bounds).expect_err("a bound");
    assert_eq!(error.code.word(), "E_LIMIT");
    let bounds = Bounds { steps_kept: 1, ..Bounds::default() };
    let outcome = ask(&fleet().state, &changes("lose n1"), bounds).expect("an answer");
    assert_eq!(outcome.steps.len(), 1);
    assert!(outcome.steps_dropped > 0);
}
