//! The arrows between the rooms, the purity of the pure ones, and the cap on a file's length, as `src/lib.rs` draws and
//! CONTRIBUTING.md tells them.
//!
//! Reads the sources as tokens: no compiler is asked, so a macro could hide a path. Items under `#[cfg(test)]` are left out.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Production lines a file may have.
const CAP: usize = 500;

const ROOMS: [&str; 21] = [
    "api",
    "app",
    "assess",
    "cli",
    "compose",
    "controller",
    "declare",
    "domain",
    "keys",
    "ledger",
    "notify",
    "outbound",
    "plan",
    "ports",
    "registry",
    "relay",
    "seal",
    "sim",
    "source",
    "store",
    "telemetry",
];

/// Rooms without I/O, async, clock or randomness.
const PURE: [&str; 4] = ["domain", "compose", "plan", "assess"];

/// Which other rooms a room may name. One that is not listed may name all.
fn allowed(room: &str) -> Option<&'static [&'static str]> {
    Some(match room {
        "domain" => &[],
        "keys" => &["domain"],
        "compose" | "plan" | "ports" => &["domain"],
        // Whether a task is the wanted one is asked in the same canonical form that the plan compares.
        "assess" => &["domain", "plan"],
        "ledger" | "telemetry" => &["domain", "ports"],
        "declare" => &["domain", "keys", "ledger", "ports"],
        "api" => &["declare", "domain", "ledger", "ports", "telemetry"],
        "controller" => &["assess", "compose", "declare", "domain", "ledger", "plan", "ports", "telemetry"],
        "cli" => &["api", "app", "declare", "domain", "ledger", "ports"],
        "outbound" => &["domain", "keys", "ports"],
        "notify" => &["domain", "keys", "ledger", "outbound", "ports"],
        "swarm" | "source" | "registry" | "relay" => &["domain", "keys", "outbound", "ports"],
        "store" | "seal" => &["domain", "ports"],
        _ => return None,
    })
}

/// Ports that let their holder ask the world or change it.
const ACTING: [&str; 4] = ["Swarm", "Source", "SwarmConnector", "Registry"];
/// Rooms that only record and read, and may not name those.
const NOT_ACTING: [&str; 4] = ["declare", "api", "cli", "notify"];

/// Where a library may be named: below these modules only.
const LIBRARIES: [(&str, &str); 16] = [
    ("age", "source::sops"),
    ("aes_gcm", "source::sops"),
    ("bollard", "swarm::docker"),
    ("hyper", "swarm::docker"),
    ("hyper_util", "swarm::docker"),
    ("gix", "source::git"),
    ("sled", "store::sled"),
    ("crc32c", "store::sled"),
    ("tar", "store::sled"),
    ("chacha20poly1305", "seal"),
    ("opentelemetry", "telemetry"),
    ("opentelemetry_sdk", "telemetry"),
    ("opentelemetry_otlp", "telemetry"),
    ("actix_web", "api"),
    ("async_graphql", "api"),
    ("async_graphql_actix_web", "api"),
];

/// Paths that a pure room may not name, nor anything below them.
const IMPURE: [&str; 13] = [
    "tokio",
    "tokio_util",
    "futures_util",
    "rand",
    "getrandom",
    "fastrand",
    "reqwest",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
];

/// Whether a pure room may not name this.
fn impure(path: &[String]) -> bool {
    let [.., before, last] = path else { return false };
    let clock = matches!(before.as_str(), "Timestamp" | "Zoned" | "SystemTime" | "Instant") && last == "now";
    // Addresses are values; sockets are not.
    let address = path.iter().any(|name| name.ends_with("Addr") || name == "AddrParseError");
    let net = begins(path, "std::net") && !address;
    clock || net || IMPURE.iter().any(|it| begins(path, it))
}

/// The words, numbers and marks of a text, each with its line; without comments, texts and characters.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let (mut i, mut line) = (0, 1);
    while i < characters.len() {
        let start = i;
        match characters[i] {
            '/' if at(i + 1) == '/' => {
                while i < characters.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 1;
                i += 2;
                while i < characters.len() && depth > 0 {
                    match (at(i), at(i + 1)) {
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        _ => i += 1,
                    }
                }
            }
            '"' => {
                i += 1;
                while i < characters.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            'r' if at(i + 1) == '"' || (at(i + 1) == '#' && matches!(at(i + 2), '#' | '"')) => {
                let hashes = characters[i + 1..].iter().take_while(|c| **c == '#').count();
                i += hashes + 2;
                while i < characters.len()
                    && !(at(i) == '"'
                        && characters[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes)
                {
                    i += 1;
                }
                i += hashes + 1;
            }
            // A character, not a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                while i < characters.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                found.push((line, characters[start..i].iter().collect()));
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                found.push((line, "::".into()));
            }
            c => {
                i += 1;
                if !c.is_whitespace() {
                    found.push((line, c.to_string()));
                }
            }
        }
        line += characters[start..i.min(characters.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

/// The same without items under `#[cfg(test)]`, and the lines those take.
fn production(tokens: Vec<(usize, String)>) -> (Vec<(usize, String)>, usize) {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut test_lines, mut i) = (Vec::new(), 0, 0);
    while i < tokens.len() {
        if !(i + mark.len() <= tokens.len() && mark.iter().zip(&tokens[i..]).all(|(m, (_, t))| m == t)) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let first = tokens[i].0;
        i += mark.len();
        let mut depth = 0;
        while let Some((_, token)) = tokens.get(i) {
            i += 1;
            match token.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(token.as_str(), "}" | ";") {
                break;
            }
        }
        test_lines += tokens[i - 1].0 - first + 1;
    }
    (kept, test_lines)
}

/// One path of a file, resolved as far as the file itself tells.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    line: usize,
    path: Vec<String>,
}

/// Collects the paths of a file: those of `use`, opened up, and those in the code, with names that a `use` or `mod` of the
/// same file brought in replaced by what they stand for.
struct Paths<'a> {
    tokens: &'a [(usize, String)],
    module: &'a [String],
    bound: BTreeMap<String, Vec<String>>,
    found: Vec<Named>,
}

impl Paths<'_> {
    fn token(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |(_, token)| token)
    }

    fn collect(mut self) -> Vec<Named> {
        // First what is brought in, then what is named.
        let mut spans = Vec::new();
        let mut i = 0;
        while i < self.tokens.len() {
            if self.token(i) == "mod" && matches!(self.token(i + 2), ";" | "{") {
                let name = self.token(i + 1).to_owned();
                let path = [&["crate".to_owned()], self.module, std::slice::from_ref(&name)].concat();
                self.bound.insert(name, path);
            }
            if self.token(i) == "use" {
                let end = (i..self.tokens.len()).find(|j| self.token(*j) == ";").unwrap_or(self.tokens.len());
                spans.push((i, end));
                i = end;
            }
            i += 1;
        }
        for (start, end) in &spans {
            self.tree(start + 1, *end, &[]);
        }
        let mut i = 0;
        while i < self.tokens.len() {
            if let Some((_, end)) = spans.iter().find(|(start, _)| *start == i) {
                i = *end;
            } else if word(self.token(i)) && self.token(i.wrapping_sub(1)) != "::" {
                let (line, mut path) = (self.tokens[i].0, vec![self.token(i).to_owned()]);
                while self.token(i + 1) == "::" && word(self.token(i + 2)) {
                    path.push(self.token(i + 2).to_owned());
                    i += 2;
                }
                self.name(line, path);
            }
            i += 1;
        }
        self.found
    }

    /// One branch of a `use`, up to `end`, after the segments in `before`. Gives where it stopped.
    fn tree(&mut self, mut i: usize, end: usize, before: &[String]) -> usize {
        let mut path = before.to_vec();
        while i < end {
            match self.token(i) {
                "::" => i += 1,
                "{" => {
                    i += 1;
                    while i < end && self.token(i) != "}" {
                        i = self.tree(i, end, &path);
                        if self.token(i) == "," {
                            i += 1;
                        }
                    }
                    return i + 1;
                }
                "as" => {
                    let alias = self.token(i + 1).to_owned();
                    self.bring(self.tokens[i].0, path, Some(alias));
                    return i + 2;
                }
                "," | "}" => break,
                segment => {
                    path.push(segment.to_owned());
                    i += 1;
                }
            }
        }
        self.bring(self.tokens[i.min(self.tokens.len() - 1)].0, path, None);
        i
    }

    fn bring(&mut self, line: usize, mut path: Vec<String>, alias: Option<String>) {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let path = self.resolve(path);
        if let Some(name) = alias.or_else(|| path.last().cloned()) {
            self.bound.insert(name, path.clone());
        }
        self.found.push(Named { line, path });
    }

    fn name(&mut self, line: usize, path: Vec<String>) {
        let path = self.resolve(path);
        self.found.push(Named { line, path });
    }

    fn resolve(&self, path: Vec<String>) -> Vec<String> {
        let whole = |module: &[String], rest: &[String]| [&["crate".to_owned()], module, rest].concat();
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        match path[0].as_str() {
            "super" => whole(&self.module[..self.module.len().saturating_sub(ups)], &path[ups..]),
            "self" if path.len() > 1 => whole(self.module, &path[1..]),
            "skep" if path.len() > 1 => whole(&[], &path[1..]),
            first => match self.bound.get(first) {
                Some(bound) if bound[0] != first || bound.len() > 1 => [bound, &path[1..]].concat(),
                _ => path,
            },
        }
    }
}

fn word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The module of a file below `src`: `plan/mod.rs` is `plan`, `swarm/docker/encode.rs` is `swarm::docker::encode`.
fn module(file: &str) -> Vec<String> {
    let parts: Vec<_> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    parts.into_iter().filter(|part| part != "mod" && part != "lib").collect()
}

fn begins(path: &[String], with: &str) -> bool {
    let with: Vec<_> = with.split("::").collect();
    path.len() >= with.len() && with.iter().zip(path).all(|(a, b)| a == b)
}

/// What a file does that it may not.
fn violations(file: &str, text: &str) -> Vec<String> {
    let module = module(file);
    let room = module.first().map_or("lib", String::as_str);
    let (tokens, test_lines) = production(tokens(text));
    let paths = Paths { tokens: &tokens, module: &module, bound: BTreeMap::new(), found: Vec::new() }.collect();
    let mut found = Vec::new();
    let mut say = |line: usize, what: String| found.push(format!("src/{file}:{line}: {what}"));

    let lines = text.lines().count() - test_lines;
    if lines > CAP {
        say(lines, format!("{lines} production lines; {CAP} is the most"));
    }
    for Named { line, path } in &paths {
        let other = path.get(1).filter(|_| path[0] == "crate").map_or("", String::as_str);
        if (ROOMS.contains(&other) || other == "swarm")
            && other != room
            && allowed(room).is_some_and(|allowed| !allowed.contains(&other))
        {
            say(*line, format!("{room} may not know {other} ({})", path.join("::")));
        }
        if NOT_ACTING.contains(&room) && other == "ports" {
            let last = path.last().map_or("", String::as_str);
            if last == "*" || path[2..].iter().any(|segment| ACTING.contains(&segment.as_str())) {
                say(*line, format!("{room} only records: it may not name {}", path.join("::")));
            }
        }
        for (library, home) in LIBRARIES {
            if path[0] == library && path.len() > 1 && !begins(&module, home) {
                say(*line, format!("{library} is for {home} alone ({})", path.join("::")));
            }
        }
        if PURE.contains(&room) && impure(path) {
            say(*line, format!("{room} is pure: it may not name {}", path.join("::")));
        }
    }
    if PURE.contains(&room) {
        for (line, _) in tokens.iter().filter(|(_, token)| token == "async") {
            say(*line, format!("{room} is pure: nothing in it is async"));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// All files below a folder, as paths relative to it.
fn files(root: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            if name != "tests" {
                files(root, &path, found);
            }
        } else if Path::new(&name).extension().is_some_and(|it| it == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The fuzz targets compile these rooms from their sources, with a nightly toolchain that `make test` does not need.
#[test]
fn the_fuzz_targets_have_every_library_of_the_pure_rooms_they_are_about() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dependencies = |manifest: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root.join(manifest)).unwrap();
        let table = text.split("\n[").find_map(|it| it.strip_prefix("dependencies]")).unwrap().to_owned();
        let name = |line: &str| Some(line.split(['=', '.']).next()?.trim().to_owned());
        table.lines().filter(|line| !line.starts_with('#')).filter_map(name).filter(|it| !it.is_empty()).collect()
    };
    let (own, fuzz) = (dependencies("Cargo.toml"), dependencies("fuzz/Cargo.toml"));
    let mut sources = Vec::new();
    files(&root.join("src"), "domain", &mut sources);
    files(&root.join("src"), "compose", &mut sources);
    assert!(sources.len() > 50 && own.len() > 20, "{} {}", sources.len(), own.len());
    let mut missing = BTreeSet::new();
    for path in sources.iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(root.join("src").join(path)).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: String = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .fold(String::new(), |all, line| all + line + "\n");
        let word = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "_:.".contains(c));
        let named = |name: &&String| {
            let path = format!("{}::", name.replace('-', "_"));
            code.match_indices(&path).any(|(at, _)| word(&code[..at]) && !code[at + path.len()..].starts_with('<'))
        };
        missing.extend(own.iter().filter(named).filter(|name| !fuzz.contains(*name)).cloned());
    }
    assert_eq!(missing, BTreeSet::new(), "fuzz/Cargo.toml lacks what the rooms need");
}

#[test]
fn every_room_knows_only_what_its_arrows_allow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, "", &mut all);
    assert!(all.len() > 20, "the sources were not found");
    let found: Vec<_> =
        all.iter().flat_map(|file| violations(file, &fs::read_to_string(root.join(file)).expect(file))).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_room_of_the_map_has_its_rules() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for room in map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(ROOMS.contains(&room) || room == "swarm", "the room `{room}` has no rule here");
    }
}

/// Each rule, broken: a check that lets these through is no check.
#[test]
fn a_broken_rule_is_found() {
    let broken = [
        ("domain/name.rs", "use crate::ports::Store;", "domain may not know ports"),
        ("domain/name.rs", "use super::super::plan::Plan;", "domain may not know plan"),
        ("compose/mod.rs", "fn a() { crate::plan::plan() }", "compose may not know plan"),
        ("plan/mod.rs", "use crate::{assess::Verdict, domain::Name};", "plan may not know assess"),
        ("domain/task.rs", "use std::net::{IpAddr, TcpStream};", "may not name std::net::TcpStream"),
        ("assess/mod.rs", "use crate::{domain, compose as c};", "assess may not know compose"),
        ("ports/store.rs", "use crate::ledger::Ledger;", "ports may not know ledger"),
        ("ledger/mod.rs", "use crate::declare::apply;", "ledger may not know declare"),
        ("declare/mod.rs", "use crate::controller::Queue;", "declare may not know controller"),
        ("declare/mod.rs", "use crate::ports::{Store, Swarm};", "may not name crate::ports::Swarm"),
        ("declare/mod.rs", "use crate::ports; fn a(s: &dyn ports::Source) {}", "may not name crate::ports::Source"),
        ("declare/mod.rs", "use crate::ports::Registry;", "may not name crate::ports::Registry"),
        ("controller/mod.rs", "use crate::registry::http::HttpRegistry;", "controller may not know registry"),
        ("api/query.rs", "use crate::ports::*;", "may not name crate::ports::*"),
        ("api/query.rs", "use crate::ports::SwarmConnector as C;", "may not name crate::ports::SwarmConnector"),
        ("api/query.rs", "fn a() { crate::controller::run() }", "api may not know controller"),
        ("controller/mod.rs", "use crate::api::Schema;", "controller may not know api"),
        ("controller/mod.rs", "use crate::swarm::docker::Docker;", "controller may not know swarm"),
        ("controller/mod.rs", "use bollard::Docker;", "bollard is for swarm::docker alone"),
        ("cli/mod.rs", "use crate::store::sled::SledStore;", "cli may not know store"),
        ("swarm/sim.rs", "use bollard::Docker;", "bollard is for swarm::docker alone"),
        ("swarm/docker.rs", "use crate::ledger::Ledger;", "swarm may not know ledger"),
        ("store/mod.rs", "fn a() { sled::open() }", "sled is for store::sled alone"),
        ("app/mod.rs", "use actix_web::App;", "actix_web is for api alone"),
        ("source/git.rs", "use async_graphql::Object;", "async_graphql is for api alone"),
        ("plan/mod.rs", "use std::{collections::BTreeMap, fs};", "may not name std::fs"),
        ("plan/mod.rs", "fn a() { let _ = std::time::SystemTime::now(); }", "may not name std::time::SystemTime"),
        ("plan/mod.rs", "use std::time; fn a() { time::Instant::now(); }", "may not name std::time::Instant"),
        ("domain/task.rs", "use jiff::Timestamp; fn a() { Timestamp::now(); }", "may not name jiff::Timestamp::now"),
        ("domain/task.rs", "fn a() { fastrand::u8(..); }", "may not name fastrand"),
        ("assess/mod.rs", "async fn a() {}", "nothing in it is async"),
        ("compose/mod.rs", "use tokio::fs;", "may not name tokio"),
        ("api/mod.rs", &"\n".repeat(CAP + 1), "501 production lines"),
    ];
    for (file, text, wanted) in broken {
        let found = violations(file, text);
        assert!(found.iter().any(|it| it.contains(wanted)), "`{text}` in {file}: {found:?}");
    }
}

#[test]
fn what_is_allowed_is_let_through() {
    let fine = [
        ("plan/mod.rs", "use crate::domain::{self, Stack}; use super::plan::step::Step;"),
        (
            "plan/mod.rs",
            "// use crate::api::Schema;\n/* tokio /* async */ */ fn a() { \"crate::api\"; r#\"std::fs\"#; '\"'; }",
        ),
        ("plan/mod.rs", "fn a() {}\n#[cfg(test)]\nmod tests { use crate::api::Schema; async fn b() {} }"),
        ("store/mod.rs", "pub mod sled; pub use sled::SledStore;"),
        ("store/sled/open.rs", "use sled::Db; fn a() { crc32c::crc32c(&[]); }"),
        ("declare/mod.rs", "use crate::domain::Source; use crate::ports::Store; fn a(s: &Source) { Source::Git(s) }"),
        (
            "domain/live.rs",
            "struct Task { rand: u8, now: Timestamp } fn a<'a>(now: &'a str) { let tokio = 1; } use std::net::IpAddr;",
        ),
        ("app/mod.rs", "use crate::{api, controller, swarm::docker::Docker};"),
    ];
    for (file, text) in fine {
        assert_eq!(violations(file, text), Vec::<String>::new(), "`{text}` in {file}");
    }
}

#[test]
fn tests_are_not_counted_as_production_lines() {
    let text = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn b() {}\n".repeat(CAP));
    assert_eq!(violations("api/mod.rs", &text), Vec::<String>::new());
}
