//! The binary as people use it: arguments in, text and exit codes out.

mod berth;
mod plan;
mod programs;
mod quota;
mod story;
mod usage;
