//! Traffic: what a router needs to know, and every choice it makes with it.

pub mod table;
