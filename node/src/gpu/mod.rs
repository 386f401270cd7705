//! GPUs: what a host has, how it is doing, and a host that only pretends.
//!
//! NVML is a library of C that may block for ever when a driver is sick, so everything is asked on a thread of its own
//! ([`GpuMonitor`]) and the rest of the node reads what that thread saw last, with its age. At most one thread is ever
//! stuck: none is started in its place.

pub mod fake;

mod look;
mod memory;
mod monitor;
mod share;

pub use look::{CardLook, Look, SliceLook};
pub(crate) use memory::{read_devices, write_devices};
pub use monitor::{Found, GpuMonitor, GpuView};
pub(crate) use share::keep_shares;
