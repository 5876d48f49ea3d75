//! A service's container.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::objects::Objects;
use super::{labels, pairs, put, put_text, span, text, texts};
use crate::domain::{ContainerSpec, DnsConfig, FileTarget, Healthcheck, Mount};

/// Writes what a container is into a service's entry.
pub(super) fn container(key: &str, spec: &ContainerSpec, objects: &mut Objects<'_>, service: &mut Map<String, Value>) {
    put(service, "entrypoint", texts(&spec.command));
    put(service, "command", texts(&spec.args));
    put_text(service, "hostname", &spec.hostname);
    put_text(service, "user", &spec.user);
    put(service, "group_add", texts(&spec.groups));
    put_text(service, "working_dir", &spec.dir);
    put(service, "environment", environment(key, &spec.env, objects));
    put(service, "labels", labels(&spec.labels, &[]));
    for (name, flag) in [("tty", spec.tty), ("stdin_open", spec.open_stdin), ("read_only", spec.read_only)] {
        put(service, name, flag.then_some(Value::Bool(true)));
    }
    put(service, "init", spec.init.map(Value::Bool));
    put_text(service, "stop_signal", &spec.stop_signal);
    put(service, "stop_grace_period", spec.stop_grace_period.map(span));
    put(service, "healthcheck", spec.healthcheck.as_ref().and_then(|check| healthcheck(key, check, objects)));
    let hosts: Vec<Value> = spec.hosts.iter().filter_map(|line| host(key, line, objects)).collect();
    put(service, "extra_hosts", (!hosts.is_empty()).then_some(Value::Array(hosts)));
    resolver(key, spec.dns_config.as_ref(), objects, service);
    let mounts: Vec<Value> = spec.mounts.iter().map(|it| mount(it, objects)).collect();
    put(service, "volumes", (!mounts.is_empty()).then_some(Value::Array(mounts)));
    let secrets = spec.secrets.iter().filter_map(|used| Some((used.secret_name.as_str(), used.file.as_ref()?)));
    let secrets: Vec<Value> = secrets.map(|(name, file)| reference(objects.secret(name), file)).collect();
    put(service, "secrets", (!secrets.is_empty()).then_some(Value::Array(secrets)));
    let configs = spec.configs.iter().filter_map(|used| Some((used.config_name.as_str(), used.file.as_ref()?)));
    let configs: Vec<Value> = configs.map(|(name, file)| reference(objects.config(name), file)).collect();
    put(service, "configs", (!configs.is_empty()).then_some(Value::Array(configs)));
    privileges(key, spec.privileges.as_ref(), objects, service);
    put_text(service, "isolation", spec.isolation.as_deref().filter(|it| *it != "default").unwrap_or_default());
    put(service, "sysctls", pairs(&spec.sysctls));
    put(service, "cap_add", texts(&spec.capability_add));
    put(service, "cap_drop", texts(&spec.capability_drop));
    let limits = spec.ulimits.iter().map(|it| (it.name.clone(), json!({"soft": it.soft, "hard": it.hard})));
    let limits: Map<String, Value> = limits.collect();
    put(service, "ulimits", (!limits.is_empty()).then_some(Value::Object(limits)));
    put(service, "oom_score_adj", (spec.oom_score_adj != 0).then(|| spec.oom_score_adj.into()));
}

/// Variables by name; one without a value takes away what the image has.
fn environment(key: &str, list: &[String], objects: &mut Objects<'_>) -> Option<Value> {
    let mut found = Map::new();
    for entry in list {
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (name, text(value)),
            None => (entry.as_str(), Value::Null),
        };
        if found.insert(name.to_owned(), value).is_some() {
            objects.remarks.push(format!("service `{key}`: the variable `{name}` is set twice; the later one counts"));
        }
    }
    (!found.is_empty()).then_some(Value::Object(found))
}

/// `ADDRESS NAME` as `NAME=ADDRESS`.
fn host(key: &str, line: &str, objects: &mut Objects<'_>) -> Option<Value> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(address), Some(name), None) => Some(text(&format!("{name}={address}"))),
        _ => {
            objects
                .remarks
                .push(format!("service `{key}`: the host `{line}` cannot be said as one name and one address"));
            None
        }
    }
}

/// Who resolves names. What the CLI passes on and no resolver can use is left out.
fn resolver(key: &str, config: Option<&DnsConfig>, objects: &mut Objects<'_>, service: &mut Map<String, Value>) {
    let Some(config) = config else { return };
    let (servers, others): (Vec<&String>, Vec<&String>) =
        config.nameservers.iter().partition(|server| server.parse::<IpAddr>().is_ok());
    for server in others {
        objects.remarks.push(format!("service `{key}`: the name server `{server}` is left out: it is no address"));
    }
    put(service, "dns", texts(servers));
    put(service, "dns_search", texts(config.search.iter().filter(|domain| !domain.is_empty())));
    put(service, "dns_opt", texts(&config.options));
}

fn healthcheck(key: &str, check: &Healthcheck, objects: &mut Objects<'_>) -> Option<Value> {
    if let Some(first) = check.test.first().filter(|first| !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")) {
        let remark =
            format!("service `{key}`: the health check is left out: no engine runs one that begins with `{first}`");
        objects.remarks.push(remark);
        return None;
    }
    let mut found = Map::new();
    put(&mut found, "test", texts(&check.test));
    for (name, duration) in [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start_period", check.start_period),
        ("start_interval", check.start_interval),
    ] {
        put(&mut found, name, (duration != 0).then(|| span(duration)));
    }
    put(&mut found, "retries", (check.retries != 0).then(|| check.retries.into()));
    Some(Value::Object(found))
}

fn mount(mount: &Mount, objects: &mut Objects<'_>) -> Value {
    let mut found = Map::new();
    put_text(&mut found, "type", &mount.kind);
    let volume = mount.kind == "volume" || mount.kind == "cluster" && !mount.source.starts_with("group:");
    if volume && !mount.source.is_empty() {
        found.insert("source".to_owned(), objects.volume(&mount.source, mount.volume_options.as_ref()).into());
    } else {
        put_text(&mut found, "source", &mount.source);
    }
    put_text(&mut found, "target", &mount.target);
    put(&mut found, "read_only", mount.read_only.then_some(Value::Bool(true)));
    put_text(&mut found, "consistency", &mount.consistency);
    let option = |options: &Option<Value>, key: &str| options.as_ref().and_then(|all| all.get(key)).cloned();
    let is_true = |value: Option<Value>| (value == Some(Value::Bool(true))).then_some(Value::Bool(true));
    let mut bind = Map::new();
    put(&mut bind, "propagation", option(&mount.bind_options, "Propagation").filter(|it| *it != "rprivate"));
    let alone = is_true(option(&mount.bind_options, "NonRecursive"));
    put(&mut bind, "recursive", alone.map(|_| "disabled".into()));
    put(&mut found, "bind", (!bind.is_empty()).then_some(Value::Object(bind)));
    let mut volume = Map::new();
    put(&mut volume, "nocopy", is_true(option(&mount.volume_options, "NoCopy")));
    put(
        &mut volume,
        "subpath",
        option(&mount.volume_options, "Subpath").filter(|it| *it != "").as_ref().and_then(Value::as_str).map(text),
    );
    put(&mut found, "volume", (!volume.is_empty()).then_some(Value::Object(volume)));
    let mut tmpfs = Map::new();
    put(&mut tmpfs, "size", option(&mount.tmpfs_options, "SizeBytes").filter(|it| *it != 0));
    let bits = option(&mount.tmpfs_options, "Mode").and_then(|it| it.as_u64()).filter(|it| *it != 0);
    put(&mut tmpfs, "mode", bits.map(octal));
    put(&mut found, "tmpfs", (!tmpfs.is_empty()).then_some(Value::Object(tmpfs)));
    Value::Object(found)
}

/// Mode bits as `compat: strict` reads a text: octal behind a zero.
fn octal(bits: u64) -> Value {
    Value::String(format!("0{bits:03o}"))
}

fn reference(source: String, file: &FileTarget) -> Value {
    let mut found = Map::new();
    found.insert("source".to_owned(), source.into());
    put_text(&mut found, "target", &file.name);
    put_text(&mut found, "uid", if file.uid == "0" { "" } else { &file.uid });
    put_text(&mut found, "gid", if file.gid == "0" { "" } else { &file.gid });
    put(&mut found, "mode", (file.mode != 0o444).then(|| octal(file.mode.into())));
    Value::Object(found)
}

/// `security_opt` and `credential_spec`.
fn privileges(key: &str, all: Option<&Value>, objects: &mut Objects<'_>, service: &mut Map<String, Value>) {
    let Some(all) = all.and_then(Value::as_object) else { return };
    let mut options: Vec<Value> = Vec::new();
    if let Some(selinux) = all.get("SELinuxContext").and_then(Value::as_object) {
        if selinux.get("Disable") == Some(&Value::Bool(true)) {
            options.push("label:disable".into());
        }
        for (name, word) in [("User", "user"), ("Role", "role"), ("Type", "type"), ("Level", "level")] {
            if let Some(label) = selinux.get(name).and_then(Value::as_str).filter(|label| !label.is_empty()) {
                options.push(text(&format!("label:{word}:{label}")));
            }
        }
    }
    if all.get("NoNewPrivileges") == Some(&Value::Bool(true)) {
        options.push("no-new-privileges:true".into());
    }
    for (name, mode, word) in [("Seccomp", "unconfined", "seccomp"), ("AppArmor", "disabled", "apparmor")] {
        match all.get(name).and_then(|it| it.get("Mode")).and_then(Value::as_str) {
            None | Some("" | "default") => {}
            Some(found) if found == mode => options.push(format!("{word}=unconfined").into()),
            Some(found) => objects.remarks.push(format!("service `{key}`: {name} `{found}` cannot be said")),
        }
    }
    put(service, "security_opt", (!options.is_empty()).then_some(Value::Array(options)));
    let Some(credentials) = all.get("CredentialSpec").and_then(Value::as_object) else { return };
    for (name, word) in [("Config", "config"), ("File", "file"), ("Registry", "registry")] {
        let Some(value) = credentials.get(name).and_then(Value::as_str).filter(|it| !it.is_empty()) else { continue };
        let value = if name == "Config" { Value::String(objects.config(value)) } else { text(value) };
        let mut found = Map::new();
        found.insert(word.to_owned(), value);
        service.insert("credential_spec".to_owned(), Value::Object(found));
    }
}
