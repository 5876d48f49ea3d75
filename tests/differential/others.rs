//! Files that others wrote: every compose file under a folder, by both ways, on a Swarm whose nodes are drained so that
//! nothing runs; each folder of it is a repository. `SKEP_FILES=FOLDER cargo test --features sim --test differential -- --ignored --nocapture others`
//!
//! What the CLI refuses must not be made otherwise by Skep, and what both take must be the same objects. What a file names
//! and its folder lacks (an `env_file`, an external network, labelled `cmp-others`) is made first: it is
//! the file that is tried.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use skep::domain::Compat;

use crate::case::Case;
use crate::compare;
use crate::engine::Engine;

#[derive(Default)]
struct Tally {
    same: usize,
    refused_by_both: usize,
    refused_by_docker: Vec<String>,
    refused_by_skep: Vec<String>,
    differ: Vec<String>,
    /// What was exported of what runs would change it.
    not_back: Vec<String>,
    /// Taken with `compat: cli`, refused with `compat: strict`.
    refused_by_strict: Vec<String>,
}

#[test]
#[ignore = "needs a folder of files"]
fn files_of_others_give_the_same_objects() {
    let folder = PathBuf::from(std::env::var_os("SKEP_FILES").expect("SKEP_FILES names a folder"));
    let mut files = Vec::new();
    find(&folder, &mut files);
    files.sort();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let engine = Engine::new("cmp-others");
    let mut tally = Tally::default();
    for path in &files {
        runtime.block_on(one(&engine, &folder, path, &mut tally));
    }
    for (what, list) in [
        ("refused by docker, taken by Skep", &tally.refused_by_docker),
        ("refused by Skep, taken by docker", &tally.refused_by_skep),
        ("refused with `compat: strict` alone", &tally.refused_by_strict),
        ("differ", &tally.differ),
        ("would change when taken over without the file", &tally.not_back),
    ] {
        println!("\n##### {what}: {}\n{}", list.len(), list.join("\n"));
    }
    println!("\n{} files: {} the same, {} refused by both", files.len(), tally.same, tally.refused_by_both);
    let (differ, not_back) = (tally.differ.len(), tally.not_back.len());
    assert!(differ + not_back == 0, "{differ} files differ, {not_back} do not come back");
}

/// Compose files: YAML with `services` at its top.
fn find(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            find(&path, into);
        } else if path.extension().is_some_and(|end| end == "yml" || end == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.lines().any(|line| line.trim_end() == "services:") {
                into.push(path);
            }
        }
    }
}

async fn one(engine: &Engine, root: &Path, path: &Path, tally: &mut Tally) {
    let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let files = vec![(name, text)];
    let folder = path.parent().unwrap_or(root);
    // Each folder of the root is a repository.
    let inside = folder.strip_prefix(root).unwrap_or(folder);
    let repository = inside.components().next().map_or(root.to_owned(), |first| root.join(first));
    let inside = folder.strip_prefix(&repository).unwrap_or(folder).display().to_string();
    let of_shell = ["HOME", "PATH"].map(|name| (name.to_owned(), std::env::var(name).unwrap_or_default()));
    let mut case = Case { name: shown.clone(), compat: Compat::Cli, compose: 1, files, ..Case::default() };
    (case.folder, case.variables) = (inside, of_shell.into());
    let by_docker = by_docker(engine, &case, folder).await;
    let rendered = match engine.render(&case, Compat::Cli, &repository) {
        // The CLI knows where the file lies; Skep is told.
        Err(why) if why.contains("is relative") => {
            let root = folder.canonicalize().unwrap_or_default();
            case.files[0].1.push_str(&format!("\nx-skep: {{ bindRoot: {:?} }}\n", root.display().to_string()));
            engine.render(&case, Compat::Cli, &repository)
        }
        rendered => rendered,
    };
    let told = |why: &str| format!("=== {shown}\n{}", why.trim());
    match (by_docker, rendered) {
        (Err(_), Err(_)) => tally.refused_by_both += 1,
        (Err(why), Ok(_)) => tally.refused_by_docker.push(told(&why)),
        (Ok(_), Err(why)) => tally.refused_by_skep.push(told(&why)),
        (Ok((docker, back)), Ok(rendered)) => {
            if let Err(why) = back {
                tally.not_back.push(told(&why));
            }
            if let Err(why) = engine.render(&case, Compat::Strict, &repository) {
                tally.refused_by_strict.push(told(&why));
            }
            let made = engine.deployed(&rendered).await;
            match made.and_then(|skep| compare::compare(docker, skep)) {
                Ok(()) => tally.same += 1,
                Err(why) => tally.differ.push(told(&why)),
            }
        }
    }
}

/// What `docker stack deploy` makes, after what is missing was made, and whether it comes back.
async fn by_docker(engine: &Engine, case: &Case, folder: &Path) -> Result<(Value, Result<(), String>), String> {
    let mut made = BTreeSet::new();
    loop {
        let done = match engine.deploy(case, folder).and_then(|()| engine.raw()) {
            Ok(raw) => Ok((raw, engine.comes_back().await)),
            Err(why) => Err(why),
        };
        engine.remove()?;
        match done {
            Err(why) if missing(&why).is_some_and(|it| made.insert(it.clone()) && make(&it, folder)) => {}
            done => return done,
        }
    }
}

/// What the CLI misses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    File(PathBuf),
    Network(String),
    Object(&'static str, String),
}

fn missing(why: &str) -> Option<Missing> {
    let between = |from: &str, to: &str| {
        let (_, rest) = why.split_once(from)?;
        Some(rest.split_once(to).map_or(rest, |(name, _)| name).trim().to_owned())
    };
    if let Some(name) = between("network \"", "\" is declared as external, but could not be found") {
        return Some(Missing::Network(name));
    }
    if let Some(path) = between("open ", ": no such file") {
        return Some(Missing::File(path.into()));
    }
    let object =
        |kind: &'static str| between(&format!("{kind} not found: "), "\n").map(|name| Missing::Object(kind, name));
    object("config").or_else(|| object("secret"))
}

/// Whether it could be made.
fn make(missing: &Missing, folder: &Path) -> bool {
    let docker = |arguments: &[&str]| {
        let done = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
        done.is_ok_and(|done| done.status.success())
    };
    match missing {
        Missing::File(path) => {
            let path = folder.join(path);
            path.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok())
                && std::fs::write(path, "MADE=here\n").is_ok()
        }
        Missing::Network(name) => docker(&["network", "create", "-d", "overlay", "--label", "cmp-others", name]),
        Missing::Object(kind, name) => docker(&[kind, "create", "--label", "cmp-others", name, "/etc/hostname"]),
    }
}
