//! What is written into folders: a first manifest, manual pages, contexts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use skep::declare::{Body, Limits, Manifest, References};
use skep::seal::KeyFile;

use super::{err, out, skep};

fn git(folder: &Path, line: &str) {
    let mut git = Command::new("git");
    git.args(line.split(' ')).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let ran = git.output().unwrap();
    assert!(ran.status.success(), "{line}: {ran:?}");
}

/// The stack of a manifest.
fn read(text: &str) -> String {
    let sealer = KeyFile::from_bytes([1; 32]);
    let read = Manifest::read(text, None, &References::default(), &sealer, &Limits::default());
    let manifest = read.unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let bodies: Vec<&Body> = manifest.documents.iter().map(|document| &document.body).collect();
    assert!(matches!(bodies[..], [Body::Stack(..)]), "{text}");
    text.to_owned()
}

#[test]
fn a_first_manifest_is_made_of_a_folder_with_a_compose_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("repository/deploy");
    fs::create_dir_all(&folder).unwrap();
    git(&root.path().join("repository"), "init -q -b trunk");
    git(&root.path().join("repository"), "remote add origin git@git.example.org:team/shop.git");
    fs::write(folder.join("compose.yml"), "services:\n  web:\n    image: nginx:1.29\n").unwrap();
    let ran = skep(&folder, "", "init");
    assert!(ran.status.success(), "{ran:?}");
    assert!(err(&ran).trim_end().lines().last().unwrap_or_default().starts_with("next: "), "{ran:?}");
    let text = read(&fs::read_to_string(folder.join("skep.yml")).unwrap());
    for part in [
        "name: deploy",
        "ssh://git@git.example.org/team/shop.git",
        "trunk",
        "path: \"deploy\"",
        "compose: [compose.yml]",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("compat"), "{text}");

    // What is there is not written over but by a word, and a file that depends on the CLI's own rules says so.
    fs::write(folder.join("compose.yml"), "services:\n  web:\n    image: nginx:1.29\n    privileged: true\n").unwrap();
    assert_eq!(skep(&folder, "", "init").status.code(), Some(5));
    let ran = skep(&folder, "", "init shop --force");
    assert!(ran.status.success(), "{ran:?}");
    let text = read(&fs::read_to_string(folder.join("skep.yml")).unwrap());
    assert!(text.contains("name: shop") && text.contains("compat: cli"), "{text}");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let ran = skep(folder.path(), "", "man pages");
    assert!(ran.status.success() && out(&ran).contains("man -l pages/skep.1"), "{ran:?}");
    for page in ["skep.1", "skep-deploy.1", "skep-get.1", "skep-get-stacks.1", "skep-credential-set.1", "skep-watch.1"]
    {
        let text = fs::read_to_string(folder.path().join("pages").join(page))
            .unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let whole = out(&skep(folder.path(), "", "man"));
    assert!(whole.contains(".TH skep 1") && whole.contains("rollback"), "{whole}");
}

#[test]
fn contexts_are_kept_where_their_owner_alone_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let skep = |line: &str| skep(folder.path(), "", line);
    let added = skep("context add prod --server https://skep.example.org --token hunter2hunter2 -e blue");
    assert!(added.status.success(), "{added:?}");
    assert!(skep("context add test --server http://127.0.0.1:1").status.success());
    let mode = fs::metadata(folder.path().join("contexts.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = skep("context list");
    assert!(out(&list).contains("prod *") && out(&list).contains("test "), "{list:?}");
    let json: serde_json::Value = serde_json::from_slice(&skep("context list -o json").stdout).unwrap();
    assert_eq!(json[0]["hasToken"], true);
    for shown in [out(&list), json.to_string()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(skep("context use test").status.success());
    assert!(out(&skep("context list")).contains("test *"));
    // What is in use is asked: nobody is at that address.
    let asked = err(&skep("get stacks"));
    assert!(asked.contains("no answer from http://127.0.0.1:1"), "{asked}");
    assert!(skep("context delete test").status.success());
    assert_eq!(skep("context use test").status.code(), Some(3));
    assert!(!out(&skep("context list")).contains("test"));
}
