//! Whole schedules in virtual time: the real controller, planner and use-cases between simulated Swarms, repositories and a
//! store in memory, with everything going wrong that can. Every promise is checked at every step.
//!
//! ```text
//! seed ─► schedule (acts, as data) ─► play ─► world (Swarms, store, lives of Skep) ─► outcome
//!              ▲                        │        │ every call and commit goes through the gate
//!              └── shrink ◄── a breach ◄┴────────┴─► invariants (the promises)
//! ```
//!
//! A schedule is made from its seed alone, before anything runs, so that acts can be left out of it and the rest means the
//! same: that is how a failing one is shrunk. `skep simulate --seed N` tells one as a story.

pub mod draft;
pub mod gate;
pub mod invariants;
mod play;
pub mod schedule;
mod settle;
mod shrink;
pub mod soak;
pub mod story;
mod world;

pub use play::{Outcome, play};
pub use schedule::Schedule;
pub use shrink::shrink;
