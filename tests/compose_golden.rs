//! Whole compose files and what they render to. Each folder of `tests/compose` is a case: `stack.yml` and, when there are
//! more, the files that `input.json` lists; `expected.json` is the result. `SKEP_GOLDEN=write` writes it anew: read the
//! difference before committing it.
//!
//! A `docker.json` beside it holds the bodies of the requests that `docker stack deploy` (28.2.2) sent for the same files
//! and variables, caught by a server that only writes down what it is sent: the rendering must say the same.

#![expect(clippy::expect_used, reason = "a test's own files are there, or the test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use skep::compose::{
    Attachment, Cli, ComposeFile, Confidential, Difference, KEYS, Needs, Render, RenderErrors, RenderInput, Rule,
    Treatment, VariableValue, render,
};
use skep::domain::{Compat, Digester, Rendered, SecretBytes, StackName, UnsetVariables};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compose");

struct Case {
    folder: PathBuf,
    files: Vec<(String, String)>,
    variables: BTreeMap<String, VariableValue>,
    images: BTreeMap<String, String>,
    compat: Compat,
    unset: UnsetVariables,
    subfolder: String,
}

impl Case {
    fn read(folder: &Path) -> Self {
        let settings = std::fs::read_to_string(folder.join("input.json")).unwrap_or_else(|_| "{}".to_owned());
        let settings: Value = serde_json::from_str(&settings).expect("input.json is JSON");
        let subfolder = settings["folder"].as_str().unwrap_or_default().to_owned();
        let names: Vec<String> = match settings["files"].as_array() {
            Some(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => vec!["stack.yml".to_owned()],
        };
        let read = |name: String| {
            let text = std::fs::read_to_string(folder.join(&subfolder).join(&name)).expect("a compose file");
            (name, text)
        };
        let variable = |(name, value): (&String, &Value)| {
            let (text, secret) = match value {
                Value::String(text) => (text.clone(), false),
                value => (value["secret"].as_str().expect("a secret").to_owned(), true),
            };
            (name.clone(), VariableValue { text, secret })
        };
        Self {
            folder: folder.to_owned(),
            files: names.into_iter().map(read).collect(),
            variables: settings["variables"].as_object().into_iter().flatten().map(variable).collect(),
            images: serde_json::from_value(settings["images"].clone()).unwrap_or_default(),
            compat: if settings["compat"] == "cli" { Compat::Cli } else { Compat::Strict },
            unset: if settings["unset"] == "empty" { UnsetVariables::Empty } else { UnsetVariables::Error },
            subfolder,
        }
    }

    fn render(&self) -> Rendered {
        self.try_render().unwrap_or_else(|errors| panic!("{}:\n{errors}", self.folder.display()))
    }

    fn try_render(&self) -> Result<Rendered, RenderErrors> {
        let stack = StackName::parse("shop").expect("a name");
        let digester = Digester::new([7; 32]);
        let files: Vec<ComposeFile<'_>> = self.files.iter().map(|(name, text)| ComposeFile { name, text }).collect();
        let mut attachments: BTreeMap<String, Attachment> = BTreeMap::new();
        let mut confidential = Confidential::default();
        for _ in 0..6 {
            let input = RenderInput {
                stack: &stack,
                files: &files,
                variables: &self.variables,
                images: &self.images,
                compat: self.compat,
                unset: self.unset,
                attachments: &attachments,
                folder: &self.subfolder,
                confidential: &confidential,
                digester: &digester,
            };
            match render(&input)? {
                Render::Done(rendered) => return Ok(*rendered),
                Render::Needs(needs) => {
                    assert_ne!(needs, Needs::default());
                    let value = || Ok(SecretBytes::new(b"hunter2".to_vec()));
                    confidential.credentials.extend(needs.values.into_iter().map(|wanted| (wanted, value())));
                    attachments.extend(needs.files.into_iter().map(|path| {
                        let content = std::fs::read(self.folder.join(&path));
                        (path, content.map(Arc::from).map_err(|_| "no such file".to_owned()))
                    }));
                }
            }
        }
        panic!("{} is never satisfied", self.folder.display());
    }
}

#[test]
fn every_case_renders_to_what_is_expected() {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(CASES)
        .expect("cases")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 10, "only {} cases", folders.len());
    for folder in folders {
        let case = Case::read(&folder);
        let rendered = case.render();
        assert_eq!(rendered, case.render(), "{} is not deterministic", folder.display());
        let material: BTreeMap<&String, &str> =
            rendered.material.0.iter().map(|(name, data)| (name, data.expose_text().expect("text"))).collect();
        let warnings: Vec<String> = rendered
            .warnings
            .iter()
            .map(|warning| format!("{}:{}:{}: {}", warning.file, warning.line, warning.column, warning.message))
            .collect();
        let found = json!({"desired": rendered.desired, "material": material, "warnings": warnings});
        let path = folder.join("expected.json");
        if std::env::var_os("SKEP_GOLDEN").is_some_and(|value| value == "write") {
            let text = serde_json::to_string_pretty(&found).expect("JSON");
            std::fs::write(&path, text + "\n").expect("written");
            continue;
        }
        let expected = std::fs::read_to_string(&path).expect("expected.json");
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        assert!(found == expected, "{}:\n{}", folder.display(), serde_json::to_string_pretty(&found).expect("JSON"));
    }
}

/// `docs/reference/compose.md` holds the code's own tables. `SKEP_GOLDEN=write` writes them anew.
#[test]
fn the_documentation_has_the_tables_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/compose.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let found = with_table(&with_table(&text, "keys", &table_of_keys()), "differences", &table_of_differences());
    if std::env::var_os("SKEP_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(path, found).expect("written");
        return;
    }
    assert!(found == text, "docs/reference/compose.md is not what the code says: SKEP_GOLDEN=write writes it anew");
}

/// The text with what stands between the marks of a table replaced.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open).expect("the table begins");
    let (_, after) = rest.split_once(&close).expect("the table ends");
    format!("{before}{open}{table}{close}{after}")
}

fn table_of_keys() -> String {
    let mut table = "| key | strict | `docker stack deploy`, and `compat: cli` | |\n|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let strict = match key.treatment {
            Treatment::Same => "same",
            Treatment::Better => "better",
            Treatment::Warned => "warned",
            Treatment::Refused => "refused",
        };
        let cli = match key.cli {
            Cli::Takes => "takes it",
            Cli::Ignores => "ignores it",
            Cli::Refuses => "refuses it",
        };
        table.push_str(&format!("| `{}` | {strict} | {cli} | {} |\n", key.path, key.note));
    }
    table
}

fn table_of_differences() -> String {
    let mut table = "| what | `compat: strict` | `compat: cli` |\n|---|---|---|\n".to_owned();
    for Rule { about, strict, cli } in Difference::ALL.map(Difference::rule) {
        table.push_str(&format!("| {about} | {strict} | {cli} |\n"));
    }
    table
}

/// Each key does what the table of keys says: of one that is refused the error stands at its place, of one that is left out
/// a warning, and what is taken gives neither.
#[test]
fn every_key_does_what_its_table_says() {
    let text = std::fs::read_to_string(format!("{CASES}/keys.txt")).expect("a sample of each key");
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (path, sample) = line.split_once(" = ").expect("`PATH = YAML`");
        seen.insert(path);
        let key = KEYS.iter().find(|key| key.path == path).unwrap_or_else(|| panic!("{path} is in no table"));
        for compat in [Compat::Strict, Compat::Cli] {
            let case = Case {
                folder: PathBuf::from(CASES),
                files: vec![("s.yml".to_owned(), sample.to_owned())],
                variables: BTreeMap::from([(
                    "VALUE".to_owned(),
                    VariableValue { text: "x".to_owned(), secret: false },
                )]),
                images: BTreeMap::new(),
                compat,
                unset: UnsetVariables::Error,
                subfolder: String::new(),
            };
            let expected = match (compat, key.treatment, key.cli) {
                (Compat::Strict, Treatment::Refused, _) | (Compat::Cli, _, Cli::Refuses) => "refused",
                (_, Treatment::Warned, _) | (Compat::Cli, _, Cli::Ignores) => "warned",
                _ => "taken",
            };
            let name = path.rsplit('.').find(|step| *step != "*").expect("a name").trim_end_matches("[]");
            let found = match case.try_render() {
                Err(errors) => {
                    let steps: Vec<&str> = path.split('.').filter(|step| !matches!(*step, "services" | "*")).collect();
                    let there = errors
                        .errors()
                        .iter()
                        .all(|error| steps.iter().any(|step| error.field.contains(step.trim_end_matches("[]"))));
                    assert!(there, "{path}, {compat:?}: an error elsewhere:\n{errors}");
                    "refused"
                }
                Ok(rendered) => {
                    let told = rendered.warnings.iter().any(|warning| {
                        let (field, said) = warning.message.split_once(": ").unwrap_or_default();
                        field.contains(name) && (said.starts_with("ignored") || said.starts_with("Swarm does not make"))
                    });
                    if told { "warned" } else { "taken" }
                }
            };
            if found != expected {
                wrong.push(format!("{path}, {compat:?}: {found}, not {expected}: {sample}"));
            }
        }
    }
    let missing: Vec<&str> = KEYS
        .iter()
        .filter(|key| key.treatment != Treatment::Same)
        .map(|key| key.path)
        .filter(|path| !seen.contains(path))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "no sample");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Broken files with everything they are told: the place, the field, what is wrong, the mend.
#[test]
fn broken_files_name_the_place_and_the_mend() {
    let path = format!("{CASES}/broken.txt");
    let text = std::fs::read_to_string(&path).expect("broken files");
    let mut found = String::new();
    let mut count = 0;
    for part in text.split("=== file\n").skip(1) {
        let (file, _) = part.split_once("=== told\n").expect("what it is told");
        let case = Case {
            folder: PathBuf::from(CASES),
            files: vec![("s.yml".to_owned(), file.to_owned())],
            variables: BTreeMap::new(),
            images: BTreeMap::new(),
            compat: Compat::Strict,
            unset: UnsetVariables::Error,
            subfolder: "deploy".to_owned(),
        };
        let told = match case.try_render() {
            Ok(rendered) => panic!("{file}\nwas taken: {rendered:#?}"),
            Err(errors) => {
                let bare = errors.errors().iter().find(|error| error.hint.is_none());
                assert!(bare.is_none(), "nothing says how to mend it: {bare:?}");
                errors.to_string()
            }
        };
        found.push_str(&format!("=== file\n{file}=== told\n{told}\n"));
        count += 1;
    }
    assert!(count >= 60, "only {count} broken files");
    if std::env::var_os("SKEP_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, found).expect("written");
        return;
    }
    for (found, expected) in found.lines().zip(text.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, text);
}

/// What `docker stack deploy` sends and what is rendered here, without what does not count: absent against empty, ids, the
/// digests in names, and the order of references by name.
#[test]
fn the_docker_cli_sends_the_same() {
    let mut compared = 0;
    for folder in std::fs::read_dir(CASES).expect("cases").flatten().map(|entry| entry.path()) {
        let Ok(sent) = std::fs::read_to_string(folder.join("docker.json")) else { continue };
        let mut sent: Value = serde_json::from_str(&sent).expect("JSON");
        let rendered = Case::read(&folder).render();
        let desired = json!(rendered.desired);
        let objects =
            |kind: &str| -> Vec<Value> { desired[kind].as_object().expect("objects").values().cloned().collect() };
        let mut found = json!({
            "networks": objects("networks"),
            "configs": objects("configs"),
            "secrets": objects("secrets"),
            "services": rendered.desired.services.values().map(|service| json!(service.spec)).collect::<Vec<_>>(),
        });
        for secret in found["secrets"].as_array_mut().expect("secrets") {
            let name = secret["Name"].as_str().expect("a name").to_owned();
            if let Some(data) = rendered.material.0.get(&name) {
                secret["Data"] = base64(data.expose()).into();
            }
            if let Some([name, options]) = secret["Driver"].as_array().map(Vec::as_slice) {
                secret["Driver"] = json!({"Name": name, "Options": options});
            }
        }
        for object in
            ["configs", "secrets"].into_iter().flat_map(|kind| found[kind].as_array().cloned().unwrap_or_default())
        {
            assert!(object["Name"].as_str().is_some_and(|name| name.len() <= 64));
        }
        canonical(&mut sent);
        canonical(&mut found);
        assert!(
            found == sent,
            "{}:\n{}\nbut docker sends\n{}",
            folder.display(),
            serde_json::to_string_pretty(&found).expect("JSON"),
            serde_json::to_string_pretty(&sent).expect("JSON"),
        );
        compared += 1;
    }
    assert!(compared >= 8, "only {compared} cases compared");
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(bytes)
}

fn canonical(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for absent in ["ConfigID", "SecretID", "Key", "Scope"] {
                map.shift_remove(absent);
            }
            for (key, inner) in map.iter_mut() {
                canonical(inner);
                if key == "Templating"
                    && let Some(name) = inner.as_str()
                {
                    *inner = json!({"Name": name});
                }
                // The engine makes it 1.
                if key == "Replicated" && inner.as_object().is_some_and(serde_json::Map::is_empty) {
                    *inner = json!({"Replicas": 1.0});
                }
                if matches!(key.as_str(), "Name" | "ConfigName" | "SecretName")
                    && let Some((name, digest)) = inner.as_str().and_then(|name| name.rsplit_once('_'))
                    && digest.len() == 12
                    && digest.bytes().all(|c| c.is_ascii_hexdigit())
                {
                    *inner = name.into();
                }
            }
            // The kind of a service stands in the key alone.
            let kinds = ["Replicated", "Global", "ReplicatedJob", "GlobalJob"];
            map.retain(|key, inner| !is_nothing(inner) || kinds.contains(&key.as_str()) && inner.is_object());
        }
        Value::Array(items) => {
            items.iter_mut().for_each(canonical);
            if items.iter().any(|item| item.get("ConfigName").or(item.get("SecretName")).is_some()) {
                items.sort_by_key(Value::to_string);
            }
        }
        Value::Number(number) => *value = json!(number.as_f64()),
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}
