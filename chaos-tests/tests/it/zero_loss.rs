//! No planned change and no crash loses a request: a slice of what `examples/zero_loss.rs` measures.

use std::{fs, path::Path, time::Duration};

use berth_chaos_tests::{
    say::say,
    zero_loss::{Event, Plan, Row, put, table},
};

use crate::BERTH;

/// Small enough for a minute and a half on two cores that build other tests.
const PLAN: Plan = Plan {
    coordinators: 3,
    nodes: 3,
    instances: 2,
    rate_per_second: 100,
    requests: 400,
    strikes: 1,
    outage: Duration::from_secs(6),
    strict: false,
};

/// Where a run of the test leaves what it counted, in the folder that cargo gives to tests.
const COUNTED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/zero_loss.txt");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_planned_change_and_no_crash_loses_a_request() {
    let mut cluster = PLAN.start(BERTH).await;
    let mut counted = format!("{PLAN}\n{}\n", Row::heading());
    fs::write(COUNTED, &counted).expect("a file of the build folder");
    say(counted.trim_end());
    for event in Event::ALL {
        let row = PLAN.measure(&mut cluster, event).await;
        say(row.to_string());
        counted += &format!("{row}\n");
        fs::write(COUNTED, &counted).expect("a file of the build folder");
        assert_eq!(row.lost, 0, "{row}: {:#?}", row.why);
        assert!(row.strikes == PLAN.strikes && row.requests >= PLAN.requests, "{row}");
    }
    let kept = Row::read_all(&fs::read_to_string(COUNTED).expect("it was written"));
    assert!(kept.is_ok_and(|rows| rows.iter().all(|row| row.lost == 0)), "{counted}");
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

#[test]
fn the_readme_says_what_was_measured_and_what_this_test_counts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).expect(name);
    let made = table(&read("docs/benchmarks/zero_loss.txt"), &PLAN);
    let made = made.unwrap_or_else(|event| panic!("docs/benchmarks/zero_loss.txt has no {}", event.name()));
    let right = put(&read("README.md"), &made).expect("the README has a place for the table");
    if std::env::var_os("BERTH_UPDATE_DOCS").is_some() {
        fs::write(root.join("README.md"), &right).expect("the README is written");
    }
    assert!(
        read("README.md") == right,
        "the README's table of events is old: BERTH_UPDATE_DOCS=1 cargo test -p berth-chaos-tests --test it readme\n{made}"
    );
}
