//! SECURITY.md and the page of guarantees: each threat and each promise names the tests that show what they say. And what of it
//! is about files alone: where dependencies come from, and how the page writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::file;

/// The files of a folder with one of these endings, each with its path from the root of the repository.
fn sources(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(sources(&path, endings));
        } else if endings.iter().any(|ending| path.ends_with(&format!(".{ending}"))) {
            let text = fs::read_to_string(entry.path()).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// How a test is run.
#[derive(Debug, PartialEq)]
enum Run {
    /// By `make test`.
    Always,
    /// By `make soak`.
    Ignored,
}

/// Every test, by its name, of the files that are built: those of a target of their own, and modules of others.
fn tests(sources: &[(String, String)]) -> BTreeMap<String, Run> {
    let modules: BTreeSet<&str> = sources
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let targets = file("Cargo.toml");
    let mut found = BTreeMap::new();
    for (path, text) in sources {
        let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
        let target = targets.contains(&format!("path = {path:?}"));
        if !(target || modules.contains(stem) || matches!(stem, "main" | "mod" | "lib")) {
            continue;
        }
        // A test's attributes are the lines right above it.
        let mut above = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                above.push(line);
                continue;
            }
            let name = line.split_once("fn ").and_then(|(_, rest)| Some(rest.split_once("()")?.0));
            if let Some(name) = name
                && above.iter().any(|it| *it == "#[test]" || it.starts_with("#[tokio::test"))
            {
                let ignored = above.iter().any(|it| it.starts_with("#[ignore"));
                found.insert(name.to_owned(), if ignored { Run::Ignored } else { Run::Always });
            }
            above.clear();
        }
    }
    found
}

/// What is wrong with the tests that a row names.
fn faults(row: &str, tests: &BTreeMap<String, Run>) -> Vec<String> {
    let shown = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
    let parts: Vec<_> = shown.split('`').collect();
    let named: Vec<_> =
        parts[1..].chunks(2).map(|it| (it[0], it.get(1).is_some_and(|it| it.starts_with('¹')))).collect();
    let mut found: Vec<String> = Vec::new();
    for (name, marked) in &named {
        match tests.get(*name) {
            None => found.push(format!("there is no test {name}")),
            Some(Run::Ignored) if !marked => found.push(format!("`make test` does not run {name}: mark it with ¹")),
            Some(Run::Always) if *marked => found.push(format!("`make test` does run {name}")),
            Some(_) => {}
        }
    }
    if !named.iter().any(|(_, marked)| !marked) {
        found.push("no test is named that `make test` runs".to_owned());
    }
    found
}

#[test]
fn every_threat_and_every_promise_names_tests_that_exist_and_are_run() {
    let mut all = sources("src", &["rs"]);
    all.extend(sources("tests", &["rs"]));
    let all = tests(&all);
    for page in ["SECURITY.md", "docs/explanation/guarantees.md"] {
        // The first table of the page whose last column is the names.
        let table = file(page);
        let from = table.lines().skip_while(|line| !line.starts_with("| ") || !line.ends_with("| shown by |"));
        let rows: Vec<_> = from.skip(2).take_while(|line| line.starts_with("| ")).collect();
        assert!(rows.len() > 10, "{page}: {rows:#?}");
        for row in rows {
            assert_eq!(faults(row, &all), Vec::<String>::new(), "{page}: {row}");
        }
    }

    // The check can fail.
    let text = |tests: &str| ("tests/shipped/main.rs".to_owned(), tests.to_owned());
    let one = "#[test]\nfn here() {}\n#[tokio::test]\n#[ignore = \"long\"]\nasync fn long() {}\nfn helper() {}\n";
    let one = tests(&[text(one)]);
    assert_eq!(faults("| a | `here` `long`¹ |", &one), Vec::<String>::new());
    for bad in [
        "| a | `gone` `here` |",
        "| a | `helper` `here` |",
        "| a | `here` `long` |",
        "| a | `here`¹ |",
        "| a | `long`¹ |",
    ] {
        assert!(!faults(bad, &one).is_empty(), "{bad}");
    }
    let orphan =
        tests(&[("tests/shipped/orphan.rs".to_owned(), "#[test]\nfn here() {}\n".to_owned()), text("mod other;\n")]);
    assert!(!faults("| a | `here` |", &orphan).is_empty(), "a file that no target has");
}

/// What is wrong with a package of Cargo.lock: it comes from elsewhere than crates.io, or has no checksum. Ours has neither.
fn crate_fault(package: &str) -> Option<String> {
    let field = |name: &str| package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let name = field("name").unwrap_or("a package without a name");
    let checksum = field("checksum").map(|it| it.trim_matches('"'));
    let whole = checksum.is_some_and(|it| it.len() == 64 && it.bytes().all(|c| c.is_ascii_hexdigit()));
    match field("source") {
        None if name == "\"skep\"" => None,
        Some("\"registry+https://github.com/rust-lang/crates.io-index\"") if whole => None,
        Some(_) if !whole => Some(format!("{name}: no checksum")),
        source => Some(format!("{name}: from {source:?}")),
    }
}

/// What is wrong with a package of dashboard/package-lock.json. Without `resolved` npm asks its registry.
fn npm_fault(name: &str, package: &serde_json::Value) -> Option<String> {
    let resolved = package.get("resolved").map(|it| it.as_str().unwrap_or_default());
    let elsewhere = resolved.is_some_and(|from| !from.starts_with("https://registry.npmjs.org/"));
    let checked = package["integrity"].as_str().is_some_and(|it| it.starts_with("sha512-") && it.len() == 95);
    if elsewhere || !package["link"].is_null() || !name.starts_with("node_modules/") {
        return Some(format!("{name}: from {resolved:?}"));
    }
    (!checked).then(|| format!("{name}: no checksum"))
}

#[test]
fn every_package_is_its_registrys_and_has_a_checksum() {
    let locked = file("Cargo.lock");
    let packages: Vec<_> = locked.split("[[package]]\n").skip(1).collect();
    assert!(packages.len() > 100, "{} packages", packages.len());
    assert_eq!(packages.iter().filter_map(|it| crate_fault(it)).collect::<Vec<_>>(), Vec::<String>::new());

    let locked: serde_json::Value = serde_json::from_str(&file("dashboard/package-lock.json")).unwrap();
    let packages = locked["packages"].as_object().unwrap();
    assert!(packages.len() > 50, "{} packages", packages.len());
    let dependencies = packages.iter().filter(|(name, _)| !name.is_empty());
    assert_eq!(dependencies.filter_map(|(name, it)| npm_fault(name, it)).collect::<Vec<_>>(), Vec::<String>::new());

    // The check can fail.
    let good = "name = \"a\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
    assert!(crate_fault(good).is_some_and(|it| it.contains("no checksum")));
    assert!(crate_fault("name = \"a\"\nsource = \"git+https://example.org/a\"\n").is_some());
    assert!(crate_fault("name = \"a\"\n").is_some());
    let integrity = format!("sha512-{}", "a".repeat(88));
    assert_eq!(npm_fault("node_modules/a", &serde_json::json!({ "integrity": integrity })), None);
    for bad in [
        serde_json::json!({}),
        serde_json::json!({ "integrity": integrity, "resolved": "git+ssh://git@example.org/a.git" }),
        serde_json::json!({ "integrity": integrity, "link": true }),
    ] {
        assert!(npm_fault("node_modules/a", &bad).is_some(), "{bad}");
    }
}

#[test]
fn the_page_writes_text_and_never_markup() {
    let all: String = sources("dashboard/src", &["ts", "tsx"]).into_iter().map(|(_, text)| text).collect();
    assert!(all.contains("preact"), "the sources of the page");
    for way in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "dangerouslySetInnerHTML",
        "document.write",
        "eval(",
        "new Function",
    ] {
        assert!(!all.contains(way), "the page's sources have {way}");
    }
}
