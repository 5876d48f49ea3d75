//! Every error ends with what to type next, whichever command it is.

use std::collections::BTreeSet;

use clap::CommandFactory;
use skep::cli::Cli;

use super::{err, nobody, skep};

/// Of each command a line that cannot be carried out: nobody is there, nothing is there, or it makes no sense.
const LINES: [&str; 63] = [
    "serve --listen 0.0.0.0:1",
    "apply -f missing.yml",
    "deploy shop",
    "get stacks",
    "get stack shop",
    "get deployments",
    "get deployment 01x",
    "get environments",
    "get tasks shop",
    "get notifiers",
    "get events",
    "diff shop",
    "render shop",
    "history shop",
    "rollback shop",
    "unpin shop",
    "release-hold shop",
    "cancel shop",
    "approve 01x",
    "suspend shop --reason r",
    "resume shop",
    "reconcile shop",
    "delete shop",
    "adopt shop -f missing.yml",
    "release shop",
    "events",
    "logs shop",
    "wait shop",
    "credential list",
    "credential set x --type Opaque",
    "credential delete x",
    "credential test x https://example.org/x.git",
    "credential trust x host ssh-ed25519 AAAA",
    "credential rotate-key",
    "environment list",
    "environment get x",
    "environment apply x --endpoint unix:///x",
    "environment claim x",
    "environment delete x",
    "notifier list",
    "notifier test x",
    "notifier delete x",
    "token list",
    "token create x --role viewer",
    "token revoke x",
    "catalog list",
    "catalog show x",
    "catalog sync x",
    "catalog delete x",
    "hook list",
    "hook test x --payload missing.json",
    "hook deliveries x",
    "hook redeliver x d",
    "hook delete x",
    "backup /nowhere/at/all",
    "restore missing --key missing",
    "check",
    // What it finds is its result, each with the mend.
    "doctor --none",
    "log-filter",
    "health --url http://127.0.0.1:1 --patience 0s",
    "simulate --seed x",
    "watch",
    "init",
];
/// And of those that ask no server.
const MORE: [&str; 7] = [
    "context list --none",
    "context add",
    "context use nobody",
    "context delete nobody",
    "schema --none",
    "man /proc/none",
    "completions tcsh",
];

/// The commands that can be typed, with all their words.
fn commands(of: &clap::Command, words: &str, found: &mut BTreeSet<String>) {
    let mut any = false;
    for command in of.get_subcommands() {
        any = true;
        commands(command, format!("{words} {}", command.get_name()).trim(), found);
    }
    if !any {
        found.insert(words.to_owned());
    }
}

#[test]
fn every_command_ends_its_errors_with_what_to_type_next() {
    let mut all = BTreeSet::new();
    commands(&Cli::command(), "", &mut all);
    let lines: Vec<&str> = LINES.iter().chain(&MORE).copied().collect();
    let named = |line: &str| all.iter().find(|it| line == *it || line.starts_with(&format!("{it} "))).cloned();
    let tried: BTreeSet<String> = lines.iter().filter_map(|line| named(line)).collect();
    let left: Vec<&String> = all.difference(&tried).collect();
    assert!(left.is_empty(), "a line that fails is wanted of each of these, too: {left:?}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("skep.yml"), "kind: Stack\n").unwrap();
    let server = nobody();
    for line in lines {
        let ran = skep(folder.path(), &server, line);
        assert!(!ran.status.success(), "{line}: {ran:?}");
        let text = err(&ran);
        let last = text.trim_end().lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("next: "), "{line}: {text}");
    }
}

#[test]
fn errors_read_well() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.yml"), "kind: Stack\nname: shop\n  ref: main\n").unwrap();
    std::fs::write(folder.path().join("skep.yml"), "kind: Stack\n").unwrap();
    let server = nobody();
    let mut text = String::new();
    for line in [
        "deploy",
        "deploy shop --image web",
        "get stack",
        "get stacks -o xml",
        "get stacks --phase Fine",
        "diff shop --from 01a",
        "suspend shop",
        "wait shop --timeout soon",
        "delete shop",
        "apply -f missing.yml",
        "deploy shop",
        "context use nobody",
        "init",
        "serve --listen 0.0.0.0:7717",
        "--server nowhere get stacks",
        "get stacks -w --phase Failed",
        "get tasks shop -w",
    ] {
        let ran = skep(folder.path(), &server, line);
        let code = ran.status.code().unwrap_or_default();
        let said = err(&ran).replace(&server, "http://SERVER").replace(&*folder.path().to_string_lossy(), "FOLDER");
        text.push_str(&format!("$ skep {line}\n{}[{code}]\n\n", said.trim_start()));
    }
    insta::assert_snapshot!(text);
}
