//! How many deliveries of hooks are recorded in a second, each durable before it is answered, against the bare store?
//!
//! `cargo bench --bench hooks -- [--clients 64] [--each 100] [--docker unix:///…] [--skep PATH]`

#[path = "figures/mod.rs"]
mod figures;

fn main() {
    figures::run("hooks");
}
