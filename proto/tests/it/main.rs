//! Tests of what is stored and sent, through the public interface, in one binary to save linking.

mod any;
mod comments;
mod garbage;
mod golden;
mod json;
mod protos;
mod round_trip;
mod samples;
mod tls;
