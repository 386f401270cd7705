//! Sticky keys: requests with the same key go to the same deployment, and a change of the weights moves as few as it can.
//!
//! Weighted rendezvous hashing: each deployment draws a number for the key, stretched by its weight, and the smallest
//! wins. A deployment's own number changes with its own weight only, so raising one weight takes keys from the others and
//! moves none between them: from 90/10 to 80/20 a tenth of all keys moves, and all of it one way. Nothing is remembered
//! and every router chooses alike. In integers, because routers must not differ in the last bit.

use crate::{
    id::Digest,
    model::{DeploymentName, EndpointName},
};

/// Bits behind the point of a logarithm.
const FRACTION: u32 = 32;

/// Returns the position of the deployment that the key belongs to; nothing when no weight is positive.
pub fn choose(endpoint: &EndpointName, shares: &[(DeploymentName, u32)], key: &[u8]) -> Option<usize> {
    let weighted = shares.iter().enumerate().filter(|(_, (_, weight))| *weight > 0);
    let mut drawn = weighted.map(|(at, (name, weight))| (draw(endpoint, name, key), u128::from(*weight), at));
    let first = drawn.next()?;
    // Compared as fractions, crosswise, so that nothing is rounded away.
    let nearer = |a: (u128, u128, usize), b: (u128, u128, usize)| if b.0 * a.1 < a.0 * b.1 { b } else { a };
    Some(drawn.fold(first, nearer).2)
}

/// Draws a deployment's number for a key: exponentially distributed, which is what makes the smallest of several
/// stretched ones fall to each in proportion to its weight.
fn draw(endpoint: &EndpointName, deployment: &DeploymentName, key: &[u8]) -> u128 {
    // Names hold no zero byte, so no two lists of parts read the same.
    let text = [endpoint.as_str().as_bytes(), &[0], deployment.as_str().as_bytes(), &[0], key].concat();
    let uniform = u64::from_le_bytes(Digest::of(&text).0[..8].try_into().unwrap_or_default());
    u128::from(minus_log2(uniform))
}

/// Returns `-log2(uniform / 2^64)` with [`FRACTION`] bits behind the point.
fn minus_log2(uniform: u64) -> u64 {
    let uniform = uniform.max(1);
    let whole = uniform.ilog2();
    // The mantissa in [1, 2), with 63 bits behind the point: each squaring yields one bit of its logarithm.
    let mut mantissa = uniform << (63 - whole);
    let mut log = u64::from(whole);
    for _ in 0..FRACTION {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carries = square >> 64 != 0;
        mantissa = (square >> u32::from(carries)) as u64;
        log = (log << 1) | u64::from(carries);
    }
    (64 << FRACTION) - log
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(weights: &[u32]) -> Vec<(DeploymentName, u32)> {
        let name = |at: usize| DeploymentName::new(&format!("dep{at}")).expect("a valid name");
        weights.iter().enumerate().map(|(at, weight)| (name(at), *weight)).collect()
    }

    fn chosen(weights: &[u32], key: u32) -> Option<usize> {
        choose(&EndpointName::new("fraud").expect("a valid name"), &shares(weights), &key.to_le_bytes())
    }

    #[test]
    fn a_tenth_of_the_keys_moves_from_90_10_to_80_20_and_none_comes_back() {
        let (mut moved, mut green) = (0, 0);
        for key in 0..20_000 {
            let (before, after) = (chosen(&[90, 10], key), chosen(&[80, 20], key));
            green += u32::from(after == Some(1));
            if before != after {
                assert_eq!((before, after), (Some(0), Some(1)));
                moved += 1;
            }
        }
        // Three standard deviations of 20,000 draws are 128 and 170.
        assert!((1_870..=2_130).contains(&moved), "{moved}");
        assert!((3_830..=4_170).contains(&green), "{green}");
    }

    proptest! {
        /// Whatever the weights, raising one of them moves keys to it and nowhere else.
        #[test]
        fn raising_one_weight_moves_keys_to_it_alone(
            mut weights in prop::collection::vec(0..=100_u32, 1..6),
            at in any::<prop::sample::Index>(),
            more in 1..=100_u32,
            key in any::<u32>(),
        ) {
            let at = at.index(weights.len());
            let before = chosen(&weights, key);
            weights[at] += more;
            let after = chosen(&weights, key);
            prop_assert!(after == before || after == Some(at), "{before:?} to {after:?}");
        }
    }

    #[test]
    fn logarithms_are_exact_where_they_are_known() {
        for (uniform, log) in [
            (1, 64 << FRACTION),
            (0, 64 << FRACTION),
            (1 << 63, 1 << FRACTION),
            (1 << 32, 32 << FRACTION),
            // -log2(3/4) = 0.41503749…
            (3 << 62, 1_782_572_486),
        ] {
            assert!(minus_log2(uniform).abs_diff(log) <= 4, "{uniform}: {}", minus_log2(uniform));
        }
    }

    #[test]
    fn without_weight_there_is_no_choice() {
        assert_eq!(chosen(&[], 1), None);
        assert_eq!(chosen(&[0, 0], 1), None);
        assert_eq!(chosen(&[0, 1], 1), Some(1));
    }
}
