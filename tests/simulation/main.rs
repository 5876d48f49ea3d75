//! The controller in a simulated world, in virtual time: what it promises, as scenarios.
//!
//! `world` puts a controller between a simulated Swarm, repositories and a store in memory; the gate of `skep::sim` stands
//! between them, lets it crash, and shows the laws all that goes through. `storms` plays whole seeded schedules.
#![expect(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test")]

#[path = "../support/sops.rs"]
mod encrypt;

mod adopting;
mod bad_input;
mod baking;
mod catalogs;
mod comparing;
mod confidential;
mod control;
mod converging;
mod counting;
mod crashing;
mod credentials;
mod drifting;
mod failing;
#[path = "../support/failure_table.rs"]
mod failure_table;
mod failures;
mod following;
mod housekeeping;
mod images;
mod isolation;
mod jobs;
mod logs;
mod modes;
mod outages;
mod preempting;
mod storms;
mod tags;
mod telling;
mod waiting;
mod waves;
mod way_back;
mod world;
