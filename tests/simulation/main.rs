//! The controller in a simulated world, in virtual time: what it promises, as scenarios.
//!
//! `world` puts a controller between a simulated Swarm, repositories and a store in memory; `gate` stands between them and
//! lets it crash. After every scenario the laws of `World::laws` are checked.
#![expect(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test")]

mod control;
mod converging;
mod crashing;
mod credentials;
mod drifting;
mod failing;
mod following;
mod gate;
mod modes;
mod outages;
mod preempting;
mod storms;
mod world;
