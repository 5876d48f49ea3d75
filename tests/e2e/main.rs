//! End to end: the real binary, the real Swarm of this machine, git over HTTP. It waits on subscriptions, not on sleeps.
//!
//! One Skep serves all tests that run at a time, because it claims the Swarm: see [`support::hive`]. Every test has a stack
//! of its own, under a name of its own, and removes it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test: what is not there fails it")]

#[expect(dead_code, unreachable_pub, reason = "the tests of the source use the rest of it")]
#[path = "../support/git_http.rs"]
mod git_http;
#[expect(dead_code, unreachable_pub, reason = "the tests of the source use the rest of it")]
#[path = "../support/git_ssh.rs"]
mod git_ssh;
mod support;
#[path = "../support/way.rs"]
mod way;

mod adopt;
mod bad_input;
mod catalog;
mod delete;
mod drift;
mod examples;
mod image;
mod install;
mod kill;
mod logs;
mod ownership;
mod pin;
mod preempt;
mod relay;
mod rollback;
mod versions;
