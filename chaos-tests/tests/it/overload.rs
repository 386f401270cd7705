//! Thirty times more than the fleet can take: refused by a law that says when to come again, and nothing starts too late.

use std::time::Duration;

use berth_chaos_tests::overload::Plan;

use crate::BERTH;

/// Five requests a second of capacity: thirty times that is nothing to a mesh, even on cores that others use, so that what
/// is late is late by its law and not for want of a core.
const PLAN: Plan = Plan { nodes: 2, slots: 1, work_ms: 400, times: 30, measured_s: 3, overload_s: 6, after_s: 10 };

/// By when a fleet is as it was before.
const NORMAL_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_times_too_much_starts_nothing_late_and_is_forgotten_in_seconds() {
    let cluster = PLAN.start(BERTH).await;
    let outcomes = PLAN.measure(&cluster).await;
    let [_, best, overload, after] = &outcomes.phases;
    for phase in &outcomes.phases {
        let lawless = phase.lawless();
        assert!(lawless.is_empty(), "{outcomes}\n{:#?}", &lawless[..lawless.len().min(5)]);
    }
    assert_eq!(outcomes.too_late, 0, "{outcomes}");
    assert!(best.goodput() > 0.0 && overload.goodput() > 0.0, "work goes on: {outcomes}");
    let refused =
        overload.by_outcome().iter().filter(|(what, _)| what.starts_with("429")).map(|(_, count)| count).sum();
    assert!(overload.requests() / 2 < refused, "it is an overload: {outcomes}");
    assert!(after.normal_after() < NORMAL_WITHIN, "{outcomes}");
}
