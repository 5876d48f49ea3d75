//! `volumes`: a service's mounts, and the volumes they name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::domain::{Mount, NAMESPACE_LABEL, StackName};

use super::binds::BindRoot;
use super::compat::Difference;
use super::field::{Field, Table};
use super::files::file_mode;
use super::own::is_protected;
use super::scalar::Kind;
use super::yaml::{Scalar, Value};

/// A volume that the files declare.
pub(super) struct Volume {
    name: String,
    external: bool,
    labels: BTreeMap<String, String>,
    driver: Option<Json>,
}

/// The real name that `external` or `name` gives, and whether the object is external: `idle` are the keys that then mean
/// nothing.
pub(super) fn identity(table: &Table<'_>, key: &str, scoped: String, idle: &[&'static str]) -> (String, bool) {
    let name = table.given("name").and_then(|name| name.unless_empty());
    let (external, inner) = match table.given("external") {
        None => (false, None),
        Some(external) => match external.node.value {
            Value::Map(_) => {
                let inner = external.table().and_then(|inner| {
                    let name = inner.given("name").and_then(|name| name.unless_empty());
                    inner.finish();
                    name
                });
                (true, inner)
            }
            _ => (external.boolean().unwrap_or(false), None),
        },
    };
    if name.is_some() && inner.is_some() {
        table.field.error("`name` and `external.name` are both given", "keep `name`");
    }
    if !external {
        return (name.unwrap_or(scoped), false);
    }
    for key in idle {
        if table.given(key).is_some() {
            let (at, path) = (table.key_at(key), table.path_of(key));
            table.field.found.warn(at, &path, "ignored: what is external is not made here");
        }
    }
    (name.or(inner).unwrap_or_else(|| key.to_owned()), true)
}

/// The declared volumes by key.
pub(super) fn volumes(section: Option<&Field<'_>>, stack: &StackName) -> BTreeMap<String, Volume> {
    let mut volumes = BTreeMap::new();
    for (entry, field) in section.map(Field::entries).unwrap_or_default() {
        let mut volume =
            Volume { name: format!("{stack}_{}", entry.key), external: false, labels: BTreeMap::new(), driver: None };
        if !field.node.is_null() {
            let Some(table) = field.table() else { continue };
            (volume.name, volume.external) = identity(&table, &entry.key, volume.name, &[]);
            if volume.external {
                refuse_more(&table);
            }
            let driver = table.given("driver").and_then(|driver| driver.text());
            let options = table.given("driver_opts").map(|options| options.options());
            volume.labels = table.given("labels").map(|labels| labels.labels()).unwrap_or_default();
            if driver.is_some() || options.is_some() {
                let mut config = Map::new();
                driver.map(|driver| config.insert("Name".to_owned(), driver.into()));
                options
                    .filter(|options| !options.is_empty())
                    .map(|options| config.insert("Options".to_owned(), json!(options)));
                volume.driver = Some(Json::Object(config));
            }
            is_protected(&table);
            table.finish();
        }
        volume.labels.insert(NAMESPACE_LABEL.to_owned(), stack.to_string());
        volumes.insert(entry.key.clone(), volume);
    }
    volumes
}

/// Says what an external volume cannot have: each node has made it, or will with its own defaults.
fn refuse_more(table: &Table<'_>) {
    for key in ["driver", "driver_opts", "labels"] {
        let says_something = |field: &Field<'_>| match &field.node.value {
            Value::Scalar(scalar) => !scalar.text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(entries) => !entries.is_empty(),
        };
        if table.given(key).as_ref().is_some_and(says_something) {
            let (at, path) = (table.key_at(key), table.path_of(key));
            table.field.found.error(
                at,
                &path,
                "an external volume is not made here",
                "remove it, or remove `external`",
            );
        }
    }
}

/// The mounts of a service, in the order of the file; `used` collects the keys of the volumes.
pub(super) fn mounts(
    field: &Field<'_>,
    volumes: &BTreeMap<String, Volume>,
    root: &BindRoot,
    used: &mut BTreeSet<String>,
) -> Vec<Mount> {
    let mut targets = BTreeSet::new();
    let mut mounts = Vec::new();
    for item in field.list() {
        let mount = match &item.node.value {
            Value::Map(_) => long(&item),
            Value::Scalar(Scalar { kind: Kind::Text, text, .. }) => short(&item, text),
            _ => {
                item.error("must be a mount", "write it like `data:/var/lib/data`, or as a map with `type`");
                None
            }
        };
        let Some(mount) = mount.and_then(|mount| finish(&item, mount, volumes, root, used)) else { continue };
        if !targets.insert(mount.target.clone()) {
            item.error(format!("`{}` is mounted twice", mount.target), "keep one of the mounts");
        }
        mounts.push(mount);
    }
    mounts
}

/// Checks a mount and names its volume.
fn finish(
    field: &Field<'_>,
    mut mount: Mount,
    volumes: &BTreeMap<String, Volume>,
    root: &BindRoot,
    used: &mut BTreeSet<String>,
) -> Option<Mount> {
    if mount.target.is_empty() {
        field.error("has no target", "name the path inside the container");
        return None;
    }
    match mount.kind.as_str() {
        "bind" if mount.source.is_empty() => {
            field.error("a bind has no source", "name the path on the node");
            None
        }
        // A group of volumes of the cluster, or the name of one.
        "cluster" if !mount.source.starts_with("group:") => name_volume(field, mount, volumes, used),
        "bind" if !absolute(&mount.source) => {
            mount.source = root.resolve(field, &mount.source)?;
            Some(mount)
        }
        "volume" if !mount.source.is_empty() => name_volume(field, mount, volumes, used),
        "volume" => {
            mount.volume_options = None;
            Some(mount)
        }
        _ => Some(mount),
    }
}

/// Puts the real name of the volume into a mount.
fn name_volume(
    field: &Field<'_>,
    mut mount: Mount,
    volumes: &BTreeMap<String, Volume>,
    used: &mut BTreeSet<String>,
) -> Option<Mount> {
    let Some(volume) = volumes.get(&mount.source) else {
        let message = format!("undefined volume `{}`", mount.source);
        field.error(message, format!("declare it: `volumes: {{ {}: {{}} }}`", mount.source));
        return None;
    };
    used.insert(std::mem::replace(&mut mount.source, volume.name.clone()));
    if mount.kind == "cluster" {
        return Some(mount);
    }
    let mut options = match mount.volume_options.take() {
        Some(Json::Object(options)) => options,
        _ => Map::new(),
    };
    if !volume.external {
        options.insert("Labels".to_owned(), json!(volume.labels));
        volume.driver.clone().map(|driver| options.insert("DriverConfig".to_owned(), driver));
    }
    mount.volume_options = Some(Json::Object(options));
    Some(mount)
}

fn absolute(path: &str) -> bool {
    let drive = |path: &str| {
        let mut chars = path.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
    };
    path.starts_with('/') || path.starts_with("\\\\") || path.starts_with("{{") || drive(path)
}

/// The target of a short mount, as written.
pub(super) fn short_target(text: &str) -> String {
    let (parts, _) = sections(text, true);
    parts.get(1).or_else(|| parts.first()).cloned().unwrap_or_default()
}

/// The target of a short mount as `docker stack deploy` reads it: one letter in front of a colon is a drive.
pub(super) fn drive_target(text: &str) -> String {
    let (parts, _) = sections(text, false);
    parts.get(1).or_else(|| parts.first()).cloned().unwrap_or_default()
}

/// The sections between colons; a drive letter's colon does not count. `drives` says whether a single letter in front of
/// any path is a drive, as the CLI has it, or only in front of a backslash.
fn sections(text: &str, strict: bool) -> (Vec<String>, bool) {
    let mut parts = vec![String::new()];
    let mut drive = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(last) = parts.last_mut() else { break };
        let letter = last.len() == 1 && last.bytes().all(|c| c.is_ascii_alphabetic());
        if c == ':' && letter && (!strict || chars.peek() == Some(&'\\')) {
            drive = true;
            last.push(c);
        } else if c == ':' {
            parts.push(String::new());
        } else {
            last.push(c);
        }
    }
    (parts, drive)
}

/// `[source:]target[:options]`.
fn short(field: &Field<'_>, text: &str) -> Option<Mount> {
    let strict = field.found.strict();
    let (parts, drive) = sections(text, strict);
    if strict && !drive && sections(text, false).1 {
        field.found.differs(Difference::DriveLetter, field.at(), &field.path());
    }
    if parts.iter().any(String::is_empty) {
        field.error(format!("`{text}` has an empty part"), "write it as `source:/target:options`");
        return None;
    }
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    let options = match parts.as_slice() {
        [target] => {
            mount.target.clone_from(target);
            None
        }
        [source, target, options @ ..] if options.len() < 2 => {
            mount.source.clone_from(source);
            mount.target.clone_from(target);
            options.first()
        }
        _ => {
            field.error(format!("`{text}` has too many colons"), "write it as `source:/target:options`");
            return None;
        }
    };
    if mount.source.starts_with(['.', '/', '~', '\\']) || absolute(&mount.source) && !mount.source.starts_with("{{") {
        mount.kind = "bind".to_owned();
    }
    for option in options.map(|options| options.split(',')).into_iter().flatten() {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.volume_options = Some(json!({"NoCopy": true})),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                mount.bind_options = Some(json!({"Propagation": option}));
            }
            "z" | "Z" | "cached" | "delegated" | "consistent" => {
                field.warn(&format!("the mount option `{option}` has no effect in Swarm"));
            }
            _ if strict => {
                field.error(format!("unknown mount option `{option}`"), "one of ro, rw, nocopy, or a propagation")
            }
            _ => field.warn(&format!("the mount option `{option}` is ignored")),
        }
    }
    Some(mount)
}

fn long(field: &Field<'_>) -> Option<Mount> {
    let table = field.table()?;
    let mut mount = Mount::default();
    match table.get("type") {
        Some(kind) => mount.kind = kind.word(&["volume", "bind", "tmpfs", "npipe", "cluster"]).unwrap_or_default(),
        None => field.error("has no `type`", "one of volume, bind, tmpfs, npipe, cluster"),
    }
    mount.source = table.given("source").and_then(|source| source.text()).unwrap_or_default();
    mount.target = table.given("target").and_then(|target| target.text()).unwrap_or_default();
    mount.read_only = table.given("read_only").and_then(|flag| flag.boolean()).unwrap_or(false);
    mount.consistency = table.given("consistency").and_then(|text| text.text()).unwrap_or_default();
    for (kind, options) in
        [("bind", table.given("bind")), ("volume", table.given("volume")), ("tmpfs", table.given("tmpfs"))]
    {
        let Some(options) = options else { continue };
        if !mount.kind.is_empty() && mount.kind != kind {
            let hint = format!("remove them, or use `type: {kind}`");
            options.error(format!("options of a {kind} do not go with the type {}", mount.kind), hint);
        }
        match kind {
            "bind" => mount.bind_options = bind(&options),
            "volume" => mount.volume_options = volume(&options),
            _ => mount.tmpfs_options = tmpfs(&options),
        }
    }
    match mount.kind.as_str() {
        "tmpfs" if !mount.source.is_empty() => field.error("a tmpfs has no source", "remove `source`"),
        "npipe" | "cluster" if mount.source.is_empty() => {
            field.error(format!("a mount of the type {} has no source", mount.kind), "name it in `source`");
        }
        "cluster" => mount.cluster_options = Some(Map::new()),
        _ => {}
    }
    table.finish();
    (!mount.kind.is_empty()).then_some(mount)
}

fn bind(field: &Field<'_>) -> Option<Json> {
    let table = field.table()?;
    let mut options = Map::new();
    let words = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
    if let Some(propagation) = table.given("propagation").and_then(|text| text.word(&words)) {
        options.insert("Propagation".to_owned(), propagation.into());
    }
    let recursive = table.given("recursive").and_then(|recursive| recursive.word(&["enabled", "disabled"]));
    if recursive.as_deref() == Some("disabled") {
        options.insert("NonRecursive".to_owned(), true.into());
    }
    if let Some(create) = table.given("create_host_path")
        && create.boolean() == Some(true)
    {
        create.warn("Swarm does not make the path: it must exist on every node the service can run on");
    }
    table.finish();
    Some(Json::Object(options))
}

fn volume(field: &Field<'_>) -> Option<Json> {
    let table = field.table()?;
    let mut options = Map::new();
    if table.given("nocopy").and_then(|flag| flag.boolean()) == Some(true) {
        options.insert("NoCopy".to_owned(), true.into());
    }
    if let Some(path) = table.given("subpath").and_then(|path| path.filled()) {
        table.field.warn("engines before 26 (API 1.45) drop `subpath`, and mount the whole volume");
        options.insert("Subpath".to_owned(), path.into());
    }
    table.finish();
    Some(Json::Object(options))
}

fn tmpfs(field: &Field<'_>) -> Option<Json> {
    let table = field.table()?;
    let mut options = Map::new();
    if let Some(size) = table.given("size").and_then(|size| size.bytes())
        && size > 0
    {
        options.insert("SizeBytes".to_owned(), size.into());
    }
    if let Some(mode) = table.given("mode").and_then(|mode| file_mode(&mode)) {
        options.insert("Mode".to_owned(), mode.into());
    }
    table.finish();
    Some(Json::Object(options))
}
