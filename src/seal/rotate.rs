//! A new key for the installation, in steps that may break off anywhere: first the file names both keys, then everything is
//! sealed with the new one, then the old one is forgotten.

use std::fs;
use std::path::Path;

use super::{KeyFile, KeyFileError, Keys, fresh};

impl KeyFile {
    /// Puts a new key in front of the one there is, which then only opens. When a rotation is under way already, that one
    /// goes on.
    ///
    /// # Errors
    /// As [`KeyFile::open`] and [`KeyFile::create`].
    pub fn begin_rotation(path: &Path) -> Result<Self, KeyFileError> {
        let mut keys = Keys::read(path)?;
        if keys.old.is_empty() {
            let before = std::mem::replace(&mut keys.seal, fresh()?);
            keys.digest.get_or_insert_with(|| before.clone());
            keys.old.push(before);
            keys.write(path, |new| fs::rename(new, path))?;
        }
        Ok(keys.derive())
    }

    /// Forgets the keys that only open. To be called when nothing is sealed with them any more.
    ///
    /// # Errors
    /// As [`KeyFile::begin_rotation`].
    pub fn end_rotation(path: &Path) -> Result<Self, KeyFileError> {
        let mut keys = Keys::read(path)?;
        if !keys.old.is_empty() {
            keys.old.clear();
            keys.write(path, |new| fs::rename(new, path))?;
        }
        Ok(keys.derive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{SealError, Sealer};

    #[test]
    fn a_rotation_opens_what_was_sealed_before_until_it_ends_and_keeps_the_digests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let first = KeyFile::create(&path).unwrap();
        let sealed = first.seal(b"x").unwrap();
        let both = KeyFile::begin_rotation(&path).unwrap();
        assert_eq!(Sealer::open(&both, &sealed).unwrap().expose(), b"x");
        let anew = both.seal(b"x").unwrap();
        assert_eq!(anew.digest, sealed.digest);
        assert_eq!(Sealer::open(&first, &anew), Err(SealError::Unreadable));
        // Broken off and begun again: no second new key.
        let text = fs::read_to_string(&path).unwrap();
        KeyFile::begin_rotation(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let last = KeyFile::end_rotation(&path).unwrap();
        assert_eq!(Sealer::open(&last, &anew).unwrap().expose(), b"x");
        assert_eq!(Sealer::open(&last, &sealed), Err(SealError::Unreadable));
        let again = KeyFile::begin_rotation(&path).unwrap();
        assert_eq!(again.seal(b"x").unwrap().digest, sealed.digest, "digests outlive every rotation");
    }
}
