//! The one way TLS is spoken: towards callers of an ingress, between nodes, and with coordinators.
//!
//! It lies where everybody who speaks can reach it. What is here is the same at both ends: files and their renewal, whom to
//! believe, and the words for an end that does not agree.

mod authority;
mod channel;
mod fault;
mod files;
pub mod pem;
mod server;
mod trust;

pub use authority::{AUTHORITY_PAGE, ask_authority, authority_hash};
pub use channel::channel;
pub use fault::fault;
pub use files::{Look, Stamp, TlsFiles, Watch, is_read_by_others, stamp, warn_of_readers};
pub use server::{Audience, Server, ServerFiles};
pub use trust::{Inside, Trust, TrustFiles};
