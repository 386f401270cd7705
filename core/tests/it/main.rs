//! Tests of the pure machines through their public interface, in one binary to save linking.

mod absence;
mod alert;
mod bad_input;
mod controller;
mod device;
mod disconnect;
mod drain;
mod health;
mod kit;
mod planner;
mod preempt;
mod quota;
mod reserve;
mod scheduler;
mod spread;
mod stand_in;
mod state;
mod upgrade;
mod verdict;
mod whatif;
