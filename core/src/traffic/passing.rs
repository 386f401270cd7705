//! How often one request is passed on among the processes of a node.
//!
//! A process that was taken over sends what still arrives there to the gate of the newer one. That gate has the address of
//! its own, so who takes the request is whoever accepts: the newest process, for a moment one that is being taken over
//! itself, or even the sender, where one of its cores was late to let go. Nothing in an address tells these apart. So the
//! request carries how often it was passed on, and one that goes round ends.

/// How often a request is passed on. Each process that was taken over while older ones still end is one more; four such
/// upgrades within the quarter of an hour that streams may take are more than anybody makes.
pub const HOPS_MAX: u64 = 4;

/// Returns what a request that came with this count carries on; nothing when it has been passed on often enough.
#[must_use = "a request that is refused here must not be passed on"]
pub fn hop(passed: u64) -> Option<u64> {
    (passed < HOPS_MAX).then(|| passed + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_round_ends() {
        for (passed, carries, why) in [
            (0, Some(1), "its caller knows of no newer process"),
            (1, Some(2), "the newer one is being taken over as well"),
            (HOPS_MAX - 1, Some(HOPS_MAX), "the last time"),
            (HOPS_MAX, None, "it goes round"),
            (u64::MAX, None, "another process's word is no reason to panic"),
        ] {
            assert_eq!(hop(passed), carries, "{why}");
        }
    }
}
