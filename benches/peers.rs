//! The same upgrade of five services, and the same bad image, by Skep and by others, in one run on one engine.
//!
//! `SKEP_PEER_DOCKER=/path/to/docker SKEP_PEER_SHEPHERD=/path/to/shepherd SKEP_PEER_GANTRY=/path/to/gantry/src/entrypoint.sh
//! cargo bench --bench peers -- [--docker unix:///…] --skep PATH`
//!
//! The docker CLI has to be 26 or newer, for `stack deploy --detach=false`. A peer that is missing is said to be missing.

#[path = "figures/mod.rs"]
mod figures;

fn main() {
    figures::run("peers");
}
