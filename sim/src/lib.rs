//! Berth's simulator: the same four machines under a virtual clock, a fake network and planted faults.
