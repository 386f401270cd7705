//! A host's wall clock steps back, or a leader's runs behind: the cluster's time does not.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use berth_coordinator::CoordinatorOptions;
use berth_core::{model::EndpointName, state::ClusterState, time::LogTime};
use berth_proto::api::v1::{TransferLeadershipRequest, cluster_client::ClusterClient};

use crate::api_fleet::{Fleet, endpoint_request, fresh_id};

const HOUR_MS: u64 = 3_600_000;

fn ago(ms: u64) -> LogTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    LogTime::from_millis(u64::try_from(now).expect("a date") - ms)
}

fn an_hour_ago() -> LogTime {
    ago(HOUR_MS)
}

/// How far the clock of `stepped` is behind.
static BEHIND_MS: AtomicU64 = AtomicU64::new(0);

fn stepped() -> LogTime {
    ago(BEHIND_MS.load(Relaxed))
}

fn late(options: &mut CoordinatorOptions) {
    options.wall_clock = an_hour_ago;
}

/// The cluster's time, and when an endpoint was made.
fn times(state: &ClusterState, endpoint: &str) -> (LogTime, LogTime) {
    let name: EndpointName = endpoint.parse().expect("a name");
    (state.time, state.endpoints[&name].created_at)
}

fn events_are_in_order(state: &ClusterState) -> bool {
    let times: Vec<LogTime> = state.events.iter().map(|event| event.at).collect();
    times.is_sorted()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_steps_back_an_hour_takes_no_time_from_the_cluster() {
    let mut fleet = Fleet::start(1).await;
    let request = endpoint_request("before", &fresh_id());
    let made = fleet.endpoints(0).put(request.clone()).await.expect("created").into_inner();
    let (before, _) = fleet.handle(0).read(|state| times(state, "before"));
    fleet.members[0].stop().await;
    fleet.members[0].tune = late;
    fleet.members[0].start(None).await;
    fleet.ready().await;
    fleet.put_endpoint(0, "after").await.expect("created");
    let (now, created) = fleet.handle(0).read(|state| times(state, "after"));
    assert!(now >= before && created >= before, "{now:?} and {created:?} are before {before:?}");
    assert!(fleet.handle(0).read(events_are_in_order));
    // What was answered before the step is remembered after it.
    let again = fleet.endpoints(0).put(request).await.expect("the first answer").into_inner();
    assert_eq!(again.revision, made.revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_runs_behind_dates_nothing_before_what_was() {
    let mut fleet = Fleet::start(3).await;
    fleet.put_endpoint(0, "before").await.expect("created");
    let at = fleet.follower().await;
    let (before, _) = fleet.handle(fleet.leader().await).read(|state| times(state, "before"));
    fleet.members[at].stop().await;
    fleet.members[at].tune = late;
    fleet.members[at].start(None).await;
    fleet.ready().await;
    let to = TransferLeadershipRequest { id: fleet.handle(at).member_id().to_string() };
    ClusterClient::new(fleet.channel(0)).transfer_leadership(to).await.expect("a transfer");
    assert_eq!(fleet.leader().await, at);
    fleet.put_endpoint(at, "after").await.expect("created");
    for member in 0..3 {
        fleet.until(member, "the endpoint", |state| state.endpoints.len() == 2).await;
        let (now, created) = fleet.handle(member).read(|state| times(state, "after"));
        assert!(now >= before && created >= before, "{now:?} and {created:?} are before {before:?}");
        assert!(fleet.handle(member).read(events_are_in_order));
    }
}

/// Deadlines of the state are waited for by monotonic clocks. If the log stood still until the wall clock is where it was,
/// each one that is set meanwhile would be over before its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_s_time_goes_on_while_a_leader_s_clock_is_behind() {
    let mut fleet = Fleet::start(1).await;
    fleet.members[0].stop().await;
    fleet.members[0].tune = |options| options.wall_clock = stepped;
    fleet.members[0].start(None).await;
    fleet.ready().await;
    fleet.put_endpoint(0, "before").await.expect("created");
    BEHIND_MS.store(HOUR_MS, Relaxed);
    fleet.put_endpoint(0, "at-the-step").await.expect("created");
    let (stepped_at, _) = fleet.handle(0).read(|state| times(state, "at-the-step"));
    let goes_on = async {
        for attempt in 0.. {
            let name = format!("after-{attempt}");
            fleet.put_endpoint(0, &name).await.expect("created");
            let (now, _) = fleet.handle(0).read(|state| times(state, &name));
            if now > stepped_at {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), goes_on).await.expect("the log stands still");
    assert!(fleet.handle(0).read(events_are_in_order));
}
