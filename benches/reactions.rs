//! How soon does Skep react to a foreign change, to a failure, to the last task that became healthy?
//!
//! `cargo bench --bench reactions -- [--rounds 60] [--docker unix:///…] [--skep PATH]`

#[path = "figures/mod.rs"]
mod figures;

fn main() {
    figures::run("reactions");
}
