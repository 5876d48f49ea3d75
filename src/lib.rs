//! Skep keeps a Docker Swarm in the state that was declared.
//!
//! ```text
//! bin ─► app  (wiring, config, telemetry, shutdown)
//!         │
//!   ┌─────┴──────┬──────────────┬───────────────────────────────┐
//!   ▼            ▼              ▼                               ▼
//!  cli          api         controller                      adapters
//!                │              │                 swarm::docker · source::git · registry · store · seal · notify
//!                └─► declare    │                               │ implement
//!                       │       │                               ▼
//!                       └─► ledger ───────────────────────►   ports
//!                               │                               │
//!                    plan · assess · compose                    │   pure: values in, values out
//!                               └──────────────► domain ◄───────┘
//! ```
//!
//! Beside them: `relay` (the adapter that speaks to another Skep), `keys` (what key material looks like: values in, values out) and `outbound` (which addresses may be connected
//! to, and ssh with a credential), for `declare` and the adapters that go out; `telemetry` (what counts and traces the work),
//! for those that do it.
//!
//! Five minutes: [`domain::Stack`] → [`plan`] → [`assess`] → [`controller`] → `sim::invariants`, the promises (feature `sim`).

#[macro_use]
mod killed;
#[macro_use]
mod planted;

pub mod api;
pub mod app;
pub mod assess;
pub mod cli;
pub mod compose;
pub mod controller;
pub mod declare;
pub mod domain;
pub mod keys;
pub mod ledger;
pub mod notify;
pub mod outbound;
pub mod plan;
pub mod ports;
pub mod registry;
pub mod relay;
pub mod seal;
#[cfg(feature = "sim")]
pub mod sim;
pub mod source;
pub mod store;
pub mod swarm;
pub mod telemetry;
