//! The way out: which addresses may be connected to, and how ssh is run with a credential. Shared by the adapters that
//! connect to what input can name.

mod address;
mod folder;
pub mod ssh;

pub use address::{Barred, Names, Outbound, Reach, SystemNames, is_public};
pub use folder::tidy;
