//! End to end: the real binary, the real Swarm of this machine, git over HTTP. It waits on subscriptions, not on sleeps.
//!
//! One Skep serves all tests that run at a time, because it claims the Swarm: see [`support::hive`]. Every test has a stack
//! of its own, under a name of its own, and removes it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test: what is not there fails it")]

#[expect(dead_code, unreachable_pub, reason = "another test uses the rest of it")]
#[path = "../support/collector.rs"]
mod collector;
#[expect(unreachable_pub, reason = "shared with the tests of logins")]
#[path = "../support/registry.rs"]
mod docker_registry;
#[expect(dead_code, reason = "benches use the rest of it")]
#[path = "../support/engine_proxy.rs"]
mod engine_proxy;
#[path = "../support/failure_table.rs"]
mod failure_table;
#[expect(dead_code, unreachable_pub, reason = "the tests of the source use the rest of it")]
#[path = "../support/git_http.rs"]
mod git_http;
#[expect(dead_code, unreachable_pub, reason = "the tests of the source use the rest of it")]
#[path = "../support/git_ssh.rs"]
mod git_ssh;
#[expect(dead_code, unreachable_pub, reason = "the tests of the notifiers use the rest of it")]
#[path = "../support/receiver.rs"]
mod receiver;
mod support;
#[path = "../support/way.rs"]
mod way;

mod adopt;
mod bad_input;
mod catalog;
mod delete;
mod drift;
mod examples;
mod failures;
mod faults;
mod image;
mod install;
mod jobs;
mod kill;
mod kill_points;
mod logs;
mod lost;
mod nodes;
mod notified;
mod observed;
mod ownership;
mod pin;
mod preempt;
mod proxied;
mod registry;
mod relay;
mod rollback;
mod terminal;
#[path = "../support/tty.rs"]
mod tty;
mod versions;
