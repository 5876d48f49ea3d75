//! Paths of files that compose files name: inside the repository, or refused.

use super::field::Field;

/// `path`, from the root of the repository. It begins in the folder of the file that it is written in; of the compose
/// files that are merged, all begin in the folder of the first.
pub(super) fn resolve(field: &Field<'_>, path: &str) -> Option<String> {
    let parts = inside(field, path)?;
    if parts.is_empty() || path.ends_with('/') || path.contains('\0') {
        field.error(format!("`{path}` is not a file"), "name a file of the repository");
        return None;
    }
    Some(parts)
}

/// A folder of the repository, as [`resolve`] has it for files; empty for the root.
pub(super) fn folder(field: &Field<'_>, path: &str) -> Option<String> {
    inside(field, path)
}

fn inside(field: &Field<'_>, path: &str) -> Option<String> {
    if path.starts_with(['/', '\\', '~']) || path.get(1..).is_some_and(|rest| rest.starts_with(":\\")) {
        let hint = "name a file of the repository, relative to the compose file";
        field.error(format!("`{path}` is not inside the repository"), hint);
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    let folder = field.found.folder(field.at());
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => {
                field.error(format!("`{path}` leaves the repository"), "name a file inside it");
                return None;
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The folder that a file stands in.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
