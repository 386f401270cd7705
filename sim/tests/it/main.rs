//! Tests of the simulator, and of everything else through it.

mod mutants;
mod packing;
mod seeds;
mod stories;
