//! Process tests: what must go on while parts of a real cluster are killed, paused or cut off.

mod clients;
mod demo;
mod faults;
mod faults_start;
mod feed;
mod gpu;
mod hand_over;
mod kill;
mod mirror;
mod outage;
mod overload;
mod partition;
mod python;
mod reserve;
mod stop;
mod stranger;
mod tls;
mod tls_change_over;
mod tls_join;
mod traces;
mod tui;
mod upgrade;
mod walk;
mod writes;
mod zero_loss;

/// The binary every process of these tests runs.
const BERTH: &str = env!("CARGO_BIN_EXE_berth-under-test");
