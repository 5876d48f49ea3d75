//! Load for as long as one likes: mutations, subscriptions, hooks and faults together. Is memory flat, is nothing leaked?
//!
//! `SKEP_LOAD_MINUTES=60 cargo bench --bench load -- [--stacks 40] [--docker unix:///…] [--skep PATH]`

#[path = "figures/mod.rs"]
mod figures;

fn main() {
    figures::run("load");
}
