//! SECURITY.md and the page of guarantees: each threat and each promise names the tests that show what they say.

use std::fs;
use std::path::Path;

use crate::file;

/// Everything that is compiled, tests and all.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, into);
        } else if entry.extension().is_some_and(|it| it == "rs") {
            into.push_str(&fs::read_to_string(entry).unwrap());
        }
    }
}

#[test]
fn every_threat_and_every_promise_names_tests_that_exist() {
    let mut all = String::new();
    for folder in ["src", "tests"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
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
