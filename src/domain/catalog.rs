//! Stacks that are declared by the files of a repository.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{GitSource, Revision, StackKey, fits};

/// A repository of manifests that is followed, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Its name.
    pub name: String,
    /// Where the manifests are. Its `path` says which files, in the words of [`is_manifest`].
    pub source: GitSource,
    /// Whether a stack whose manifest is gone is deleted; otherwise it stays, and belongs to nobody.
    pub prune: bool,
    /// So many stacks may one commit delete; more of them are all kept until a person raises the limit.
    pub prune_limit: u32,
    /// Patterns of the environments its stacks may be in.
    pub environments: Vec<String>,
    /// Patterns of the names its stacks may have.
    pub names: Vec<String>,
    /// Grows with every change of what stands above; begins at 1.
    pub generation: u64,
    /// The token of the newest request to look now.
    #[serde(default)]
    pub sync_token: Option<String>,
}

impl Catalog {
    /// Whether it may declare this stack.
    #[must_use]
    pub fn allows(&self, key: &StackKey) -> bool {
        let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| fits(pattern, name));
        any(&self.environments, key.environment.as_str()) && any(&self.names, key.name.as_str())
    }

    /// The folder that all its files are in.
    #[must_use]
    pub fn folder(&self) -> &str {
        folder(&self.source.path)
    }
}

/// To which catalog a stack belongs, and by which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// The catalog.
    pub catalog: String,
    /// The file that declares the stack, from the repository's root.
    pub file: String,
}

/// What is known of a catalog. Written with what was declared from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogStatus {
    /// The generation of the catalog that was worked with.
    pub observed_generation: u64,
    /// The newest request to look that was carried out.
    pub handled_token: Option<String>,
    /// The commit that the stacks are declared from.
    pub commit: Option<CatalogCommit>,
    /// When that was done.
    pub applied_at: Option<Timestamp>,
    /// How many files there were.
    pub files: u64,
    /// Files that nothing was taken from; the stacks they declared before stay as they are.
    pub broken: Vec<BrokenManifest>,
    /// Stacks whose manifests are gone, and that are kept for now.
    pub kept: Vec<StackKey>,
    /// Why they are kept.
    pub kept_because: Option<String>,
    /// Why the repository could not be read, if it could not.
    pub error: Option<String>,
}

impl CatalogStatus {
    /// Whether there is nothing more to be done about this commit of this catalog.
    #[must_use]
    pub fn is_settled(&self, catalog: &Catalog, revision: &Revision) -> bool {
        self.commit.as_ref().is_some_and(|commit| commit.revision == *revision)
            && self.observed_generation == catalog.generation
            && self.handled_token == catalog.sync_token
            && self.broken.is_empty()
            && self.kept.is_empty()
            && self.error.is_none()
    }
}

/// The commit that stacks are declared from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogCommit {
    /// Its id.
    pub revision: Revision,
    /// Who made it.
    pub author: String,
    /// The first line of its message.
    pub title: String,
}

/// A file that nothing was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenManifest {
    /// The file, from the repository's root.
    pub file: String,
    /// The line, from 1, when it is about one.
    pub line: Option<u64>,
    /// What is wrong, and the mend.
    pub message: String,
}

/// The part of a path of files before its first pattern.
fn folder(path: &str) -> &str {
    let plain = match path.find('*') {
        Some(star) => path[..star].rsplit_once('/').map_or("", |(folder, _)| folder),
        None if is_yaml(path) => path.rsplit_once('/').map_or("", |(folder, _)| folder),
        None => path,
    };
    plain.trim_matches('/')
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}

/// Whether a file, by its path from the repository's root, is one of those that a catalog's `path` means: a folder means all
/// `.yml` and `.yaml` files in it and below; otherwise `*` stands for any characters of one name, and `**` for any folders.
#[must_use]
pub fn is_manifest(path: &str, file: &str) -> bool {
    let path = path.trim_matches('/');
    if !path.contains('*') && !is_yaml(path) {
        let inside = path.is_empty() || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        return inside && is_yaml(file);
    }
    let (wanted, parts): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), file.split('/').collect());
    along(&wanted, &parts)
}

fn along(wanted: &[&str], parts: &[&str]) -> bool {
    match (wanted.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), None) => along(rest, parts),
        (Some((&"**", rest)), Some((_, further))) => along(rest, parts) || along(wanted, further),
        (Some((pattern, rest)), Some((name, further))) => fits(pattern, name) && along(rest, further),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_files() {
        for (path, file, is) in [
            ("stacks/*.yml", "stacks/shop.yml", true),
            ("stacks/*.yml", "stacks/shop.yaml", false),
            ("stacks/*.yml", "stacks/eu/shop.yml", false),
            ("stacks/*/stack.yml", "stacks/eu/stack.yml", true),
            ("stacks/**/*.yml", "stacks/shop.yml", true),
            ("stacks/**/*.yml", "stacks/a/b/shop.yml", true),
            ("**/*.yml", "shop.yml", true),
            ("stacks", "stacks/a/b/shop.yaml", true),
            ("stacks/", "stacks/shop.yml", true),
            ("stacks", "stacks/README.md", false),
            ("stacks", "stacks2/shop.yml", false),
            ("", "a/shop.yml", true),
            ("stacks/shop.yml", "stacks/shop.yml", true),
            ("stacks/shop.yml", "stacks/shop.yml/a.yml", false),
            ("*", "shop.yml", true),
        ] {
            assert_eq!(is_manifest(path, file), is, "{path} {file}");
            assert!(!is || folder(path).is_empty() || file.starts_with(&format!("{}/", folder(path))), "{path} {file}");
        }
        assert_eq!(
            (folder("a/b/*.yml"), folder("a/b*/c.yml"), folder("a/x.yml"), folder("a/")),
            ("a/b", "a", "a", "a")
        );
    }
}
