//! Traffic: what a router needs to know, and every choice it makes with it.

pub mod absence;
pub mod acks;
pub mod admission;
pub mod balance;
pub mod budget;
pub mod change;
pub mod compare;
pub mod durations;
pub mod eject;
pub mod full;
pub mod hedge;
pub mod json;
pub mod load_report;
pub mod mirror;
pub mod pace;
pub mod passing;
pub mod pin;
pub mod retry;
pub mod search;
pub mod split;
pub mod status;
pub mod sticky;
pub mod table;
pub mod timeout;
pub mod trace;
pub mod upload;
