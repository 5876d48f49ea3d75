//! Adapters of the port `Source`, and of `Decrypter` for what is encrypted in a repository.

pub mod git;
#[cfg(any(test, feature = "sim"))]
pub mod memory;
pub mod sops;
