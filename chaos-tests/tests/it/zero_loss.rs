//! No planned change and no crash loses a request: a slice of what `examples/zero_loss.rs` measures.

use std::{fs, path::Path, time::Duration};

use berth_chaos_tests::{
    protocol::Protocol,
    say::say,
    zero_loss::{Event, Plan, Row, put, table},
};

use crate::BERTH;

/// Small enough for a few minutes on two cores that build other tests; the outage is the minute that is promised.
const PLAN: Plan = Plan {
    coordinators: 3,
    nodes: 3,
    instances: 2,
    rate_per_second: 100,
    requests: 600,
    strikes: 1,
    outage: Duration::from_secs(60),
    strict: false,
    protocols: &Protocol::ALL,
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
        let rows = PLAN.measure(&mut cluster, event).await;
        for row in &rows {
            say(row.to_string());
            counted += &format!("{row}\n");
        }
        fs::write(COUNTED, &counted).expect("a file of the build folder");
        assert_eq!(rows.len(), PLAN.protocols.len());
        for row in &rows {
            assert!(row.lost == 0 && row.answered == row.requests, "{row}: {:#?}", row.why);
            // Up to one request less than the others have.
            let due = PLAN.requests / PLAN.protocols.len() as u64;
            assert!(row.strikes == PLAN.strikes && row.requests >= due, "{row}");
        }
    }
    let kept = Row::read_all(&fs::read_to_string(COUNTED).expect("it was written"));
    assert!(kept.is_ok_and(|rows| rows.iter().flatten().all(|row| row.lost == 0)), "{counted}");
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}

/// The kept run of CI is one of this test as it is: with this plan, and with every row that it writes.
///
/// `cp $CARGO_TARGET_DIR/tmp/zero_loss.txt docs/benchmarks/zero_loss_ci.txt` keeps the run that was.
#[test]
fn the_readme_says_what_was_measured_and_what_a_run_of_ci_counted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).expect(name);
    let ci = read("docs/benchmarks/zero_loss_ci.txt");
    let head = format!("{PLAN}\n{}\n", Row::heading());
    assert!(
        ci.starts_with(&head),
        "docs/benchmarks/zero_loss_ci.txt is of another plan: keep a run of this one\n{head}"
    );
    let rows = Row::read_all(&ci).unwrap_or_else(|event| panic!("no row of {}", event.name()));
    assert!(rows.iter().all(|of| of.len() == PLAN.protocols.len() && of.iter().all(|row| row.lost == 0)), "{ci}");
    let made = table(&read("docs/benchmarks/zero_loss.txt"), &ci).unwrap_or_else(|why| panic!("{why}"));
    let right = put(&read("README.md"), &made).expect("the README has a place for the table");
    if std::env::var_os("BERTH_UPDATE_DOCS").is_some() {
        fs::write(root.join("README.md"), &right).expect("the README is written");
    }
    assert!(
        read("README.md") == right,
        "the README's table of events is old: BERTH_UPDATE_DOCS=1 cargo test -p berth-chaos-tests --test it readme\n{made}"
    );
}
