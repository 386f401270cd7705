//! The mirror draw: which requests are copied, never which answer a caller gets.
//!
//! Each mirror has its own tickets, drawn only by requests that may be mirrored, so that pinning a request shifts
//! neither the split nor the mirror of the others. The positions within each hundred are rotated from one hundred to the
//! next: with a fixed order a mirror of 10 % beside a split of 90/10 would copy the requests of one deployment only.

use crate::model::{DeploymentName, MirrorRules};

/// An odd constant near 2⁶⁴/φ: its multiples spread evenly over the hundred positions.
const ROTATION: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns whether the request with this ticket is copied to a mirror of `percent`: exactly `percent` of each hundred
/// tickets that begins at a multiple of a hundred.
pub fn draws(percent: u32, ticket: u64) -> bool {
    let percent = u64::from(percent.min(100));
    let rotation = (ticket / 100).wrapping_mul(ROTATION) >> 57;
    let at = (ticket % 100 + rotation) % 100;
    (at + 1) * percent / 100 > at * percent / 100
}

/// Returns whether a request takes part in the draw: one that names its deployment only where the endpoint says so.
pub fn may_copy(mirrors: &[(DeploymentName, u32)], rules: &MirrorRules, pinned: bool) -> bool {
    !mirrors.is_empty() && (rules.pinned || !pinned)
}

/// Returns whether a copy may start at a replica that answers callers too: one slot stays free for them. A replica with a
/// single slot takes one when it has nothing to do.
pub fn leaves_room(slots: u32, busy: u32) -> bool {
    busy.saturating_add(1) < slots || (slots == 1 && busy == 0)
}

/// Returns the deployments that get a copy: never the one that answers.
pub fn targets<'a>(
    mirrors: &'a [(DeploymentName, u32)],
    primary: &'a DeploymentName,
    ticket: u64,
) -> impl Iterator<Item = &'a DeploymentName> {
    let drawn = move |(name, percent): &&(DeploymentName, u32)| name != primary && draws(*percent, ticket);
    mirrors.iter().filter(drawn).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::split::Split;

    proptest! {
        #[test]
        fn every_hundred_holds_exactly_the_percent(percent in 0..=100_u32, hundred in 0..1_000_000_u64) {
            let drawn = (hundred * 100..hundred * 100 + 100).filter(|ticket| draws(percent, *ticket)).count();
            prop_assert_eq!(drawn, percent as usize);
        }

        #[test]
        fn any_hundred_in_a_row_is_within_two(percent in 0..=100_u32, start in 0..1_000_000_u64) {
            let drawn = (start..start + 100).filter(|ticket| draws(percent, *ticket)).count();
            prop_assert!(drawn.abs_diff(percent as usize) <= 2, "{drawn} of {percent}");
        }
    }

    #[test]
    fn a_mirror_beside_a_split_of_the_same_share_copies_both_sides() {
        let split = Split::new(&[90, 10]);
        let mirrored = (0..10_000).filter(|ticket| draws(10, *ticket));
        let green = mirrored.filter(|ticket| split.choose(*ticket) == Some(1)).count();
        assert!((50..=150).contains(&green), "of 1000 copies about a tenth is green's: {green}");
    }

    #[test]
    fn pinned_requests_and_the_answering_deployment_are_not_copied_unless_asked_for() {
        let name = |text| DeploymentName::new(text).expect("a valid name");
        let mirrors = [(name("green"), 100)];
        assert_eq!(targets(&mirrors, &name("blue"), 0).count(), 1);
        assert_eq!(targets(&mirrors, &name("green"), 0).count(), 0);
        let (quiet, all) = (MirrorRules::default(), MirrorRules { pinned: true, ..MirrorRules::default() });
        assert!(
            may_copy(&mirrors, &quiet, false) && !may_copy(&mirrors, &quiet, true) && may_copy(&mirrors, &all, true)
        );
        assert!(!may_copy(&[], &all, true));
    }

    #[test]
    fn a_copy_leaves_a_slot_for_callers() {
        for (slots, busy, may) in
            [(1, 0, true), (1, 1, false), (2, 0, true), (2, 1, false), (8, 6, true), (8, 7, false)]
        {
            assert_eq!(leaves_room(slots, busy), may, "{busy} of {slots}");
        }
    }
}
