//! Tests of the simulator, and of everything else through it.

mod mutants;
mod seeds;
mod stories;
