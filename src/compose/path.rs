//! Paths of files that compose files name: inside the repository, or refused.

use super::field::Field;

/// `path`, which stands in the first compose file's `folder`, from the root of the repository.
pub(super) fn resolve(field: &Field<'_>, path: &str, folder: &str) -> Option<String> {
    if path.starts_with(['/', '\\', '~']) || path.get(1..).is_some_and(|rest| rest.starts_with(":\\")) {
        let hint = "name a file of the repository, relative to the compose file";
        field.error(format!("`{path}` is not inside the repository"), hint);
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
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
    if parts.is_empty() || path.ends_with('/') || path.contains('\0') {
        field.error(format!("`{path}` is not a file"), "");
        return None;
    }
    Some(parts.join("/"))
}
