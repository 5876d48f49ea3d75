//! How long does a change of an image take on a warm stack, from the mutation to the engine's acceptance?
//!
//! `cargo bench --bench change -- [--changes 200] [--docker unix:///…] [--skep PATH]`

#[path = "figures/mod.rs"]
mod figures;

fn main() {
    figures::run("change");
}
