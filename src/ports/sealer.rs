//! Sealing of what must not be readable on disk.

use thiserror::Error;

use crate::domain::{Digester, Sealed, SecretBytes};

/// The variable that may hold the installation's key. No program that Skep starts gets to see it.
pub const KEY_VARIABLE: &str = "SKEP_SEAL_KEY";

/// Why something sealed could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// Another key, or damaged bytes.
    #[error(
        "a sealed value cannot be opened: it was sealed with another key, or is damaged; restore the key file that belongs to this data folder"
    )]
    Unreadable,
    /// No randomness.
    #[error("the system gave no random bytes")]
    Entropy,
}

/// Seals and opens with the installation's key.
pub trait Sealer: Send + Sync + 'static {
    /// Seals a value.
    ///
    /// # Errors
    /// [`SealError::Entropy`] when the system has no random bytes.
    fn seal(&self, clear: &[u8]) -> Result<Sealed, SealError>;
    /// Opens a sealed value.
    ///
    /// # Errors
    /// [`SealError::Unreadable`] when it was sealed with another key or is damaged.
    fn open(&self, sealed: &Sealed) -> Result<SecretBytes, SealError>;
    /// Seals a large document, such as a kept file, as bytes: what [`Sealer::open_bytes`] takes. An adapter does this
    /// without the third that base64 adds.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    fn seal_bytes(&self, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealed = self.seal(clear)?;
        Ok(format!("{}\n{}", sealed.digest, sealed.sealed).into_bytes())
    }
    /// Opens what [`Sealer::seal_bytes`] of the same adapter made.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    fn open_bytes(&self, sealed: &[u8]) -> Result<SecretBytes, SealError> {
        let (digest, sealed) =
            std::str::from_utf8(sealed).ok().and_then(|text| text.split_once('\n')).ok_or(SealError::Unreadable)?;
        self.open(&Sealed { digest: digest.to_owned().into(), sealed: sealed.to_owned() })
    }
    /// Makes keyed digests with a key of this installation.
    fn digester(&self) -> Digester;
}
