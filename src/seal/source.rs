//! Where the installation's key comes from: its own file in the data folder, a file that somebody else keeps there, such as a
//! secret of Swarm or Kubernetes, or the environment.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeyFile, KeyFileError, Keys};
use crate::ports::KEY_VARIABLE;

/// The file in the data folder when nothing else is said.
pub const KEY_FILE: &str = "seal.key";

/// Where the key comes from.
#[derive(Clone)]
pub enum KeySource {
    /// The data folder's own file: made by the first start.
    Own(PathBuf),
    /// A file of somebody else: never made by Skep.
    Named(PathBuf),
    /// The text of [`KEY_VARIABLE`]: what a key file holds, with `,` in place of the ends of lines.
    Given(Zeroizing<String>),
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySource({})", self.shown())
    }
}

impl KeySource {
    /// That of a data folder, unless a file is named or a key given.
    ///
    /// # Errors
    /// [`KeyFileError::Twice`] when both are: one of them would be ignored in silence.
    pub fn of(data: &Path, named: Option<&Path>, given: Option<String>) -> Result<Self, KeyFileError> {
        match (named, given.filter(|text| !text.is_empty()).map(Zeroizing::new)) {
            (Some(_), Some(_)) => Err(KeyFileError::Twice),
            (Some(path), None) => Ok(Self::Named(path.to_owned())),
            (None, Some(text)) => Ok(Self::Given(text)),
            (None, None) => Ok(Self::Own(data.join(KEY_FILE))),
        }
    }

    /// Whether it is kept outside of the data folder, by somebody else.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        !matches!(self, Self::Own(_))
    }

    /// Where it is, for people; never the key.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Own(path) | Self::Named(path) => path.display().to_string(),
            Self::Given(_) => KEY_VARIABLE.to_owned(),
        }
    }

    fn read(&self) -> Result<Keys, KeyFileError> {
        match self {
            Self::Own(path) | Self::Named(path) => Keys::read(path),
            Self::Given(text) => {
                let lines = Zeroizing::new(text.replace(',', "\n"));
                Keys::parse(lines.as_bytes()).ok_or(KeyFileError::Variable)
            }
        }
    }

    /// The key.
    ///
    /// # Errors
    /// [`KeyFileError::Missing`], [`KeyFileError::Open`], [`KeyFileError::Garbled`], [`KeyFileError::Variable`],
    /// [`KeyFileError::Io`].
    pub fn open(&self) -> Result<KeyFile, KeyFileError> {
        Ok(self.read()?.derive())
    }

    /// The key; that of the folder's own file is made when there is none. Only for a data folder that holds nothing sealed.
    ///
    /// # Errors
    /// As [`KeySource::open`] and [`KeyFile::create`].
    pub fn open_or_create(&self) -> Result<KeyFile, KeyFileError> {
        match self {
            Self::Own(path) => KeyFile::open_or_create(path),
            _ => self.open(),
        }
    }

    /// The key to seal everything anew with. A key of our own file is made now, as [`KeyFile::begin_rotation`] says; one from
    /// outside has to be put in front of the present one by whoever keeps it.
    ///
    /// # Errors
    /// [`KeyFileError::Outside`] when there is no new one yet; else as [`KeyFile::begin_rotation`].
    pub fn begin_rotation(&self) -> Result<KeyFile, KeyFileError> {
        if let Self::Own(path) = self {
            return KeyFile::begin_rotation(path);
        }
        let keys = self.read()?;
        match keys.old.is_empty() {
            true => Err(KeyFileError::Outside(self.shown())),
            false => Ok(keys.derive()),
        }
    }

    /// Forgets the keys that only open, where that is ours to do.
    ///
    /// # Errors
    /// As [`KeyFile::end_rotation`].
    pub fn end_rotation(&self) -> Result<(), KeyFileError> {
        match self {
            Self::Own(path) => KeyFile::end_rotation(path).map(drop),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{SealError, Sealer};

    const A: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const B: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    fn given(text: &str) -> KeySource {
        KeySource::of(Path::new("data"), None, Some(text.to_owned())).unwrap()
    }

    #[test]
    fn a_key_from_the_environment_is_the_one_a_file_would_hold() {
        let sealed = KeyFile::from_bytes([1; 32]).seal(b"x").unwrap();
        assert_eq!(Sealer::open(&given(A).open().unwrap(), &sealed).unwrap().expose(), b"x");
        assert_eq!(given("secret").open().unwrap_err(), KeyFileError::Variable);
        assert!(!format!("{:?}", given(A)).contains(A));
    }

    #[test]
    fn a_key_from_outside_is_named_once_and_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("mounted");
        assert_eq!(
            KeySource::of(folder.path(), Some(&there), Some(A.into())).map(drop).unwrap_err(),
            KeyFileError::Twice
        );
        let named = KeySource::of(folder.path(), Some(&there), Some(String::new())).unwrap();
        assert_eq!(named.open_or_create().map(drop).unwrap_err(), KeyFileError::Missing(there.clone()));
        assert!(!there.exists());
        let own = KeySource::of(folder.path(), None, None).unwrap();
        own.open_or_create().unwrap();
        assert!(folder.path().join(KEY_FILE).exists() && named.is_outside() && !own.is_outside());
    }

    #[test]
    fn a_key_from_outside_is_changed_by_whoever_keeps_it() {
        let before = given(A).open().unwrap();
        let sealed = before.seal(b"x").unwrap();
        assert_eq!(given(A).begin_rotation().map(drop).unwrap_err(), KeyFileError::Outside(KEY_VARIABLE.into()));
        let both = given(&format!("{B},digest {A},old {A}")).begin_rotation().unwrap();
        assert_eq!(Sealer::open(&both, &sealed).unwrap().expose(), b"x");
        let anew = both.seal(b"x").unwrap();
        assert_eq!(anew.digest, sealed.digest, "names that are made of digests stay");
        let after = given(&format!("{B},digest {A}")).open().unwrap();
        assert_eq!(Sealer::open(&after, &anew).unwrap().expose(), b"x");
        assert_eq!(Sealer::open(&after, &sealed), Err(SealError::Unreadable));
    }
}
