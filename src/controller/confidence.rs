//! What a rendering is told in confidence: files that are encrypted in the repository, and values of credentials. Each is
//! opened with a credential that names the stack, and everything that comes out is remembered, to be masked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::compose::{Attachment, Confidential, ValueOf};
use crate::domain::{CredentialName, CredentialType, SecretBytes, StackKey};
use crate::ports::{Decrypter, Keyring};

/// What has been opened for one rendering.
pub(super) struct Confidence<'a> {
    decrypter: &'a dyn Decrypter,
    keyring: &'a dyn Keyring,
    stack: &'a StackKey,
    /// The credential that opens files.
    credential: Option<&'a CredentialName>,
    /// What was found so far.
    pub(super) found: Confidential,
}

impl<'a> Confidence<'a> {
    /// Nothing is opened yet.
    pub(super) fn new(
        decrypter: &'a dyn Decrypter,
        keyring: &'a dyn Keyring,
        stack: &'a StackKey,
        credential: Option<&'a CredentialName>,
    ) -> Self {
        Self { decrypter, keyring, stack, credential, found: Confidential::default() }
    }

    /// The files, those that are encrypted opened, or with the reason why they cannot be.
    pub(super) fn opened(&mut self, files: BTreeMap<String, Attachment>) -> BTreeMap<String, Attachment> {
        files.into_iter().map(|(path, file)| (path.clone(), file.and_then(|bytes| self.file(path, bytes)))).collect()
    }

    fn file(&mut self, path: String, bytes: Arc<[u8]>) -> Attachment {
        if !self.decrypter.is_encrypted(&path, &bytes) {
            return Ok(bytes);
        }
        let opened = self
            .identity()
            .and_then(|identity| self.decrypter.decrypt(&path, &bytes, &identity).map_err(|error| error.to_string()));
        self.found.files.insert(path);
        let opened = opened?;
        self.found.values.extend(opened.values);
        Ok(Arc::from(opened.bytes.expose()))
    }

    /// What opens the files of this stack.
    fn identity(&self) -> Result<SecretBytes, String> {
        let Some(name) = self.credential else {
            let hint = "name the credential of type Age that opens it: `decryption: { credential: NAME }`";
            return Err(format!("it is encrypted with SOPS, and the stack says nothing of how to open it; {hint}"));
        };
        let open = self.keyring.open_as(name, &[CredentialType::Age]).map_err(|error| error.to_string())?;
        open.for_stack(self.stack).map_err(|error| error.to_string())?;
        open.data.get("identity").cloned().ok_or_else(|| format!("the credential `{name}` holds no `identity`"))
    }

    /// Adds values of credentials. Gives `false` when all were there already.
    pub(super) fn take(&mut self, wanted: BTreeSet<ValueOf>) -> bool {
        let before = self.found.credentials.len();
        for wanted in wanted {
            let value = self.value(&wanted);
            if let Ok(value) = &value {
                self.found.values.push(value.clone());
            }
            self.found.credentials.insert(wanted, value);
        }
        self.found.credentials.len() > before
    }

    fn value(&self, wanted: &ValueOf) -> Result<SecretBytes, String> {
        let name = &wanted.credential;
        let open = self.keyring.open_as(name, &[CredentialType::Opaque]).map_err(|error| error.to_string())?;
        open.for_stack(self.stack).map_err(|error| error.to_string())?;
        let found = match (&wanted.key, open.data.len()) {
            (Some(key), _) => open.data.get(key),
            (None, 1) => open.data.values().next(),
            (None, _) => None,
        };
        found.cloned().ok_or_else(|| {
            let known: Vec<String> = open.data.keys().map(|key| format!("`{key}`")).collect();
            let known = known.join(", ");
            match &wanted.key {
                Some(key) => format!("the credential `{name}` holds no `{key}`; it holds {known}"),
                None => format!("the credential `{name}` holds more than one value; say which with `key`: {known}"),
            }
        })
    }
}
