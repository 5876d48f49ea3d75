//! What a plan is: cases kept as files (`golden`), and laws that hold for all of them (`laws`), carried out on a small
//! model of the engine (`model`).

#[cfg(test)]
mod golden;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod model;
#[cfg(test)]
mod preflight;
#[cfg(test)]
mod rules;
