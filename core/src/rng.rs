//! Chance as an argument: a tree of named generators.
//!
//! Each use draws from a child named after its purpose, so that one new draw somewhere does not shift every other
//! decision of a seed. The algorithm is ChaCha8, named because replays must give the same numbers on every build.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use sha2::{Digest, Sha256};

/// A node of the seed tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedTree([u8; 32]);

/// A generator drawn from a [`SeedTree`].
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

// === impl SeedTree ===

impl SeedTree {
    /// Creates the root of a tree.
    pub fn new(seed: u64) -> Self {
        Self(Sha256::digest(seed.to_le_bytes()).into())
    }

    /// Creates a root from full entropy, as a production shell does.
    pub fn from_entropy(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the child called `name`.
    #[must_use]
    pub fn child(&self, name: impl AsRef<[u8]>) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(name.as_ref());
        Self(hash.finalize().into())
    }

    /// Returns the generator of this node.
    pub fn rng(&self) -> Rng {
        Rng(ChaCha8Rng::from_seed(self.0))
    }
}

// === impl Rng ===

impl Rng {
    /// Draws any 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draws a number below `bound`; zero when `bound` is zero. The bias of the multiply-shift is below 2⁻³².
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Draws true with a chance of `permille` in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// Picks one of `items`.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_draw_in_a_child_leaves_its_sibling_alone() {
        let tree = SeedTree::new(7);
        let before = tree.child("b").rng().next_u64();
        let mut a = tree.child("a").rng();
        a.next_u64();
        assert_eq!(tree.child("b").rng().next_u64(), before);
        assert_ne!(tree.child("a").rng().next_u64(), before);
    }

    #[test]
    fn the_algorithm_is_pinned() {
        assert_eq!(SeedTree::new(1).rng().next_u64(), 18_329_417_578_430_451_985);
    }

    #[test]
    fn below_keeps_its_bound() {
        let mut rng = SeedTree::new(3).rng();
        assert!((0..1_000).all(|_| rng.below(10) < 10));
        assert_eq!(rng.below(0), 0);
    }
}
