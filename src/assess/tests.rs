//! What is said of deployments, as scenes: services, their tasks, and the time in seconds after the start.

mod blame;
mod classify;
mod ending;
mod jobs;
mod scene;
mod verdicts;
