//! No planned change and no crash loses a request: a slice of what `examples/zero_loss.rs` measures.

use std::time::Duration;

use berth_chaos_tests::zero_loss::{Event, Plan};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_planned_change_and_no_crash_loses_a_request() {
    let mut cluster = PLAN.start(BERTH).await;
    for event in Event::ALL {
        let row = PLAN.measure(&mut cluster, event).await;
        assert_eq!(row.lost, 0, "{row}: {:#?}", row.why);
        assert!(row.strikes > 0 && row.requests >= PLAN.requests, "{row}");
    }
    let check = cluster.client.check().await.expect("the state is checked");
    assert!(check.violations.is_empty(), "{:?}", check.violations);
}
