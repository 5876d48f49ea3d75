//! SECURITY.md and the page of guarantees: each threat and each promise names the tests that show what they say. And what of it
//! is about files alone: where dependencies come from, and how the page writes.

use std::fs;
use std::path::Path;

use crate::file;

/// What the files of a folder with one of these endings hold, one after the other.
fn sources(folder: &Path, endings: &[&str], into: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, endings, into);
        } else if entry.extension().is_some_and(|it| endings.iter().any(|ending| it == *ending)) {
            into.push_str(&fs::read_to_string(entry).unwrap());
        }
    }
}

#[test]
fn every_threat_and_every_promise_names_tests_that_exist() {
    let mut all = String::new();
    for folder in ["src", "tests"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &["rs"], &mut all);
    }
    for page in ["SECURITY.md", "docs/explanation/guarantees.md"] {
        // The first table of the page whose last column is the names.
        let table = file(page);
        let from = table.lines().skip_while(|line| !line.starts_with("| ") || !line.ends_with("| shown by |"));
        let rows: Vec<_> = from.skip(2).take_while(|line| line.starts_with("| ")).collect();
        assert!(rows.len() > 10, "{page}: {rows:#?}");
        for row in rows {
            let shown = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
            let names: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "{page}: no test is named: {row}");
            for name in names {
                let test = all.match_indices(&format!("fn {name}()")).any(|(at, _)| {
                    // Its attribute is among the few lines before.
                    let mut before = all[..at].rsplit('\n').take(4).map(str::trim);
                    before.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
                });
                assert!(test, "{page}: there is no test {name}: {row}");
            }
        }
    }
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
    let mut all = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard/src"), &["ts", "tsx"], &mut all);
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
