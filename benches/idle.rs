//! What do many converged stacks cost: a round in which nothing has changed, and minutes in which nothing happens?
//!
//! `cargo bench --bench idle -- [--stacks 500] [--repositories 20] [--minutes 2] [--docker unix:///…] [--skep PATH]`

#[path = "figures/mod.rs"]
mod figures;

fn main() {
    figures::run("idle");
}
