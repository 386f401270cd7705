//! Two hundred storing processes killed in the middle of it.

use std::{thread, time::Duration};

use tempfile::TempDir;

use crate::store_child::{Promised, Storing, verify};

/// Enough to hit every step of an append, a snapshot and a purge several times.
const ROUNDS: u64 = 200;

#[test]
fn what_was_acknowledged_survives_kill() {
    let dir = TempDir::new().unwrap();
    let mut promised = Promised::default();
    for round in 0..ROUNDS {
        let mut child = Storing::start(dir.path(), promised);
        // A child that cannot read what it was promised says nothing and ends: the check below shows why.
        child.listen(&mut promised, 1 + (round % 7) as usize);
        // Where within the next write the kill falls is left to chance on purpose.
        thread::sleep(Duration::from_micros(round * 7919 % 5000));
        child.kill(&mut promised);
        if promised.vote <= round {
            verify(dir.path(), promised);
            panic!("round {round}: the child did not even vote, {promised:?}");
        }
    }
    verify(dir.path(), promised);
    assert!(promised.entries > ROUNDS && promised.snapshot > 0, "{promised:?}");
}
