//! Thirty times more than the fleet can take: refused by a law that says when to come again, and nothing starts too late.

use std::time::Duration;

use berth_chaos_tests::overload::Plan;

use crate::BERTH;

/// Ten requests a second of capacity: thirty times that is little to a mesh, even on cores that others use, so that what
/// is late is late by its law and not for want of a core; and its best is some sixty answers, of which a fifth is a number.
const PLAN: Plan = Plan { nodes: 2, slots: 2, work_ms: 400, times: 30, measured_s: 6, overload_s: 8, after_s: 10 };

/// The least of its best that has to be answered in time under overload, in percent.
const GOODPUT_PERCENT: u64 = 80;

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
    assert!(best.answered() > PLAN.capacity_per_second() * PLAN.measured_s / 2, "a best worth the name: {outcomes}");
    let (best, under) = (best.answered() * PLAN.overload_s, overload.answered() * PLAN.measured_s);
    assert!(100 * under >= GOODPUT_PERCENT * best, "work goes on: {outcomes}");
    let refused =
        overload.by_outcome().iter().filter(|(what, _)| what.starts_with("429")).map(|(_, count)| count).sum();
    assert!(overload.requests() / 2 < refused, "it is an overload: {outcomes}");
    assert!(after.normal_after() < NORMAL_WITHIN, "{outcomes}");
}
