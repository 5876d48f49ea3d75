//! Folders for key material that a program has to read from a file: for their owner alone, in memory where the system has
//! such a place, and gone after use.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const PREFIX: &str = "skep-keys-";

/// A folder that is removed when dropped.
#[derive(Debug)]
pub(super) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Makes one.
    pub(super) fn make() -> io::Result<Self> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|_| io::Error::other("the system gave no random bytes"))?;
        let name = format!("{PREFIX}{}-{:016x}", std::process::id(), u64::from_le_bytes(random));
        let mut last = io::Error::other("there is no place for a private folder");
        for place in places() {
            let path = place.join(&name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Writes a file that only its owner reads; gives its path.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a folder with key material could not be removed");
        }
    }
}

/// Where such folders may be: first what is memory.
fn places() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let memory = |place: &&str| {
        mounts.lines().any(|line| {
            let mut words = line.split(' ').skip(1);
            words.next() == Some(place) && words.next() == Some("tmpfs")
        })
    };
    ["/dev/shm", "/run"].iter().filter(|place| memory(place)).map(PathBuf::from).chain([std::env::temp_dir()]).collect()
}

/// Removes what a killed Skep left behind. To be called once, at the start.
pub fn tidy() {
    for place in places() {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                // Another user's cannot be removed, and is not ours to remove.
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_folder_is_private_and_goes() {
        let folder = PrivateFolder::make().unwrap();
        let file = folder.write("key", "x").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!file.parent().unwrap().exists());
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_no_more() {
        let mine = PrivateFolder::make().unwrap();
        let left = mine.0.parent().unwrap().join(format!("{PREFIX}4194999-00"));
        fs::create_dir(&left).unwrap();
        tidy();
        assert!(!left.exists() && mine.0.exists());
    }
}
