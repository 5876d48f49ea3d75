//! Files that SOPS has encrypted for age, opened in memory: nothing is run, and nothing is written.
//!
//! The form is that of SOPS 3 (github.com/getsops/sops): a document whose values are `ENC[AES256_GCM,…]`, beside `sops`,
//! which holds the data key, once for each recipient, and a MAC over all values. Read are YAML, JSON, dotenv, INI,
//! and binary, which is a JSON document around the file's bytes; which it is, the name of the file says, as SOPS has it.
//!
//! ```text
//! bytes ─ document ─► trees, metadata ─ key (age) ─► data key ─ cipher ─► values, MAC ─ document ─► bytes
//! ```
//!
//! What comes out is equal as data to what `sops decrypt` prints; comments and the layout of YAML and INI are not kept.

mod cipher;
mod document;
mod dotenv;
mod ini;
mod key;
mod tree;

use crate::domain::SecretBytes;
use crate::ports::{DecryptError, Decrypter, Opened};

use document::Document;

/// Opens files that SOPS has encrypted.
#[derive(Debug, Clone, Copy, Default)]
pub struct SopsFiles;

impl Decrypter for SopsFiles {
    fn is_encrypted(&self, path: &str, bytes: &[u8]) -> bool {
        document::is_encrypted(path, bytes)
    }

    fn decrypt(&self, path: &str, bytes: &[u8], identity: &SecretBytes) -> Result<Opened, DecryptError> {
        let mut document = Document::read(path, bytes)?;
        let key = key::data_key(&document.metadata, identity)?;
        let values = cipher::open(&mut document.trees, &document.metadata, &key)?;
        Ok(Opened { bytes: document.write()?, values })
    }
}
