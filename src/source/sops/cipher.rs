//! Values, opened one by one, and the MAC over all of them.
//!
//! A value is bound to its place: the keys that lead to it, each followed by a colon, are authenticated with it. The MAC is
//! SHA-512 over the bytes of all values in the order of the file, encrypted itself and bound to the time of the last change.
//! An empty text stays empty. Nulls and comments are not in the MAC.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::key::LENGTH;
use super::tree::{Entries, Tree};
use crate::domain::SecretBytes;
use crate::ports::DecryptError;

/// SOPS's nonces are longer than usual.
type Cipher = AesGcm<Aes256, U32>;

const NONCE: usize = 32;

/// What the MAC begins with where only encrypted values are in it: SHA-256 of `sops`.
const ENCRYPTED_ONLY: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Opens every value in place, and makes sure that all of it is as it was written. Gives the values that were encrypted.
pub(super) fn open(
    trees: &mut [Entries],
    metadata: &Tree,
    key: &Zeroizing<[u8; LENGTH]>,
) -> Result<Vec<SecretBytes>, DecryptError> {
    let only_encrypted = match metadata.get("mac_only_encrypted") {
        Some(Tree::Bool(value)) => *value,
        Some(Tree::Text(text)) => text.as_str() == "true",
        _ => false,
    };
    let cipher = Cipher::new_from_slice(key.as_slice())
        .map_err(|_| DecryptError::Malformed("its data key has not the right length".to_owned()))?;
    let mut walk = Walk { cipher, hash: Sha512::new(), only_encrypted, path: Vec::new(), values: Vec::new() };
    if only_encrypted {
        walk.hash.update(ENCRYPTED_ONLY);
    }
    for entries in trees {
        walk.entries(entries)?;
    }
    walk.verify(metadata)?;
    Ok(walk.values)
}

struct Walk {
    cipher: Cipher,
    hash: Sha512,
    only_encrypted: bool,
    path: Vec<String>,
    values: Vec<SecretBytes>,
}

impl Walk {
    fn entries(&mut self, entries: &mut Entries) -> Result<(), DecryptError> {
        for (key, value) in entries {
            self.path.push(key.clone());
            self.value(value)?;
            self.path.pop();
        }
        Ok(())
    }

    /// Items of a list have the place of the list.
    fn value(&mut self, tree: &mut Tree) -> Result<(), DecryptError> {
        match tree {
            Tree::Null => {}
            Tree::Map(entries) => self.entries(entries)?,
            Tree::List(items) => items.iter_mut().try_for_each(|item| self.value(item))?,
            Tree::Text(text) => match Sealed::parse(text) {
                Some(sealed) => {
                    let clear = self.open(&sealed?, &self.bound())?;
                    self.hash.update(clear.as_slice());
                    self.values.push(SecretBytes::new(clear.to_vec()));
                    *tree = self.typed(text, clear)?;
                }
                None if !self.only_encrypted => self.hash.update(text.as_bytes()),
                None => {}
            },
            _ if self.only_encrypted => {}
            Tree::Bool(value) => self.hash.update(if *value { "True" } else { "False" }),
            Tree::Int(value) => self.hash.update(value.to_string()),
            Tree::Float(value) => self.hash.update(value.to_string()),
            Tree::Bytes(bytes) => self.hash.update(bytes.as_slice()),
        }
        Ok(())
    }

    /// What a value is bound to.
    fn bound(&self) -> String {
        self.path.iter().map(|key| format!("{key}:")).collect()
    }

    fn place(&self) -> String {
        format!("the value of `{}`", self.path.join("."))
    }

    fn open(&self, sealed: &Sealed, bound: &str) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let tampered = || DecryptError::Tampered { place: self.place() };
        let nonce = Nonce::<U32>::try_from(sealed.nonce.as_slice()).map_err(|_| tampered())?;
        let payload = Payload { msg: &sealed.data, aad: bound.as_bytes() };
        self.cipher.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| tampered())
    }

    /// A value as what it was before.
    fn typed(&self, sealed: &str, clear: Zeroizing<Vec<u8>>) -> Result<Tree, DecryptError> {
        let kind = sealed.rsplit_once(",type:").map_or("", |(_, kind)| kind.trim_end_matches(']'));
        let text = std::str::from_utf8(&clear).ok();
        let typed = match (kind, text) {
            ("str" | "bytes" | "time" | "comment", Some(text)) => Some(Tree::text(text)),
            ("str" | "bytes", None) => Some(Tree::Bytes(clear.clone())),
            ("int", Some(text)) => text.parse().ok().map(Tree::Int),
            ("float", Some(text)) => text.parse().ok().map(Tree::Float),
            ("bool", Some(text)) => text.to_ascii_lowercase().parse().ok().map(Tree::Bool),
            _ => None,
        };
        typed.ok_or_else(|| DecryptError::Malformed(format!("{} is of the unknown type `{kind}`", self.place())))
    }

    fn verify(&self, metadata: &Tree) -> Result<(), DecryptError> {
        let tampered = || DecryptError::Tampered { place: "the file".to_owned() };
        let text = |key| metadata.get(key).and_then(Tree::as_text);
        let (Some(mac), Some(changed)) = (text("mac"), text("lastmodified")) else { return Err(tampered()) };
        let sealed = Sealed::parse(mac).ok_or_else(tampered)?.map_err(|_| tampered())?;
        let mac = self.open(&sealed, changed).map_err(|_| tampered())?;
        let found: String = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02X}")).collect();
        if bool::from(found.as_bytes().ct_eq(mac.as_slice())) { Ok(()) } else { Err(tampered()) }
    }
}

/// `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.
struct Sealed {
    /// With the tag behind it.
    data: Vec<u8>,
    nonce: Vec<u8>,
}

impl Sealed {
    /// `None` for a text that is not encrypted.
    fn parse(text: &str) -> Option<Result<Self, DecryptError>> {
        let inside = text.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
        let part = |name: &str| {
            let value = inside.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix(':'))?;
            BASE64_STANDARD.decode(value).ok()
        };
        let whole = || {
            let (mut data, nonce, tag) = (part("data")?, part("iv")?, part("tag")?);
            data.extend(tag);
            (nonce.len() == NONCE).then_some(Self { data, nonce })
        };
        Some(whole().ok_or_else(|| DecryptError::Malformed("an encrypted value is cut off or damaged".to_owned())))
    }
}
