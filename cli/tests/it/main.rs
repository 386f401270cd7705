//! The binary as people use it: arguments in, text and exit codes out.

mod alerts;
mod berth;
mod dashboard;
mod days;
mod docs;
mod examples;
mod get;
mod join;
mod log_files;
mod pack;
mod packaging;
mod plan;
mod programs;
mod quota;
mod restore;
mod scrape;
mod select;
mod steady;
mod story;
mod terminal;
mod usage;
mod verbs;
