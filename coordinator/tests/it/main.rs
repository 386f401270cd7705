//! The coordinator's integration tests, one binary so that everything is linked once.

mod store;
mod store_golden;
