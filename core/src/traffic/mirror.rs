//! The mirror draw: which requests are copied, never which answer a caller gets.
//!
//! Each mirror has its own tickets, drawn only by requests that may be mirrored, so that pinning a request shifts
//! neither the split nor the mirror of the others. The positions within each hundred are rotated from one hundred to the
//! next: with a fixed order a mirror of 10 % beside a split of 90/10 would copy the requests of one deployment only.

use crate::model::DeploymentName;

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

/// Returns the deployments that get a copy: never for a pinned request, never the one that answers.
pub fn targets<'a>(
    mirrors: &'a [(DeploymentName, u32)],
    pinned: bool,
    primary: &'a DeploymentName,
    ticket: u64,
) -> impl Iterator<Item = &'a DeploymentName> {
    let drawn = move |(name, percent): &&(DeploymentName, u32)| !pinned && name != primary && draws(*percent, ticket);
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
    fn pinned_requests_and_the_answering_deployment_are_not_copied() {
        let name = |text| DeploymentName::new(text).expect("a valid name");
        let mirrors = [(name("green"), 100)];
        assert_eq!(targets(&mirrors, false, &name("blue"), 0).count(), 1);
        assert_eq!(targets(&mirrors, true, &name("blue"), 0).count(), 0);
        assert_eq!(targets(&mirrors, false, &name("green"), 0).count(), 0);
    }
}
