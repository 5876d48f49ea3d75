//! Whole compose files and what they render to. Each folder of `tests/compose` is a case: `stack.yml` and, when there are
//! more, the files that `input.json` lists; `expected.json` is the result. `SKEP_GOLDEN=write` writes it anew: read the
//! difference before committing it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use skep::compose::{Attachment, ComposeFile, Render, RenderInput, VariableValue, render};
use skep::domain::{Compat, Digester, Rendered, StackName, UnsetVariables};

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
        let stack = StackName::parse("shop").expect("a name");
        let digester = Digester::new([7; 32]);
        let files: Vec<ComposeFile<'_>> = self.files.iter().map(|(name, text)| ComposeFile { name, text }).collect();
        let mut attachments: BTreeMap<String, Attachment> = BTreeMap::new();
        for _ in 0..3 {
            let input = RenderInput {
                stack: &stack,
                files: &files,
                variables: &self.variables,
                images: &self.images,
                compat: self.compat,
                unset: self.unset,
                attachments: &attachments,
                folder: &self.subfolder,
                digester: &digester,
            };
            match render(&input).unwrap_or_else(|errors| panic!("{}:\n{errors}", self.folder.display())) {
                Render::Done(rendered) => return *rendered,
                Render::Needs(paths) => {
                    assert_ne!(paths, BTreeSet::new());
                    attachments.extend(paths.into_iter().map(|path| {
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
