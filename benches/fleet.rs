//! How long do many new stacks take, and how much memory, against a bare loop that makes the same calls?
//!
//! `cargo bench --bench fleet -- [--sizes 100,500,1000] [--docker unix:///…] [--skep PATH]`

#[path = "figures/mod.rs"]
mod figures;

fn main() {
    figures::run("fleet");
}
