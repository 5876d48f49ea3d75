//! What a service's containers are: environment, hosts, capabilities, limits, health check.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{DnsConfig, Healthcheck, LogDriver, Ulimit};

use super::compat::Difference;
use super::field::{Field, Table};
use super::files::attached;
use super::findings::Findings;
use super::input::{Needs, RenderInput};
use super::path;
use super::shell;
use super::yaml::{Entry, Node, Value};

/// Docker takes no shorter interval.
const SHORTEST_INTERVAL: i64 = 1_000_000;

/// A command: one text is split into words, a list is taken as it is. By the specification's rules null is the image's own.
pub(super) fn words(field: &Field<'_>) -> Vec<String> {
    let strict = field.found.strict();
    if strict && field.node.is_null() {
        return Vec::new();
    }
    let words = match &field.node.value {
        Value::List(_) => Some(field.texts()),
        _ => field.text().and_then(|text| field.check(shell::split(&text), "close it, or write the words as a list")),
    };
    if strict && words.as_ref().is_some_and(Vec::is_empty) {
        field.warn("is empty, and Swarm then runs the image's own; to run something else, say what");
    }
    words.unwrap_or_default()
}

/// `KEY=VALUE`, sorted. Files first, in order, then `environment`. A name without a value takes the variable of that
/// name, and stays bare when there is none, which unsets what the image has.
pub(super) fn environment(table: &Table<'_>, input: &RenderInput<'_>, needs: &mut Needs) -> Vec<String> {
    let values = values(table.get("env_file"), table.get("environment"), input, needs);
    let cli = !table.field.found.strict();
    let mut list: Vec<String> = values
        .into_iter()
        .map(|(key, value)| {
            if !cli
                && value.as_ref().is_some_and(String::is_empty)
                && input.variables.get(&key).is_some_and(|value| !value.text.is_empty())
            {
                let path = format!("{}.environment.{key}", table.field.path());
                table.field.found.differs(Difference::EmptyEnvironment, table.key_at("environment"), &path);
            }
            match taken(&key, value, cli, input) {
                Some(value) => format!("{key}={value}"),
                None => key,
            }
        })
        .collect();
    list.sort();
    list
}

/// What the files say, and over it what the service says itself.
fn values(
    files: Option<Field<'_>>,
    environment: Option<Field<'_>>,
    input: &RenderInput<'_>,
    needs: &mut Needs,
) -> BTreeMap<String, Option<String>> {
    let mut values = BTreeMap::new();
    for file in files.map(|files| files.text_or_list()).unwrap_or_default() {
        values.extend(env_file(&file, input, needs));
    }
    values.extend(environment.map(|environment| environment.pairs()).unwrap_or_default());
    values
}

/// The value, or that of the variable of this name where there is none, which to the CLI an empty one is too.
fn taken(key: &str, value: Option<String>, cli: bool, input: &RenderInput<'_>) -> Option<String> {
    let open = value.as_ref().is_none_or(|value| cli && value.is_empty());
    input.variables.get(key).filter(|_| open).map(|value| value.text.clone()).or(value)
}

/// Makes one whole environment of what each service of a file says in `env_file` and `environment`, as the CLI does with
/// each of several files before it merges them.
pub(super) fn settle_environments(file: &mut Node, input: &RenderInput<'_>, found: &Findings, needs: &mut Needs) {
    let Value::Map(sections) = &mut file.value else { return };
    let Some(services) = sections.iter_mut().find(|section| section.key == "services") else { return };
    let Value::Map(services) = &mut services.value.value else { return };
    for service in services {
        let field = |key: &str| {
            let (path, shape) = (format!("services.{}.{key}", service.key), format!("services.*.{key}"));
            service.value.get(key).map(|node| Field::at_path(node, path, &shape, found))
        };
        let (files, environment) = (field("env_file"), field("environment"));
        // What is no environment is left for its reader to judge.
        let is_scalar = |field: &Field<'_>| matches!(field.node.value, Value::Scalar(_));
        if environment.as_ref().is_some_and(is_scalar) {
            continue;
        }
        let Some(at) = environment.as_ref().or(files.as_ref()).map(Field::at) else { continue };
        let entries = values(files, environment, input, needs).into_iter().map(|(key, value)| {
            let value = taken(&key, value, true, input);
            Entry { key, at, value: value.map_or_else(|| Node::null(at), |text| Node::text(at, text)) }
        });
        let settled = Node { at, order: None, value: Value::Map(entries.collect()) };
        if let Value::Map(entries) = &mut service.value.value {
            entries.retain(|entry| !matches!(entry.key.as_str(), "env_file" | "environment"));
            entries.push(Entry { key: "environment".to_owned(), at, value: settled });
        }
    }
}

/// One file of variables: a path, or by the specification's rules a map with `path` and `required`.
fn env_file(field: &Field<'_>, input: &RenderInput<'_>, needs: &mut Needs) -> BTreeMap<String, Option<String>> {
    let mut required = true;
    let mut at: Field<'_> = field.clone();
    if matches!(field.node.value, Value::Map(_)) && field.found.strict() {
        let Some(table) = field.table() else { return BTreeMap::new() };
        required = table.given("required").and_then(|flag| flag.boolean()).unwrap_or(true);
        table.given("format").and_then(|format| format.word(&["raw"]));
        let path = table.get("path");
        table.finish();
        let Some(path) = path else {
            field.error("has no `path`", "name a file of the repository");
            return BTreeMap::new();
        };
        at = path;
    }
    let Some(path) = at.filled().and_then(|text| path::resolve(&at, &text)) else {
        return BTreeMap::new();
    };
    // What is encrypted and cannot be opened is there.
    let encrypted = input.confidential.files.contains(&path);
    if !required && !encrypted && matches!(input.attachments.get(&path), Some(Err(_))) {
        at.warn(&format!("`{path}` cannot be read; it is not required"));
        return BTreeMap::new();
    }
    let Some(Some(data)) = attached(&at, &path, input, needs) else { return BTreeMap::new() };
    match parse_env(&data, input) {
        Ok(values) => values,
        Err((line, message)) => {
            at.error(format!("`{path}` line {line}: {message}"), "each line is `KEY=VALUE`, `KEY` or a `#` comment");
            BTreeMap::new()
        }
    }
}

/// Docker's own grammar, not that of dotenv: no quotes, no variables, no `export`; blanks at the end belong to the value.
/// `KEY` alone takes the variable of that name, or is left out.
fn parse_env(data: &[u8], input: &RenderInput<'_>) -> Result<BTreeMap<String, Option<String>>, (usize, String)> {
    let text = std::str::from_utf8(data).map_err(|_| (1, "is not UTF-8".to_owned()))?;
    let mut values = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, None),
        };
        if key.is_empty() {
            return Err((index + 1, "has no name in front of `=`".to_owned()));
        }
        if key.contains(char::is_whitespace) {
            return Err((index + 1, "has white space in the name".to_owned()));
        }
        let value = value.or_else(|| input.variables.get(key).map(|value| value.text.clone()));
        if value.is_some() {
            values.insert(key.to_owned(), value);
        }
    }
    Ok(values)
}

/// `IP host` lines: a list of `host=ip` or `host:ip` in its order, or a map by host.
pub(super) fn hosts(field: &Field<'_>) -> Vec<String> {
    if let Value::List(_) = field.node.value {
        let mut hosts = Vec::new();
        for item in field.list() {
            let Some(text) = item.text() else { continue };
            match text.split_once('=').or_else(|| text.split_once(':')) {
                Some((host, address)) if !host.is_empty() && !address.is_empty() => hosts.push(line(host, address)),
                _ => item.error(format!("`{text}` is not a host with an address"), "write it like `name=10.0.0.1`"),
            }
        }
        return hosts;
    }
    let mut hosts = Vec::new();
    for (entry, value) in field.entries() {
        let addresses =
            if let Value::List(_) = value.node.value { value.texts() } else { value.text().into_iter().collect() };
        hosts.extend(addresses.into_iter().map(|address| (entry.key.clone(), address)));
    }
    // The CLI sorts `host:address`.
    hosts.sort_by_cached_key(|(host, address)| format!("{host}:{address}"));
    hosts.iter().map(|(host, address)| line(host, address)).collect()
}

fn line(host: &str, address: &str) -> String {
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    format!("{} {}", bare.trim(), host.trim())
}

/// Name servers, search domains and options of the resolver, if any. The CLI passes on what is no address.
pub(super) fn dns(table: &Table<'_>) -> Option<DnsConfig> {
    let strict = table.field.found.strict();
    let read = if strict { Field::filled } else { Field::text };
    let texts = |key| -> Vec<String> {
        let field = table.given(key);
        field.map(|field| field.text_or_list()).unwrap_or_default().iter().filter_map(read).collect()
    };
    for server in table.given("dns").map(|servers| servers.text_or_list()).unwrap_or_default() {
        let Some(text) = server.node.written().filter(|text| text.parse::<std::net::IpAddr>().is_err()) else {
            continue;
        };
        let message = format!("`{text}` is not an address");
        if strict {
            server.error(message, "a name server is given by its IP address");
        } else {
            server.warn(&format!("{message}: containers cannot ask such a name server"));
        }
    }
    let config = DnsConfig { nameservers: texts("dns"), search: texts("dns_search"), options: texts("dns_opt") };
    // The CLI sends it also when the lists are empty.
    let given = table.given("dns").is_some() || table.given("dns_search").is_some();
    (given || config != DnsConfig::default()).then_some(config)
}

/// How soon the kernel ends the process when memory runs out.
pub(super) fn oom_score(field: &Field<'_>) -> Option<i64> {
    let score = field.within(-1000, 1000)?;
    if score != 0 {
        field.warn("engines before 27.1 (API 1.46) drop it");
    }
    Some(score)
}

/// Capabilities to add and to drop, in Docker's normal form: upper case with `CAP_`, `ALL` alone, sorted, none in both.
pub(super) fn capabilities(add: Option<Field<'_>>, drop: Option<Field<'_>>) -> (Vec<String>, Vec<String>) {
    let normal = |field: Option<Field<'_>>| -> BTreeSet<String> {
        let texts = field.map(|field| field.texts()).unwrap_or_default();
        let names: BTreeSet<String> = texts
            .iter()
            .map(|text| text.trim().to_uppercase())
            .map(|name| if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") })
            .collect();
        if names.contains("ALL") { BTreeSet::from(["ALL".to_owned()]) } else { names }
    };
    let (add, drop) = (normal(add), normal(drop));
    let drop = drop.into_iter().filter(|name| !add.contains(name)).collect();
    (add.into_iter().collect(), drop)
}

/// Limits by name: one number for both, or a map with `soft` and `hard`.
pub(super) fn ulimits(field: &Field<'_>) -> Vec<Ulimit> {
    let mut limits = Vec::new();
    for (entry, value) in field.entries() {
        let name = entry.key.clone();
        if !name.bytes().all(|c| c.is_ascii_lowercase()) || name.is_empty() {
            value.error(format!("`{name}` is not a limit"), "such as `nofile` or `nproc`");
            continue;
        }
        if !matches!(value.node.value, Value::Map(_)) {
            limits.extend(value.integer().map(|both| Ulimit { name, soft: both, hard: both }));
            continue;
        }
        let Some(table) = value.table() else { continue };
        let (soft, hard) = (table.get("soft"), table.get("hard"));
        table.finish();
        match (soft, hard) {
            (Some(soft), Some(hard)) => {
                if let (Some(soft), Some(hard)) = (soft.integer(), hard.integer()) {
                    limits.push(Ulimit { name, soft, hard });
                }
            }
            _ => value.error("needs both `soft` and `hard`", "or one number for both"),
        }
    }
    limits.sort_by(|a, b| a.name.cmp(&b.name));
    limits
}

/// A log driver with its options.
pub(super) fn logging(field: &Field<'_>) -> Option<LogDriver> {
    let table = field.table()?;
    let name = table.given("driver").and_then(|driver| driver.text()).unwrap_or_default();
    let options = table.given("options").map(|options| options.options()).unwrap_or_default();
    table.finish();
    Some(LogDriver { name, options })
}

/// A health check.
pub(super) fn healthcheck(field: &Field<'_>) -> Option<Healthcheck> {
    let table = field.table()?;
    let mut check = Healthcheck::default();
    let test = table.get("test").filter(|test| !is_empty(test.node));
    if let Some(test) = &test {
        check.test = match &test.node.value {
            Value::List(_) => test.texts(),
            _ => test.text().map(|text| vec!["CMD-SHELL".to_owned(), text]).unwrap_or_default(),
        };
        if let Some(first) = check.test.first().filter(|first| !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE"))
        {
            let message = format!("a test begins with CMD, CMD-SHELL or NONE, not with `{first}`");
            if test.found.strict() {
                test.error(message, "put `CMD` in front");
            } else {
                test.warn(&format!("{message}: the engine runs none, and the task never gets beyond `starting`"));
            }
        }
    }
    for (key, slot) in [
        ("interval", &mut check.interval),
        ("timeout", &mut check.timeout),
        ("start_period", &mut check.start_period),
        ("start_interval", &mut check.start_interval),
    ] {
        let Some(duration) = table.given(key) else { continue };
        *slot = duration.duration().unwrap_or(0);
        if (1..SHORTEST_INTERVAL).contains(slot) {
            duration.error("is shorter than 1 ms", "Docker takes no less");
        }
    }
    check.retries = table.given("retries").and_then(|retries| retries.within(0, i64::MAX)).unwrap_or(0);
    if let Some(disable) = table.given("disable")
        && disable.boolean() == Some(true)
    {
        match &test {
            Some(_) if !disable.found.strict() => {
                disable.error("a test and `disable` are both given", "remove one of them");
            }
            // A later file that switches off the test of an earlier one is what it is for.
            Some(test) if test.at().file >= disable.at().file => test.warn("is not run: `disable` wins"),
            _ => {}
        }
        check = Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() };
    }
    table.finish();
    Some(check)
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
}
