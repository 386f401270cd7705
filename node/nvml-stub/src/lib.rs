//! A stand-in for `libnvidia-ml.so`: the C interface of NVML over devices that a script describes.
//!
//! Whoever loads it cannot tell it from the driver's library: it answers the symbols that `nvml-wrapper` resolves for
//! what Berth asks, with NVML's own types and error codes. What it answers stands in a text file beside the library,
//! `gpus.ini`, which is read again at every call: so each copy of the library is its own host, needs no variable of
//! the process, and changes while it is used. See [`script`] for the form.

pub mod abi;
mod event;
mod place;
mod script;
