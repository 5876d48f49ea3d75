//! `packaging/skep.service`. systemd's own tools read it, and a server that is watched by strace shows that it does nothing
//! that the unit forbids. `.ci/systemd`, which wants a Debian of its own, has a real systemd run it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::git_http::Repo;
use crate::git_ssh::SshServer;
use crate::{SKEP, Server, file};

fn analyze(arguments: &[&str]) -> String {
    let output = Command::new("systemd-analyze").args(arguments).env("SYSTEMD_COLORS", "0").output();
    let output = output.expect("systemd-analyze, of the package systemd");
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "systemd-analyze {arguments:?}: {text}");
    text
}

/// The unit with the binary under test in the place of the installed one.
fn unit(folder: &Path) -> String {
    let path = folder.join("skep.service");
    fs::write(&path, file("packaging/skep.service").replace("/usr/local/bin/skep ", &format!("{SKEP} "))).unwrap();
    path.display().to_string()
}

/// What a setting of the unit says; of several lines, all.
fn setting(name: &str) -> Vec<String> {
    let unit = file("packaging/skep.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn systemd_reads_the_unit_and_finds_it_confined() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit(folder.path());
    let said = analyze(&["verify", "--man=no", &unit]);
    assert!(!said.contains("skep.service"), "{said}");
    // In tenths: below 2.0 of 10.
    let said = analyze(&["security", "--offline=yes", "--threshold=19", "--no-pager", &unit]);
    assert!(said.contains("Overall exposure level"), "{said}");
}

/// The calls a filter lets through: groups in it, then those of groups with `~` taken out.
fn permitted() -> BTreeSet<String> {
    let mut permitted = BTreeSet::new();
    let mut forbidding = false;
    for word in setting("SystemCallFilter") {
        forbidding |= word.starts_with('~');
        let mut calls = BTreeSet::new();
        expand(word.trim_start_matches('~'), &mut calls);
        match forbidding {
            true => permitted.retain(|call| !calls.contains(call)),
            false => permitted.append(&mut calls),
        }
    }
    // systemd itself starts the program with them.
    expand("@default", &mut permitted);
    permitted
}

fn expand(name: &str, into: &mut BTreeSet<String>) {
    if !name.starts_with('@') {
        into.insert(name.to_owned());
        return;
    }
    for line in analyze(&["syscall-filter", "--no-pager", name]).lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') && line != name {
            expand(line, into);
        }
    }
}

#[test]
fn what_the_server_and_its_ssh_do_is_what_the_unit_permits() {
    let folder = tempfile::tempdir().unwrap();
    let (data, trace) = (folder.path().join("data"), folder.path().join("trace"));
    let repositories = folder.path().join("git");
    fs::create_dir(&repositories).unwrap();
    let repo = Repo::create(&repositories, "shop");
    repo.commit("main", &[("docker-stack.yml", "services: { web: { image: skep-example:1 } }\n")]);
    let ssh = SshServer::start(folder.path());
    let server = Server::start(&["strace", "-f", "-qq", "-s", "0", "-o", trace.to_str().unwrap()], &data);
    let indented = |text: String| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let manifests = format!(
        "kind: Credential\nname: key\ntype: SshKey\nhosts: [127.0.0.1]\ndata:\n  privateKey: |\n{}  knownHosts: |\n{}---\n\
         kind: Stack\nname: shop\nsource: {{ git: {:?}, ref: main, credential: key }}\ncompose: [docker-stack.yml]\n",
        indented(ssh.key()),
        indented(ssh.known_by("127.0.0.1")),
        ssh.url(&repositories.join("shop.git")),
    );
    let path = folder.path().join("shop.yml");
    fs::write(&path, manifests).unwrap();
    let applied = server.cli(&data, &["apply", "-f", path.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    // It looks at the repository, over ssh; that there is no engine is another matter.
    let doctor = server.cli(&data, &["doctor", "-o", "json"]);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    assert!(found.iter().any(|it| it["area"] == "Git" && it["health"] == "Good"), "{found:#?}");
    let strace = server.child.id().to_string();
    let ended = Command::new("pkill").args(["-TERM", "-P", &strace]).stdout(Stdio::null()).status().unwrap();
    assert!(ended.success());
    let mut server = server;
    assert!(server.child.wait().unwrap().success(), "it ends in good order");

    let trace = fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> =
        trace.lines().filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim_start())).collect();
    let named = |name: &str| calls.iter().filter(move |call| call.starts_with(name)).copied().collect::<Vec<_>>();
    assert!(named("execve(").len() > 1, "ssh ran");
    let permitted = permitted();
    let done: BTreeSet<&str> = calls.iter().filter_map(|call| call.split_once('(').map(|(name, _)| name)).collect();
    let done = done.into_iter().filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let forbidden: Vec<_> = done.filter(|name| !permitted.contains(*name)).collect();
    assert!(forbidden.is_empty(), "SystemCallFilter forbids {forbidden:?}");

    let families = setting("RestrictAddressFamilies");
    for call in named("socket(") {
        let family = call.trim_start_matches("socket(").split(',').next().unwrap().to_owned();
        assert!(families.contains(&family), "RestrictAddressFamilies forbids {call}");
    }
    // MemoryDenyWriteExecute.
    for call in [named("mmap("), named("mprotect(")].concat() {
        let forbidden =
            call.contains("PROT_WRITE|PROT_EXEC") || (call.starts_with("mprotect") && call.contains("PROT_EXEC"));
        assert!(!forbidden, "MemoryDenyWriteExecute forbids {call}");
    }
}
