//! Tests of the simulator, and of everything else through it.

mod cluster;
mod mutants;
mod packing;
mod seeds;
mod stories;
