//! Builds of different age in one cluster: the level goes up with the last of them, and never down.

use berth_coordinator::{CoordinatorOptions, CoordinatorService};

use crate::api_fleet::{Fleet, PATIENCE};

fn newer(options: &mut CoordinatorOptions) {
    options.feature_level = 2;
}

async fn upgrade(fleet: &mut Fleet, at: usize) {
    fleet.members[at].stop().await;
    fleet.members[at].tune = newer;
    fleet.members[at].start(None).await;
    fleet.ready().await;
}

fn level(fleet: &Fleet, at: usize) -> u32 {
    fleet.handle(at).read(|state| state.feature_level)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_rises_with_the_last_member_and_no_older_build_comes_back() {
    let mut fleet = Fleet::start(3).await;
    for at in 0..2 {
        upgrade(&mut fleet, at).await;
        assert_eq!(level(&fleet, at), 1, "a member of the old build is still there");
    }
    upgrade(&mut fleet, 2).await;
    for at in 0..3 {
        fleet.until(at, "the level is 2", |state| state.feature_level == 2).await;
    }
    fleet.members[0].stop().await;
    let mut options = fleet.members[0].options(None);
    options.feature_level = 1;
    let words = refused(options).await;
    assert!(words.contains("too old") && words.contains("feature level 2"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_is_too_old_is_not_taken_in() {
    let mut fleet = Fleet::start_with(1, newer).await;
    fleet.until(0, "the level is 2", |state| state.feature_level == 2).await;
    let at = fleet.join().await;
    fleet.until(at, "a build of the same age joins", |state| state.feature_level == 2).await;
    let old = fleet.prepare_join(|options| options.feature_level = 1);
    let words = refused(old).await;
    assert!(words.contains("knows feature level 1, the cluster is at 2"), "{words}");
}

/// Runs a coordinator that shall not come to a cluster, and returns why it did not.
async fn refused(options: CoordinatorOptions) -> String {
    let service = match CoordinatorService::open(options).await {
        Ok(service) => service,
        Err(error) => return error.to_string(),
    };
    let ended = tokio::time::timeout(PATIENCE, service.run(std::future::pending())).await;
    match ended.expect("it gives up in time") {
        Ok(()) => String::new(),
        Err(error) => format!("{error} {}", error.why),
    }
}
