//! Event sets: which XIDs a listener has been told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::script::Script;

/// Every set that was made; freed ones leave a hole.
static SETS: Mutex<Vec<Option<Set>>> = Mutex::new(Vec::new());

/// One listener.
#[derive(Debug)]
struct Set {
    /// Events of the script that are older than this are not told.
    seen: usize,
    /// The devices it listens to.
    devices: Vec<String>,
}

fn sets() -> MutexGuard<'static, Vec<Option<Set>>> {
    SETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a set that hears what comes after now, and returns its handle, which is never zero.
pub(crate) fn create(script: &Script) -> usize {
    let mut sets = sets();
    sets.push(Some(Set { seen: script.xids.len(), devices: Vec::new() }));
    sets.len()
}

/// Lets a set hear of a device; false for a handle that is none.
pub(crate) fn listen(handle: usize, uuid: &str) -> bool {
    let mut sets = sets();
    let set = handle.checked_sub(1).and_then(|at| sets.get_mut(at)?.as_mut());
    set.map(|set| set.devices.push(uuid.to_owned())).is_some()
}

/// Frees a set; false for a handle that is none.
pub(crate) fn free(handle: usize) -> bool {
    let mut sets = sets();
    let slot = handle.checked_sub(1).and_then(|at| sets.get_mut(at));
    slot.is_some_and(|slot| slot.take().is_some())
}

/// Returns the next event a set has not been told: nothing yet, or an error for a handle that is none.
pub(crate) fn next(handle: usize, script: &Script) -> Result<Option<(u64, String)>, ()> {
    let mut sets = sets();
    let set = handle.checked_sub(1).and_then(|at| sets.get_mut(at)?.as_mut()).ok_or(())?;
    // A script that was written anew begins anew.
    set.seen = set.seen.min(script.xids.len());
    while let Some((xid, uuid)) = script.xids.get(set.seen) {
        set.seen += 1;
        if set.devices.contains(uuid) {
            return Ok(Some((*xid, uuid.clone())));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_told_what_came_after_it_and_once() {
        let event = |xid, uuid: &str| (xid, uuid.to_owned());
        let mut script = Script { xids: vec![event(1, "A")], ..Script::default() };
        let set = create(&script);
        assert!(listen(set, "A"));
        assert_eq!(next(set, &script), Ok(None));
        script.xids.extend([event(2, "B"), event(3, "A")]);
        assert_eq!(next(set, &script), Ok(Some(event(3, "A"))));
        assert_eq!(next(set, &script), Ok(None));
        assert!(free(set) && !free(set) && !listen(set, "A"));
        assert_eq!(next(set, &script), Err(()));
        assert_eq!(next(0, &script), Err(()));
    }
}
