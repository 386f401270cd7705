//! The SDK against members that fail on purpose.

mod calls;
mod fake;
mod infer;
mod upload;
mod watch;
