//! Shares of a device's memory: what a replica uses beside what it was given.
//!
//! Nothing in a driver keeps a program to a share, so the share is a rule that is watched. Whole devices and MIG slices
//! need no watching: nobody else is on them, or the hardware bounds them.

use std::{collections::BTreeMap, fmt};

use crate::{model::DeviceGrant, units::Mib};

/// A share that is exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    used_mib: u64,
    share_mib: u64,
}

/// Returns the share that is exceeded furthest, if any is. Use is counted by card: of a slice it says nothing, because
/// its processes are listed under the card it is cut from.
pub(super) fn exceeded(grants: &[DeviceGrant], used: &BTreeMap<String, u64>) -> Option<Excess> {
    let excess = |grant: &DeviceGrant| {
        let (share_mib, used_mib) = (grant.memory_mib?, *used.get(&grant.uuid)?);
        (used_mib > share_mib).then_some(Excess { used_mib, share_mib })
    };
    grants.iter().filter_map(excess).max_by_key(|excess| excess.used_mib - excess.share_mib)
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "used {} of its {} share of GPU memory", Mib(self.used_mib), Mib(self.share_mib))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exceeded_by_what_is_on_its_own_card() {
        let grant = |uuid: &str, memory_mib| DeviceGrant { uuid: uuid.to_owned(), memory_mib };
        for (grants, used, expected, why) in [
            (vec![grant("A", Some(6_144))], vec![("A", 6_144)], None, "all of it is its own"),
            (vec![grant("A", Some(6_144))], vec![("A", 9_320)], Some("9.1 GiB of its 6 GiB"), "more is not"),
            (vec![grant("A", Some(6_144))], vec![("B", 9_318)], None, "another card is not its share"),
            (vec![grant("A", None)], vec![("A", 81_000)], None, "a whole device has no bound"),
            (vec![grant("A", Some(6_144))], vec![], None, "it uses none"),
            (vec![], vec![("A", 9_318)], None, "it was given none"),
            (vec![grant("MIG-1", Some(10_240))], vec![("A", 81_000)], None, "the hardware bounds a slice"),
        ] {
            let used = used.into_iter().map(|(uuid, mib)| (uuid.to_owned(), mib)).collect();
            let said = exceeded(&grants, &used).map(|excess| excess.to_string());
            assert_eq!(said, expected.map(|text| format!("used {text} share of GPU memory")), "{why}");
        }
    }
}
