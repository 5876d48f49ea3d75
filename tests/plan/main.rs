//! What a plan is: cases kept as files (`golden`), and laws that hold for all of them (`laws`), carried out on a small
//! model of the engine (`model`).

mod golden;
mod laws;
mod model;
