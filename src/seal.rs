//! Sealing with the installation's key: what makes the data folder worthless without `seal.key`?
//!
//! The key file holds 32 random bytes, as one line of base64, readable by its owner only. No bytes of it are used
//! directly: the keys for sealing and for digesting are derived from it (HMAC-SHA-256 over a label), so that neither says
//! anything about the other. Sealing is XChaCha20-Poly1305 with a random nonce of 24 bytes for each seal.
//!
//! After a [rotation](rotate) the file has more lines: `digest KEY` names the key that digests are made with (the first
//! one there ever was, because names of objects are made of digests), and while a rotation is under way `old KEY` names
//! one that still opens.

mod rotate;
mod source;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::domain::{Digester, Sealed, SecretBytes};
use crate::ports::{KEY_VARIABLE, SealError, Sealer};

pub use source::{KEY_FILE, KeySource};

const NONCE: usize = 24;
/// More than any key file has; a longer file is not read to its end.
const LONGEST_FILE: u64 = 1024;
const SEAL_LABEL: &[u8] = b"skep/1/seal";
const DIGEST_LABEL: &[u8] = b"skep/1/digest";
/// What a sealed value and a sealed document are bound to, so that neither opens as the other.
const VALUE: &[u8] = b"skep/1/value";
const DOCUMENT: &[u8] = b"skep/1/document";
/// The first byte of a sealed document: its form.
const DOCUMENT_FORM: u8 = 1;

/// Why the key file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error(
        "the key file `{0}` is missing; restore the one that belongs to this data folder, nothing sealed opens without it"
    )]
    Missing(PathBuf),
    /// There is one already, and it is never overwritten.
    #[error("the key file `{0}` is there already and is not overwritten")]
    Exists(PathBuf),
    /// Others than its owner can read or write it.
    #[error("the key file `{}` is open to others (mode {mode:04o}); run `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold 32 bytes as base64.
    #[error("the key file `{0}` does not hold a key (32 bytes as one line of base64); restore it from a backup")]
    Garbled(PathBuf),
    /// The system said no.
    #[error("the key file `{}` cannot be used: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The variable does not hold a key.
    #[error("`{KEY_VARIABLE}` does not hold a key: 32 bytes as base64, as `openssl rand -base64 32` makes them")]
    Variable,
    /// A file is named, and a key given.
    #[error("`--seal-key-file` names a key file and `{KEY_VARIABLE}` holds a key: give one of them")]
    Twice,
    /// A key that somebody else keeps has no successor yet.
    #[error(
        "the key in `{0}` is kept outside of the data folder, so Skep does not change it: put a line with the new key in front of it, and after that `digest KEY` (the line that stands there, or else the present key) and `old KEY` (the present key); then do this again, and then take the `old` line away"
    )]
    Outside(String),
    /// No randomness.
    #[error("the system gave no random bytes for a new key")]
    Entropy,
}

/// The installation's key, in use: the [`Sealer`] of a running Skep. Wiped when dropped; prints no byte of it.
pub struct KeyFile {
    seal: Zeroizing<[u8; 32]>,
    digest: Zeroizing<[u8; 32]>,
    /// Keys that only open: those before, while a rotation is under way.
    old: Vec<Zeroizing<[u8; 32]>>,
}

/// The keys of a file, as they stand in it.
struct Keys {
    seal: Zeroizing<[u8; 32]>,
    digest: Option<Zeroizing<[u8; 32]>>,
    old: Vec<Zeroizing<[u8; 32]>>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(..)")
    }
}

impl KeyFile {
    /// Reads the key file.
    ///
    /// # Errors
    /// [`KeyFileError::Missing`], [`KeyFileError::Open`], [`KeyFileError::Garbled`], [`KeyFileError::Io`].
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Keys::read(path)?.derive())
    }

    /// Makes a new key and writes it, durably, to a file that must not exist yet.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`], [`KeyFileError::Entropy`], [`KeyFileError::Io`].
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let keys = Keys { seal: fresh()?, digest: None, old: Vec::new() };
        keys.write(path, |new| std::fs::hard_link(new, path))?;
        Ok(keys.derive())
    }

    /// [`KeyFile::open`], or [`KeyFile::create`] when there is none. Only for a data folder that holds nothing sealed yet:
    /// a new key opens nothing that an old one sealed.
    ///
    /// # Errors
    /// As both.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::open(path) {
            Err(KeyFileError::Missing(_)) => match Self::create(path) {
                // Another was faster.
                Err(KeyFileError::Exists(_)) => Self::open(path),
                made => made,
            },
            opened => opened,
        }
    }

    /// A key that is on no disk: for tests and the simulator.
    #[must_use]
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Keys { seal: Zeroizing::new(key), digest: None, old: Vec::new() }.derive()
    }
    /// Nonce and ciphertext.
    fn encrypt(&self, clear: &[u8], bound_to: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Entropy)?;
        let payload = Payload { msg: clear, aad: bound_to };
        // It fails only above 256 GiB.
        let cipher = cipher(&self.seal).encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Unreadable)?;
        Ok([nonce.as_slice(), &cipher].concat())
    }

    fn decrypt(&self, sealed: &[u8], bound_to: &[u8]) -> Result<SecretBytes, SealError> {
        let (nonce, bytes) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::Unreadable)?;
        let mut keys = std::iter::once(&self.seal).chain(&self.old);
        let clear = keys.find_map(|key| {
            let payload = Payload { msg: bytes, aad: bound_to };
            cipher(key).decrypt(&XNonce::from(*nonce), payload).ok()
        });
        clear.map(SecretBytes::new).ok_or(SealError::Unreadable)
    }
}

fn cipher(key: &Zeroizing<[u8; 32]>) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(**key).into())
}

/// A key of random bytes.
fn fresh() -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut key = Zeroizing::new([0_u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| KeyFileError::Entropy)?;
    Ok(key)
}

fn derive(key: &Zeroizing<[u8; 32]>, label: &[u8]) -> Zeroizing<[u8; 32]> {
    // HMAC pads a short key with zeros to the hash's block of 64 bytes (RFC 2104, section 2).
    let mut block = Zeroizing::new([0_u8; 64]);
    block[..32].copy_from_slice(key.as_slice());
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&(*block).into());
    mac.update(label);
    let mut bytes = mac.finalize().into_bytes();
    let derived = Zeroizing::new(bytes.into());
    bytes.as_mut_slice().zeroize();
    derived
}

impl Keys {
    fn read(path: &Path) -> Result<Self, KeyFileError> {
        let mut file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
            _ => io_error(path, &error),
        })?;
        let mode = file.metadata().map_err(|error| io_error(path, &error))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(1024));
        Read::by_ref(&mut file).take(LONGEST_FILE).read_to_end(&mut text).map_err(|error| io_error(path, &error))?;
        Self::parse(&text).ok_or_else(|| KeyFileError::Garbled(path.to_owned()))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.trim_ascii().split(|c| *c == b'\n').map(<[u8]>::trim_ascii);
        let mut keys = Self { seal: one_key(lines.next()?)?, digest: None, old: Vec::new() };
        for line in lines {
            match (line.strip_prefix(b"digest "), line.strip_prefix(b"old ")) {
                (Some(key), _) if keys.digest.is_none() => keys.digest = Some(one_key(key)?),
                (_, Some(key)) => keys.old.push(one_key(key)?),
                _ => return None,
            }
        }
        Some(keys)
    }

    /// Writes the file, durably: it appears under its name only when it is whole, by what `place` does.
    fn write(&self, path: &Path, place: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), KeyFileError> {
        let mut text = Zeroizing::new(Vec::with_capacity(64 * (2 + self.old.len())));
        let digest = self.digest.iter().map(|key| (&b"digest "[..], key));
        let old = self.old.iter().map(|key| (&b"old "[..], key));
        for (word, key) in std::iter::once((&b""[..], &self.seal)).chain(digest).chain(old) {
            let mut line = Zeroizing::new([0_u8; 44]);
            let length = BASE64.encode_slice(key.as_slice(), line.as_mut_slice()).unwrap_or_default();
            text.extend_from_slice(word);
            text.extend_from_slice(line.get(..length).unwrap_or_default());
            text.push(b'\n');
        }
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let _ = std::fs::remove_file(&new);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            place(&new)
        });
        // Best effort: what is left is a second name of the key, as closed to others as the first.
        let _ = std::fs::remove_file(&new);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        written.and_then(|()| File::open(parent)?.sync_all()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
            _ => io_error(path, &error),
        })
    }

    fn derive(&self) -> KeyFile {
        KeyFile {
            seal: derive(&self.seal, SEAL_LABEL),
            digest: derive(self.digest.as_ref().unwrap_or(&self.seal), DIGEST_LABEL),
            old: self.old.iter().map(|key| derive(key, SEAL_LABEL)).collect(),
        }
    }
}

fn one_key(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0_u8; 32]);
    // base64 asks for room by an estimate: 3 bytes for each 4 characters.
    let mut room = Zeroizing::new([0_u8; 36]);
    let length = BASE64.decode_slice(text, room.as_mut_slice());
    if length != Ok(key.len()) {
        return None;
    }
    key.copy_from_slice(&room[..32]);
    Some(key)
}

impl Sealer for KeyFile {
    fn seal(&self, clear: &[u8]) -> Result<Sealed, SealError> {
        Ok(Sealed { digest: self.digester().digest(clear), sealed: BASE64.encode(self.encrypt(clear, VALUE)?) })
    }

    fn open(&self, sealed: &Sealed) -> Result<SecretBytes, SealError> {
        let bytes = BASE64.decode(&sealed.sealed).map_err(|_| SealError::Unreadable)?;
        self.decrypt(&bytes, VALUE)
    }

    fn seal_bytes(&self, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = self.encrypt(clear, DOCUMENT)?;
        sealed.insert(0, DOCUMENT_FORM);
        Ok(sealed)
    }

    fn open_bytes(&self, sealed: &[u8]) -> Result<SecretBytes, SealError> {
        match sealed.split_first() {
            Some((&DOCUMENT_FORM, sealed)) => self.decrypt(sealed, DOCUMENT),
            _ => Err(SealError::Unreadable),
        }
    }

    fn digester(&self) -> Digester {
        Digester::new(*self.digest)
    }
}

fn io_error(path: &Path, error: &io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_no_other() {
        let (key, other) = (KeyFile::from_bytes([1; 32]), KeyFile::from_bytes([2; 32]));
        for clear in [&b""[..], b"hunter2", &[7; 100_000]] {
            let sealed = key.seal(clear).unwrap();
            assert_eq!(Sealer::open(&key, &sealed).unwrap().expose(), clear);
            assert_eq!(Sealer::open(&other, &sealed), Err(SealError::Unreadable));
            let document = key.seal_bytes(clear).unwrap();
            assert_eq!(document.len(), clear.len() + 1 + NONCE + 16);
            assert_eq!(key.open_bytes(&document).unwrap().expose(), clear);
            assert_eq!(other.open_bytes(&document), Err(SealError::Unreadable));
        }
    }

    #[test]
    fn two_seals_of_one_value_differ_but_their_digests_do_not() {
        let key = KeyFile::from_bytes([1; 32]);
        let (a, b) = (key.seal(b"x").unwrap(), key.seal(b"x").unwrap());
        assert_ne!(a.sealed, b.sealed);
        assert_eq!(a, b);
        assert_ne!(key.seal(b"x").unwrap(), KeyFile::from_bytes([2; 32]).seal(b"x").unwrap());
    }

    #[test]
    fn a_changed_byte_or_a_value_passed_off_as_a_document_does_not_open() {
        let key = KeyFile::from_bytes([1; 32]);
        let document = key.seal_bytes(b"secret").unwrap();
        for at in 0..document.len() {
            let mut changed = document.clone();
            changed[at] ^= 1;
            assert_eq!(key.open_bytes(&changed), Err(SealError::Unreadable), "byte {at}");
            assert_eq!(key.open_bytes(&document[..at]), Err(SealError::Unreadable));
        }
        let passed_off = Sealed { digest: key.digester().digest(b""), sealed: BASE64.encode(&document[1..]) };
        assert_eq!(Sealer::open(&key, &passed_off), Err(SealError::Unreadable));
        let nonsense = Sealed { digest: key.digester().digest(b""), sealed: "no base64".into() };
        assert_eq!(Sealer::open(&key, &nonsense), Err(SealError::Unreadable));
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_only_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        assert_eq!(KeyFile::open(&path).unwrap_err(), KeyFileError::Missing(path.clone()));
        let made = KeyFile::open_or_create(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.len(), text.lines().count()), (45, 1));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(KeyFile::create(&path).unwrap_err(), KeyFileError::Exists(path.clone()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let sealed = made.seal(b"x").unwrap();
        assert_eq!(Sealer::open(&KeyFile::open_or_create(&path).unwrap(), &sealed).unwrap().expose(), b"x");
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        KeyFile::create(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = KeyFile::open(&path).unwrap_err();
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
    }

    #[test]
    fn a_garbled_key_file_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        for text in ["", "short\n", "AAAA\n", &"A".repeat(5000), &format!("{}\n", BASE64.encode([1; 33]))] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert_eq!(KeyFile::open_or_create(&path).unwrap_err(), KeyFileError::Garbled(path.clone()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", KeyFile::from_bytes([1; 32])), "KeyFile(..)");
    }
}
