//! XIDs: what the driver reports of a GPU, and whose fault each is.
//!
//! The classes follow the immediate action that NVIDIA's own catalogue names for each XID
//! (<https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html>): where it says to restart the application,
//! the application is at fault; where it says to reset the GPU or the machine, or to call support, the device is. What
//! is in neither list is told as an event and condemns nothing: a driver may learn to say new things.

use std::fmt;

/// Whose fault an XID is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum XidClass {
    /// The program's: a replica crashed, its device is sound.
    Application,
    /// The device's: whatever runs on it has to leave.
    Device,
    /// Nobody's that is known: told, and nothing else.
    Other,
}

/// XIDs of known class, in order, with what they mean.
const KNOWN: &[(u32, XidClass, &str)] = &[
    (8, XidClass::Application, "a kernel ran for too long"),
    (11, XidClass::Application, "an invalid command stream"),
    (13, XidClass::Application, "an exception of the program's kernel"),
    (31, XidClass::Application, "a memory access outside of what the program holds"),
    (43, XidClass::Application, "the program's work was stopped after a fault of its own"),
    (45, XidClass::Application, "the program's work was cleaned up"),
    (46, XidClass::Device, "the GPU stopped processing"),
    (48, XidClass::Device, "a memory error that could not be corrected"),
    (54, XidClass::Device, "the auxiliary power is not connected"),
    (61, XidClass::Device, "an internal controller hit a breakpoint"),
    (62, XidClass::Device, "an internal controller halted"),
    (63, XidClass::Other, "a bad memory row was replaced"),
    (64, XidClass::Device, "a bad memory row could not be replaced"),
    (68, XidClass::Application, "an exception of the video decoder"),
    (69, XidClass::Application, "an exception of the graphics engine's class"),
    (74, XidClass::Device, "an error of the link between GPUs"),
    (79, XidClass::Device, "fell off the bus"),
    (92, XidClass::Other, "many corrected memory errors"),
    (94, XidClass::Application, "a memory error that was contained to the program"),
    (95, XidClass::Device, "a memory error that was not contained"),
    (109, XidClass::Application, "a switch between programs took too long"),
    (110, XidClass::Device, "a security fault"),
    (119, XidClass::Device, "the GPU's own processor does not answer"),
    (120, XidClass::Device, "the GPU's own processor failed"),
    (140, XidClass::Device, "a memory error that was not recovered"),
    (143, XidClass::Device, "the GPU could not be initialised"),
];

/// Returns whose fault an XID is.
pub fn xid_class(xid: u32) -> XidClass {
    known(xid).map_or(XidClass::Other, |(_, class, _)| *class)
}

/// Puts an XID into words: `XID 79: fell off the bus`.
pub fn xid_text(xid: u32) -> String {
    match known(xid) {
        Some((_, _, meaning)) => format!("XID {xid}: {meaning}"),
        None => format!("XID {xid}"),
    }
}

fn known(xid: u32) -> Option<&'static (u32, XidClass, &'static str)> {
    KNOWN.binary_search_by_key(&xid, |(code, ..)| *code).ok().map(|at| &KNOWN[at])
}

// === impl XidClass ===

impl XidClass {
    /// Returns the word people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Device => "device",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for XidClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_so_that_each_is_found() {
        assert!(KNOWN.is_sorted_by(|a, b| a.0 < b.0));
        for (xid, class, meaning) in KNOWN {
            assert_eq!(xid_class(*xid), *class);
            assert_eq!(xid_text(*xid), format!("XID {xid}: {meaning}"));
        }
    }

    #[test]
    fn a_programs_own_faults_never_condemn_a_device() {
        for (xid, class) in [
            (13, XidClass::Application),
            (31, XidClass::Application),
            (43, XidClass::Application),
            (45, XidClass::Application),
            (48, XidClass::Device),
            (79, XidClass::Device),
            (95, XidClass::Device),
            (119, XidClass::Device),
            (63, XidClass::Other),
            (9_999, XidClass::Other),
        ] {
            assert_eq!(xid_class(xid), class, "XID {xid}");
        }
    }
}
