//! From texts to one tree: parsed, variables put in, `extends` and `include` followed, merged.
//!
//! Paths that a file names begin in its own folder; of the compose files of a stack all begin in the folder of the first.

use std::collections::BTreeMap;

use super::compat::Difference;
use super::container;
use super::dotenv;
use super::field::Field;
use super::files::attached;
use super::findings::Findings;
use super::input::{Needs, RenderInput, VariableValue};
use super::interpolate::{self, Variables};
use super::merge;
use super::merge_cli;
use super::near::closest;
use super::path;
use super::yaml::{self, Documents, Entry, Node, Position, Value};

/// How deep files may include files, and services extend services.
const DEEPEST: usize = 16;
/// The sections that an included file brings.
const SECTIONS: [&str; 5] = ["services", "networks", "volumes", "configs", "secrets"];

type Values = BTreeMap<String, VariableValue>;

/// All files of the input as one tree. `None` when something is wrong, or `needs` names files that must be read first.
pub(super) fn tree(input: &RenderInput<'_>, found: &Findings, needs: &mut Needs) -> Option<Node> {
    let mut assembler = Assembler { input, found, needs, open: Vec::new() };
    let mut merged: Option<Node> = None;
    let mut whole = true;
    for file in input.files {
        let index = found.add_file(file.name, input.folder);
        let Some(mut node) = assembler.file(index, file.text, input.variables) else {
            whole = false;
            continue;
        };
        if !found.strict() && input.files.len() > 1 {
            container::settle_environments(&mut node, input, found, assembler.needs);
        }
        merged = Some(match merged {
            None => node,
            Some(base) if found.strict() => {
                let mut notes = Vec::new();
                let node = merge::merge(base, node, &mut notes);
                notes.into_iter().for_each(|(difference, at, field)| found.differs(difference, at, &field));
                node
            }
            Some(base) => {
                same_version(&base, &node, found);
                merge_cli::merge(base, node)
            }
        });
    }
    if input.files.is_empty() {
        found.error(Position::default(), "", "there is no compose file", "name one in `compose`");
    }
    let mut merged = merged.filter(|_| whole && assembler.needs.is_empty())?;
    merge::settle(&mut merged);
    Some(merged)
}

/// `docker stack deploy` merges only files of one version.
fn same_version(base: &Node, over: &Node, found: &Findings) {
    let version = |node: &Node| node.get("version").and_then(Node::written).unwrap_or("3.13").to_owned();
    let (a, b) = (version(base), version(over));
    if a != b {
        let at = over.get("version").map_or(over.at, |version| version.at);
        found.error(
            at,
            "version",
            format!("the files have the versions {a} and {b}"),
            "remove `version` from all of them",
        );
    }
}

struct Assembler<'a> {
    input: &'a RenderInput<'a>,
    found: &'a Findings,
    needs: &'a mut Needs,
    /// The included and extended files that are being read, outermost first.
    open: Vec<String>,
}

impl Assembler<'_> {
    /// One file with all that it brings.
    fn file(&mut self, index: usize, text: &str, values: &Values) -> Option<Node> {
        let mut node = self.parsed(index, text, values)?;
        if self.found.strict() {
            self.extends(&mut node, values);
            self.include(&mut node, values);
        }
        Some(node)
    }

    fn parsed(&mut self, index: usize, text: &str, values: &Values) -> Option<Node> {
        let strict = self.found.strict();
        match yaml::parse(index, text, strict) {
            Ok(Documents { mut first, others, unread }) => {
                if let Some(at) = unread {
                    let message =
                        "not read: of a file with several YAML documents `docker stack deploy` reads the first";
                    self.found.warn(at, "another document", message);
                }
                if !strict {
                    without_orders(&mut first, "", self.found);
                }
                let variables = Variables { values, below: None, unset: self.input.unset };
                interpolate::interpolate(&mut first, &variables, self.found);
                Some(others.into_iter().fold(first, |base, mut over| {
                    self.found.differs(Difference::Documents, over.at, "another document");
                    interpolate::interpolate(&mut over, &variables, self.found);
                    merge::merge(base, over, &mut Vec::new())
                }))
            }
            Err(faults) => {
                for fault in faults {
                    self.found.error(fault.at, &fault.field, fault.message, fault.hint);
                }
                None
            }
        }
    }

    /// Another file of the repository, which `field` names; `None` while it is not there, or when it is wrong.
    fn other(&mut self, field: &Field<'_>, path: &str, folder: &str, values: &Values) -> Option<Node> {
        if self.open.len() >= DEEPEST || self.open.iter().any(|open| open == path) {
            field.error(format!("`{path}` leads back to itself"), "a file cannot include or extend itself");
            return None;
        }
        let data = attached(field, path, self.input, self.needs)??;
        let Ok(text) = std::str::from_utf8(&data) else {
            field.error(format!("`{path}` is not UTF-8 text"), "save it as UTF-8");
            return None;
        };
        let index = self.found.add_file(path, folder);
        self.open.push(path.to_owned());
        let node = self.file(index, text, values);
        self.open.pop();
        if let Some(own) = node.as_ref().and_then(|node| node.get("x-skep")) {
            self.found.warn(own.at, "x-skep", "ignored: where relative binds begin is said by the stack's own files");
        }
        node
    }

    /// Puts every service on top of the one that it extends.
    fn extends(&mut self, root: &mut Node, values: &Values) {
        let extends = |service: &Entry| service.value.get("extends").is_some();
        let services = root.get("services").filter(|services| match &services.value {
            Value::Map(entries) => entries.iter().any(extends),
            _ => false,
        });
        let Some(services) = services.cloned() else { return };
        let Value::Map(entries) = &services.value else { return };
        let mut done = Vec::new();
        for entry in entries {
            let mut chain = Vec::new();
            let value = self.extended(&services, entry, &mut chain, values);
            done.push(Entry { value: value.unwrap_or_else(|| entry.value.clone()), ..entry.clone() });
        }
        if let Value::Map(entries) = &mut root.value
            && let Some(services) = entries.iter_mut().find(|entry| entry.key == "services")
        {
            services.value.value = Value::Map(done);
        }
    }

    /// The service with what it extends below it; `None` when it extends nothing.
    fn extended(&mut self, services: &Node, entry: &Entry, chain: &mut Vec<String>, values: &Values) -> Option<Node> {
        let extends = entry.value.get("extends").filter(|extends| !extends.is_null())?;
        let path = format!("services.{}.extends", entry.key);
        let field = Field::at_path(extends, path, "services.*.extends", self.found);
        if chain.len() >= DEEPEST || chain.contains(&entry.key) {
            field.error(format!("`{}` extends itself, by way of {}", entry.key, chain.join(", ")), "break the circle");
            return None;
        }
        chain.push(entry.key.clone());
        let (service, file) = match &extends.value {
            Value::Scalar(_) => (field.filled()?, None),
            _ => {
                let table = field.table()?;
                let (service, file) = (table.get("service"), table.given("file"));
                table.finish();
                let Some(service) = service else {
                    field.error("has no `service`", "name the service to extend");
                    return None;
                };
                (service.filled()?, file)
            }
        };
        let base = match file {
            None => self.service_of(&field, services, &service, chain, values)?,
            Some(file) => {
                let path = path::resolve(&file, &file.filled()?)?;
                let tree = self.other(&file, &path, path::folder_of(&path), values)?;
                let none = Node::null(tree.at);
                // Its own services have been extended already.
                let services = tree.get("services").unwrap_or(&none);
                self.service_of(&field, services, &service, &mut Vec::new(), values)?
            }
        };
        Some(merge::merge_service(without(base, "extends"), without(entry.value.clone(), "extends")))
    }

    fn service_of(
        &mut self,
        field: &Field<'_>,
        services: &Node,
        name: &str,
        chain: &mut Vec<String>,
        values: &Values,
    ) -> Option<Node> {
        let Value::Map(entries) = &services.value else {
            field.error(format!("undefined service `{name}`"), "that file has no services");
            return None;
        };
        let Some(entry) = entries.iter().find(|entry| entry.key == name) else {
            let known: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
            let hint = match closest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the services there are {}", known.join(", ")),
            };
            field.error(format!("undefined service `{name}`"), hint);
            return None;
        };
        if entry.value.get("extends").is_some_and(|extends| !extends.is_null()) {
            return self.extended(services, entry, chain, values);
        }
        Some(entry.value.clone())
    }

    /// Adds what the files under `include` declare.
    fn include(&mut self, root: &mut Node, values: &Values) {
        let Some(include) = root.get("include").filter(|include| !include.is_null()).cloned() else { return };
        let field = Field::at_path(&include, "include".to_owned(), "include", self.found);
        for item in field.list() {
            if let Some(included) = self.included(&item, values) {
                self.add(root, included);
            }
        }
        if let Value::Map(entries) = &mut root.value {
            entries.retain(|entry| entry.key != "include");
        }
    }

    fn included(&mut self, item: &Field<'_>, values: &Values) -> Option<Node> {
        let (paths, directory, env_files) = match &item.node.value {
            Value::Map(_) => {
                let table = item.table()?;
                let parts = (table.get("path"), table.given("project_directory"), table.given("env_file"));
                table.finish();
                let Some(paths) = parts.0 else {
                    item.error("has no `path`", "name a compose file of the repository");
                    return None;
                };
                (paths.text_or_list(), parts.1, parts.2.map(|files| files.text_or_list()))
            }
            _ => (vec![item.clone()], None, None),
        };
        let mut files = Vec::new();
        for path in paths {
            let resolved = path::resolve(&path, &path.filled()?)?;
            files.push((path, resolved));
        }
        let folder = match directory {
            Some(directory) => path::folder(&directory, &directory.filled()?)?,
            None => path::folder_of(&files.first()?.1).to_owned(),
        };
        let values = self.values(values, &folder, env_files)?;
        let mut merged: Option<Node> = None;
        for (field, path) in files {
            let node = self.other(&field, &path, &folder, &values)?;
            merged = Some(match merged {
                None => node,
                Some(base) => merge::merge(base, node, &mut Vec::new()),
            });
        }
        merged
    }

    /// The variables for an included file: those that there are, over those of its own files.
    fn values(&mut self, values: &Values, folder: &str, files: Option<Vec<Field<'_>>>) -> Option<Values> {
        let mut own = Values::new();
        match files {
            Some(files) => {
                for file in files {
                    let path = path::resolve(&file, &file.filled()?)?;
                    let data = attached(&file, &path, self.input, self.needs)??;
                    let secret = self.input.confidential.files.contains(&path);
                    own.extend(dotenv::parse(&data, (&path, secret), values, self.found).unwrap_or_default());
                }
            }
            None if folder == self.input.folder => {}
            None => own = dotenv::of_folder(folder, values, self.input, self.found, self.needs)?,
        }
        own.extend(values.iter().map(|(name, value)| (name.clone(), value.clone())));
        Some(own)
    }

    /// Adds the sections of an included file. The same thing twice is taken if it says the same.
    fn add(&mut self, root: &mut Node, included: Node) {
        let Value::Map(entries) = &mut root.value else { return };
        let Value::Map(sections) = included.value else { return };
        for section in sections.into_iter().filter(|section| SECTIONS.contains(&section.key.as_str())) {
            let Value::Map(things) = section.value.value else { continue };
            let index = match entries.iter().position(|entry| entry.key == section.key) {
                Some(index) => index,
                None => {
                    let value = Node { at: section.at, order: None, value: Value::Map(Vec::new()) };
                    entries.push(Entry { key: section.key.clone(), at: section.at, value });
                    entries.len() - 1
                }
            };
            let Some(own) = entries.get_mut(index) else { continue };
            if own.value.is_null() {
                own.value.value = Value::Map(Vec::new());
            }
            let Value::Map(own) = &mut own.value.value else { continue };
            for thing in things {
                match own.iter().find(|old| old.key == thing.key) {
                    None => own.push(thing),
                    Some(old) if old.value.says_the_same(&thing.value) => {}
                    Some(old) => {
                        let path = format!("{}.{}", section.key, thing.key);
                        let message = format!("`{}` stands here and, otherwise, in a file that is included", thing.key);
                        let hint = "rename one of them, or put the change into a later file of `compose`";
                        self.found.error(old.at, &path, message, hint);
                    }
                }
            }
        }
    }
}

/// `docker stack deploy` does not look at tags.
fn without_orders(node: &mut Node, path: &str, found: &Findings) {
    if node.order.take().is_some() {
        found.warn(node.at, path, "`!reset` and `!override` are not looked at, as `docker stack deploy` does not");
    }
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| without_orders(item, path, found)),
        Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                without_orders(&mut entry.value, &path, found);
            }
        }
    }
}

fn without(mut node: Node, key: &str) -> Node {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|entry| entry.key != key);
    }
    node
}
