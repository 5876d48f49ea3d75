//! The command line against a scripted server.

pub(in crate::cli) mod sample;
