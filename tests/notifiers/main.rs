//! Notifiers of a running server, without an engine: a receiver on loopback records, refuses, asks for time and hangs; the
//! server is killed between, and started again.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

#[path = "../support/git_http.rs"]
pub mod git_http;
#[path = "../support/receiver.rs"]
pub mod receiver;
#[path = "../support/serving.rs"]
pub mod serving;
#[path = "../support/tls_front.rs"]
pub mod tls_front;

mod forms;
mod reach;
mod server;
mod telling;
