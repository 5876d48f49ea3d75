//! Binds of relative paths: a folder of the nodes that they begin in, where the files name one.

use super::field::{Field, Table};

/// Where relative binds begin: `x-skep: { bindRoot: /srv/shop }` at the top of the files.
#[derive(Default)]
pub(super) struct BindRoot {
    /// The folder on the nodes that stands for that of the first compose file; none: relative binds are refused.
    root: Option<String>,
    /// The folder of the first compose file, from the root of the repository.
    folder: String,
}

impl BindRoot {
    /// Reads it.
    pub(super) fn read(top: &Table<'_>, folder: &str) -> Self {
        let Some(table) = top.given("x-skep").and_then(|field| field.table()) else { return Self::default() };
        let given = table.given("bindRoot");
        table.finish();
        let root = given.and_then(|field| {
            let path = field.filled()?;
            if !path.starts_with('/') || path.contains('\0') {
                field.error(format!("`{path}` is not absolute"), "name a folder of the nodes, such as `/srv/shop`");
                return None;
            }
            Some(path)
        });
        Self { root, folder: folder.to_owned() }
    }

    /// The path on the nodes of a relative one that stands at `field`, without `.` and `..`, as `docker stack deploy` makes
    /// it of the folder of the first file. A file of another folder, by `include` or `extends`, means its own.
    pub(super) fn resolve(&self, field: &Field<'_>, path: &str) -> Option<String> {
        let refuse = |hint: &str| {
            field.error(format!("the bind `{path}` is relative"), hint);
            None
        };
        let Some(root) = &self.root else {
            return refuse(
                "nodes do not have the repository: use `configs` for files, an absolute path on the nodes, or \
                 `x-skep: { bindRoot: /FOLDER }` at the top, the nodes' folder that relative binds begin in",
            );
        };
        if path.starts_with('~') {
            return refuse("nobody's home is meant here: write the whole path");
        }
        let at = field.found.folder(field.at());
        let (mut from, mut to) = (parts(&self.folder).peekable(), parts(&at).peekable());
        while from.peek().is_some() && from.peek() == to.peek() {
            from.next();
            to.next();
        }
        let mut whole: Vec<&str> = Vec::new();
        for part in parts(root).chain(from.map(|_| "..")).chain(to).chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => drop(whole.pop()),
                part => whole.push(part),
            }
        }
        Some(format!("/{}", whole.join("/")))
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}
