//! Draws as Go's `math/rand` makes them from a seed.
//!
//! The published runs shuffle and draw their pods with it. With the same draws the same pods arrive in the same order,
//! so a policy's figures can be compared seed by seed and not by their spread alone.

use super::cooked::COOKED;

/// How far apart the two words stand that are added.
const TAP: usize = 273;
/// The modulus of the generator that fills the state from a seed: 2³¹ - 1.
const MODULUS: i64 = 0x7fff_ffff;
/// What stands for the seed zero.
const ZERO_SEED: i64 = 89_482_311;

/// An additive lagged Fibonacci generator.
pub(super) struct Draw {
    tap: usize,
    feed: usize,
    words: [u64; COOKED.len()],
}

// === impl Draw ===

impl Draw {
    /// Begins where the published runs with this seed begin to shuffle.
    pub(super) fn of(seed: u64) -> Self {
        let mut words = COOKED;
        let mut seed = match (seed as i64).rem_euclid(MODULUS) {
            0 => ZERO_SEED,
            seed => seed,
        };
        let mut next = || {
            // Park and Miller's, by Schrage's method.
            let (high, low) = (seed / 44_488, seed % 44_488);
            seed = (48_271 * low - 3_399 * high).rem_euclid(MODULUS);
            seed as u64
        };
        (0..20).for_each(|_| {
            next();
        });
        for word in &mut words {
            *word ^= (next() << 40) ^ (next() << 20) ^ next();
        }
        let mut draw = Self { tap: 0, feed: COOKED.len() - TAP, words };
        // The published runs draw once for their log before anything else.
        draw.bits();
        draw
    }

    /// Returns 63 bits.
    fn bits(&mut self) -> u64 {
        let back = |at: usize| at.checked_sub(1).unwrap_or(COOKED.len() - 1);
        (self.tap, self.feed) = (back(self.tap), back(self.feed));
        self.words[self.feed] = self.words[self.feed].wrapping_add(self.words[self.tap]);
        self.words[self.feed] & (u64::MAX >> 1)
    }

    /// Returns a number below `bound`, as `Intn` does.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let bound = bound.max(1);
        // The last numbers of all are left out, so that every remainder is as likely.
        let fair = (1 << 31) - (1 << 31) % bound;
        loop {
            let drawn = (self.bits() >> 32) as u32;
            if drawn < fair {
                return drawn % bound;
            }
        }
    }

    /// Shuffles as `Shuffle` does.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below_by_product(last as u32 + 1) as usize;
            items.swap(last, other);
        }
    }

    /// Returns a number below `bound` by multiplication, as shuffling draws it.
    fn below_by_product(&mut self, bound: u32) -> u32 {
        loop {
            let product = ((self.bits() >> 31) & u64::from(u32::MAX)) * u64::from(bound);
            if product as u32 >= bound.wrapping_neg() % bound {
                return (product >> 32) as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What Go 1.19 draws after `Seed`, without the first.
    #[test]
    fn draws_are_those_of_go() {
        let mut draw = Draw::of(42);
        assert_eq!([draw.bits(), draw.bits()], [608_747_136_543_856_411, 5_571_782_338_101_878_760]);
        assert_eq!(Draw::of(0).bits(), 2_259_404_117_704_393_152);
        let mut draw = Draw::of(42);
        let below: Vec<u32> = (0..5).map(|_| draw.below(8_152)).collect();
        assert_eq!(below, [4_315, 4_996, 1_382, 887, 5_857]);
    }

    #[test]
    fn everything_is_still_there_after_a_shuffle() {
        let mut items: Vec<u32> = (0..100).collect();
        Draw::of(7).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
