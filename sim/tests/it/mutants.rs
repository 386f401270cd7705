//! Checking the checkers: every planted bug is caught by the invariant that is meant to catch it.

use std::collections::BTreeSet;

use berth_core::invariant as of_the_state;
use berth_sim::{Bug, Options, swarm};

/// Seeds within which each bug must be caught. Those of one are caught wherever they are planted; the others need
/// circumstances: a request that takes long, a leader that dies at the wrong moment, a node that meets a deposed one.
const BUDGETS: &[(Bug, u64)] = &[
    (Bug::SkipCapacity, 10),
    (Bug::OversellDevices, 40),
    (Bug::TrustBroken, 40),
    (Bug::BlameTheCard, 40),
    (Bug::ForgetGpus, 80),
    (Bug::TakePromised, 40),
    (Bug::TakeFromEquals, 40),
    (Bug::IgnoreSpread, 40),
    (Bug::ServeWithoutAcks, 20),
    (Bug::HandOverBlindly, 40),
    (Bug::StopWithRequests, 40),
    (Bug::TrustUnheard, 160),
    (Bug::ReuseReplicaId, 10),
    (Bug::ForgetEpochFence, 40),
    (Bug::Resurrect, 40),
    (Bug::ShareNames, 40),
    (Bug::HalveSplits, 40),
    (Bug::TakeForLost, 40),
    (Bug::KeepVersion, 40),
    (Bug::OutliveEndpoint, 40),
    (Bug::StepBack, 40),
    (Bug::RefuseByHalf, 40),
    (Bug::RunAhead, 40),
    (Bug::ForgetLookUp, 40),
    (Bug::DoubleApply, 40),
    (Bug::TableGoesBack, 200),
    (Bug::SkipEntry, 10),
    (Bug::AckBeforeCommit, 80),
    (Bug::ForgetTermFence, 60),
    (Bug::MirrorAnswers, 60),
    (Bug::UnfairSplit, 60),
    (Bug::RetryUnsafe, 40),
    (Bug::GiveUpAtOnce, 80),
    (Bug::StartExpired, 60),
    (Bug::RetryForever, 60),
    (Bug::KeepKeys, 20),
    (Bug::SkipEvents, 10),
    (Bug::KeepProcesses, 60),
    (Bug::ForgetPlanTerm, 60),
    (Bug::FreeTooEarly, 20),
    (Bug::ForgetOldSpecs, 10),
    (Bug::ForgetLost, 10),
    (Bug::ForgetLedger, 40),
    (Bug::WaitForNobody, 40),
    (Bug::ReplaceAll, 40),
    (Bug::KeepTheOther, 80),
    (Bug::RunAlone, 40),
    (Bug::EndAlone, 40),
    (Bug::RaidReserve, 10),
    (Bug::MistakeUpgrades, 40),
    (Bug::BookAsUpdate, 40),
    (Bug::SpendUnrecorded, 40),
    (Bug::MistakeSize, 40),
    (Bug::KeepSlots, 10),
    (Bug::HoardSlots, 10),
    (Bug::NeverRestore, 10),
    (Bug::BreakPromise, 10),
    (Bug::TwoWalks, 80),
    (Bug::ForgetSums, 40),
    (Bug::IgnoreQuota, 40),
    (Bug::LendTooMuch, 40),
    (Bug::IgnoreBrake, 60),
];

/// Hunts one bug until the invariant that is meant for it catches it; others may catch it first in other seeds.
fn hunt(bug: Bug) {
    let (_, budget) = BUDGETS.iter().find(|(known, _)| *known == bug).expect("every bug has a budget");
    let options = Options { bug: Some(bug), ..Options::default() };
    let (mut first, mut others) = (1, Vec::new());
    while first <= *budget {
        let Some(report) = swarm(first, *budget - first + 1, &options, |_| {}).failed else { break };
        let ids: Vec<&str> = report.violations.iter().map(|finding| finding.id.as_str()).collect();
        if ids.contains(&bug.caught_by()) {
            return;
        }
        // What a bug breaks first is chance; it must break what it is named for within its budget.
        others.push(format!("seed {}: {ids:?}", report.seed));
        first = report.seed + 1;
    }
    panic!("{bug} did not break {} within {budget} seeds, only {others:?}", bug.caught_by());
}

#[test]
fn every_bug_has_a_budget() {
    let listed: Vec<Bug> = BUDGETS.iter().map(|(bug, _)| *bug).collect();
    assert_eq!(listed, Bug::ALL);
}

/// What a state, an entry or a whole run may get wrong is proved to be noticed: an invariant that no bug breaks may be one
/// that nothing breaks.
#[test]
fn every_invariant_has_a_bug() {
    let listed = || of_the_state::INVARIANTS.iter().chain(berth_sim::INVARIANTS).map(|(id, _)| *id);
    let ids: BTreeSet<_> = listed().collect();
    assert_eq!(ids.len(), listed().count(), "an id means one thing");
    let caught: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.caught_by()).collect();
    let unproved: Vec<_> = ids.difference(&caught).collect();
    assert!(unproved.is_empty(), "nobody knows whether these would notice anything: {unproved:?}");
    let unknown: Vec<_> = caught.difference(&ids).collect();
    assert!(unknown.is_empty(), "these are no invariants: {unknown:?}");
}

macro_rules! caught {
    ($($name:ident: $bug:ident;)*) => {
        $(#[test]
        fn $name() {
            hunt(Bug::$bug);
        })*
    };
}

caught! {
    a_full_node_is_noticed: SkipCapacity;
    an_oversold_device_is_noticed: OversellDevices;
    a_trusted_broken_device_is_noticed: TrustBroken;
    a_card_blamed_for_a_program_is_noticed: BlameTheCard;
    a_host_that_forgets_its_cards_is_noticed: ForgetGpus;
    a_broken_promise_is_noticed: TakePromised;
    taking_from_equals_is_noticed: TakeFromEquals;
    an_ignored_spread_is_noticed: IgnoreSpread;
    serving_unacknowledged_is_noticed: ServeWithoutAcks;
    a_blind_hand_over_is_noticed: HandOverBlindly;
    stopping_with_requests_is_noticed: StopWithRequests;
    trusting_the_unheard_is_noticed: TrustUnheard;
    a_reused_id_is_noticed: ReuseReplicaId;
    a_forgotten_epoch_is_noticed: ForgetEpochFence;
    a_life_that_goes_back_is_noticed: Resurrect;
    a_name_of_two_nodes_is_noticed: ShareNames;
    a_split_of_less_than_all_is_noticed: HalveSplits;
    a_replica_nobody_is_sent_to_is_noticed: TakeForLost;
    routes_under_an_old_version_are_noticed: KeepVersion;
    a_deployment_without_endpoint_is_noticed: OutliveEndpoint;
    time_that_steps_back_is_noticed: StepBack;
    a_refusal_that_acts_is_noticed: RefuseByHalf;
    a_revision_of_the_future_is_noticed: RunAhead;
    a_look_up_that_forgets_is_noticed: ForgetLookUp;
    a_double_effect_is_noticed: DoubleApply;
    an_older_table_is_noticed: TableGoesBack;
    a_skipped_entry_is_noticed: SkipEntry;
    an_early_acknowledgement_is_noticed: AckBeforeCommit;
    an_obeyed_deposed_leader_is_noticed: ForgetTermFence;
    an_answer_of_a_mirror_is_noticed: MirrorAnswers;
    an_unfair_split_is_noticed: UnfairSplit;
    an_unsafe_retry_is_noticed: RetryUnsafe;
    a_request_given_up_is_noticed: GiveUpAtOnce;
    work_for_nobody_is_noticed: StartExpired;
    a_storm_of_retries_is_noticed: RetryForever;
    a_kept_key_is_noticed: KeepKeys;
    a_gap_in_a_watch_is_noticed: SkipEvents;
    a_kept_process_is_noticed: KeepProcesses;
    a_deposed_plan_is_noticed: ForgetPlanTerm;
    a_place_that_is_not_free_yet_is_noticed: FreeTooEarly;
    a_spec_that_is_gone_is_noticed: ForgetOldSpecs;
    a_ghost_of_a_lost_node_is_noticed: ForgetLost;
    a_replica_that_runs_twice_is_noticed: ForgetLedger;
    impatience_is_noticed: WaitForNobody;
    a_replacement_nobody_wanted_is_noticed: ReplaceAll;
    the_wrong_copy_of_two_is_noticed: KeepTheOther;
    a_replica_that_runs_alone_for_long_is_noticed: RunAlone;
    a_replica_ended_too_early_is_noticed: EndAlone;
    a_raided_reserve_is_noticed: RaidReserve;
    an_upgrade_booked_as_a_drain_is_noticed: MistakeUpgrades;
    a_recovery_booked_as_an_update_is_noticed: BookAsUpdate;
    a_place_taken_without_a_record_is_noticed: SpendUnrecorded;
    a_slot_given_back_for_no_reason_is_noticed: MistakeSize;
    a_slot_nobody_has_is_noticed: KeepSlots;
    a_slot_too_many_is_noticed: HoardSlots;
    a_reserve_that_stays_short_is_noticed: NeverRestore;
    a_rollout_that_retires_all_is_noticed: BreakPromise;
    two_walks_at_once_are_noticed: TwoWalks;
    a_sum_that_is_not_true_is_noticed: ForgetSums;
    growth_beyond_a_limit_is_noticed: IgnoreQuota;
    lending_what_is_not_there_is_noticed: LendTooMuch;
    an_ignored_brake_is_noticed: IgnoreBrake;
}
