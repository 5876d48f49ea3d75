//! The command line against a scripted server, and its documents against the schema.

mod documents;
mod ends;
mod fake;
mod forms;
mod hooks;
pub(in crate::cli) mod sample;
