//! Files of a commit, read from its tree.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use gix::objs::tree::EntryKind;
use gix::{ObjectId, Repository};
use jiff::Timestamp;

use super::copy::object;
use super::failure::Failure;
use crate::ports::{CommitInfo, FileError, FileSet, SourceError};

/// Symlinks followed on the way to one file.
const LINKS: usize = 16;
/// The longest target of a symlink.
const LONGEST_TARGET: u64 = 4096;
/// Files that are listed at most, and the longest path of a folder that is looked into.
const MOST_FILES: usize = 50_000;
const LONGEST_PATH: usize = 1024;

/// Reads each path at a commit. `most` is the most bytes a file may have.
pub(super) fn read(
    repository: &Repository,
    commit: ObjectId,
    paths: &BTreeSet<String>,
    most: u64,
) -> Result<FileSet, Failure> {
    let mut reader = Reader { repository, trees: HashMap::new(), root: root(repository, commit)?, most };
    paths.iter().map(|path| Ok((path.clone(), reader.file(path)?))).collect()
}

/// The paths of all files below a folder; empty when there is no such folder.
pub(super) fn files(
    repository: &Repository,
    commit: ObjectId,
    folder: &str,
    url: &str,
) -> Result<BTreeSet<String>, Failure> {
    let mut reader = Reader { repository, trees: HashMap::new(), root: root(repository, commit)?, most: 0 };
    let mut found = BTreeSet::new();
    let Ok(parts) = parts(folder) else { return Ok(found) };
    let mut at = reader.root;
    for part in &parts {
        match reader.entry(at, part)? {
            Some((EntryKind::Tree, id)) => at = id,
            _ => return Ok(found),
        }
    }
    let mut open = vec![(Vec::from(parts).join("/"), at)];
    while let Some((folder, id)) = open.pop() {
        for (name, kind, id) in reader.entries(id)? {
            let Ok(name) = String::from_utf8(name) else { continue };
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            match kind {
                EntryKind::Tree if path.len() <= LONGEST_PATH => open.push((path, id)),
                EntryKind::Blob | EntryKind::BlobExecutable => drop(found.insert(path)),
                _ => {}
            }
        }
        if found.len() + open.len() > MOST_FILES {
            let reason = format!("there are more than {MOST_FILES} files to look through");
            return Err(Failure::Source(SourceError::TooLarge { url: url.to_owned(), reason }));
        }
    }
    Ok(found)
}

fn root(repository: &Repository, commit: ObjectId) -> Result<ObjectId, Failure> {
    let data = object(repository, commit)?;
    gix::objs::CommitRefIter::from_bytes(&data, commit.kind())
        .tree_id()
        .map_err(|_| Failure::Damaged(format!("the commit {commit} cannot be decoded")))
}

/// Author, title and time of a commit.
pub(super) fn describe(repository: &Repository, commit: ObjectId) -> Result<CommitInfo, Failure> {
    let data = object(repository, commit)?;
    let broken = |_| Failure::Damaged(format!("the commit {commit} cannot be decoded"));
    let decoded = gix::objs::CommitRef::from_bytes(&data, commit.kind()).map_err(broken)?;
    let author = decoded.author().map(|author| author.name.to_string()).unwrap_or_default();
    let seconds = decoded.committer().ok().and_then(|committer| committer.time().ok()).map_or(0, |time| time.seconds);
    Ok(CommitInfo {
        author: author.trim().to_owned(),
        title: decoded.message.to_string().trim_start().lines().next().unwrap_or_default().trim().to_owned(),
        time: Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

/// The parts of a path without `.` and `..`; it may not leave the root on the way.
pub(in crate::source) fn parts(path: &str) -> Result<VecDeque<String>, FileError> {
    let escapes = || FileError::Escapes(path.to_owned());
    if path.starts_with('/') || path.contains(['\\', '\0']) {
        return Err(escapes());
    }
    let mut parts = VecDeque::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop_back().ok_or_else(escapes)?),
            part => parts.push_back(part.to_owned()),
        }
    }
    Ok(parts)
}

struct Reader<'a> {
    repository: &'a Repository,
    trees: HashMap<ObjectId, HashMap<Vec<u8>, (EntryKind, ObjectId)>>,
    root: ObjectId,
    most: u64,
}

impl Reader<'_> {
    fn file(&mut self, path: &str) -> Result<Result<Arc<[u8]>, FileError>, Failure> {
        let mut todo = match parts(path) {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error)),
        };
        let missing = || Ok(Err(FileError::NotFound(path.to_owned())));
        let escapes = || Ok(Err(FileError::Escapes(path.to_owned())));
        // The folders that lead to where we are; never empty.
        let mut folders = vec![self.root];
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                folders.pop();
                if folders.is_empty() {
                    return escapes();
                }
                continue;
            }
            let Some(folder) = folders.last().copied() else { return escapes() };
            let Some((kind, id)) = self.entry(folder, &part)? else { return missing() };
            match kind {
                EntryKind::Tree => folders.push(id),
                EntryKind::Blob | EntryKind::BlobExecutable if todo.is_empty() => return self.blob(path, id),
                EntryKind::Blob | EntryKind::BlobExecutable => return missing(),
                EntryKind::Commit => return Ok(Err(FileError::Submodule(path.to_owned()))),
                EntryKind::Link => {
                    links += 1;
                    let Some(target) = self.target(id)?.filter(|_| links <= LINKS) else { return missing() };
                    if target.starts_with('/') || target.contains('\0') {
                        return escapes();
                    }
                    for part in target.split('/').rev().filter(|part| !part.is_empty() && *part != ".") {
                        todo.push_front(part.to_owned());
                    }
                }
            }
        }
        Ok(Err(FileError::Folder(path.to_owned())))
    }

    /// All that is in a folder.
    fn entries(&self, folder: ObjectId) -> Result<Vec<(Vec<u8>, EntryKind, ObjectId)>, Failure> {
        let data = object(self.repository, folder)?;
        let read = gix::objs::TreeRefIter::from_bytes(&data, folder.kind()).map(|entry| {
            let entry = entry.map_err(|_| Failure::Damaged(format!("the folder {folder} cannot be decoded")))?;
            Ok((entry.filename.to_vec(), entry.mode.kind(), entry.oid.to_owned()))
        });
        read.collect()
    }

    fn entry(&mut self, folder: ObjectId, name: &str) -> Result<Option<(EntryKind, ObjectId)>, Failure> {
        if !self.trees.contains_key(&folder) {
            let entries = self.entries(folder)?.into_iter().map(|(name, kind, id)| (name, (kind, id))).collect();
            self.trees.insert(folder, entries);
        }
        Ok(self.trees.get(&folder).and_then(|entries| entries.get(name.as_bytes()).copied()))
    }

    fn size(&self, id: ObjectId) -> Result<u64, Failure> {
        let header = self.repository.try_find_header(id);
        match header {
            Ok(Some(header)) => Ok(header.size()),
            _ => Err(Failure::Damaged(format!("the object {id} is missing"))),
        }
    }

    fn blob(&self, path: &str, id: ObjectId) -> Result<Result<Arc<[u8]>, FileError>, Failure> {
        let size = self.size(id)?;
        if size > self.most {
            return Ok(Err(FileError::TooLarge { path: path.to_owned(), size, limit: self.most }));
        }
        Ok(Ok(object(self.repository, id)?.into()))
    }

    fn target(&self, id: ObjectId) -> Result<Option<String>, Failure> {
        if self.size(id)? > LONGEST_TARGET {
            return Ok(None);
        }
        Ok(String::from_utf8(object(self.repository, id)?).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let good = |path| parts(path).map(|parts| parts.into_iter().collect::<Vec<_>>().join("/"));
        assert_eq!(good("a/b.yml").as_deref(), Ok("a/b.yml"));
        assert_eq!(good("./a//x/../b.yml").as_deref(), Ok("a/b.yml"));
        for bad in ["/etc/passwd", "..", "../x", "a/../../x", "a\\b", "a\0b", "..\\x"] {
            assert_eq!(parts(bad), Err(FileError::Escapes(bad.to_owned())), "{bad:?}");
        }
    }
}
