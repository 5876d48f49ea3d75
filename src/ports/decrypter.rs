//! Files of a repository that are encrypted: recognised, and opened in memory.

use thiserror::Error;

use crate::domain::SecretBytes;

/// What was in an encrypted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The file as it was before it was encrypted.
    pub bytes: SecretBytes,
    /// The values that were encrypted, one by one: what has to be masked.
    pub values: Vec<SecretBytes>,
}

/// Why an encrypted file cannot be opened. Holds no value of it, and no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecryptError {
    /// It is not what the program writes.
    #[error("it is encrypted with SOPS, and cannot be read: {0}; make it anew with `sops encrypt`")]
    Malformed(String),
    /// Not for age.
    #[error(
        "it is encrypted with SOPS for {0}, and Skep opens age alone; add an age recipient: `sops rotate -i --add-age RECIPIENT FILE`"
    )]
    OtherKeys(String),
    /// Its key is split.
    #[error(
        "its key is split over groups (Shamir), and Skep opens one group alone; encrypt it without `--shamir-secret-sharing-threshold`"
    )]
    Split,
    /// For other age keys.
    #[error(
        "it is encrypted for {recipients}, and the identity opens {own}; name another credential, or add the recipient: `sops rotate -i --add-age {own} FILE`"
    )]
    WrongKey {
        /// Whom it is encrypted for.
        recipients: String,
        /// What the identity's recipients are.
        own: String,
    },
    /// The identity is none.
    #[error("the credential holds no age identity that can be used; give what `age-keygen` wrote")]
    Identity,
    /// What is written is not what was encrypted.
    #[error(
        "{place} does not match its authentication code: the file was changed without `sops`, or damaged; restore it, or edit it with `sops edit`"
    )]
    Tampered {
        /// The value, or the file.
        place: String,
    },
}

/// Opens encrypted files.
pub trait Decrypter: Send + Sync + 'static {
    /// Whether a file is encrypted. The path says in which form it is written.
    fn is_encrypted(&self, path: &str, bytes: &[u8]) -> bool;

    /// Opens an encrypted file with an age identity, in the form that `age-keygen` writes.
    ///
    /// # Errors
    /// [`DecryptError`].
    fn decrypt(&self, path: &str, bytes: &[u8], identity: &SecretBytes) -> Result<Opened, DecryptError>;
}
