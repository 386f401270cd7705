//! The agent with real processes, against coordinators made up here.

mod assets;
mod bench;
mod coordinator;
mod environment;
mod gpus;
mod hand_over;
mod life;
mod progress;
mod restart;
mod session;
