//! The cases: compose files with what belongs to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use skep::domain::Compat;

/// One case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) compat: Compat,
    /// The variables, for both.
    pub(crate) variables: BTreeMap<String, String>,
    /// All files, by path, in the order of the case.
    pub(crate) files: Vec<(String, String)>,
    /// Where the compose files lie, from the root of the repository.
    pub(crate) folder: String,
    /// How many of them are compose files.
    pub(crate) compose: usize,
    /// Whether the two ways of reading must give the same here.
    pub(crate) alike: bool,
    /// Whether what the CLI makes of it cannot be said in a file that is read strictly.
    pub(crate) one_way: bool,
}

/// All cases of `cases/*.txt`. A case begins with `=== NAME`, then come lines `# KEY: VALUE`, then files, the first one
/// without a name, the others after `--- PATH`. Those that end in `.yml`, in no folder, and stand before all others are compose files.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/cases");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("cases").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        cases.extend(in_file(&path));
    }
    cases
}

/// What `docker stack deploy` refuses or drops. The file `expect` of a case says what the engine must hold, as lines
/// `POINTER = JSON`; `STACK` stands for the stack's name.
pub(crate) fn beyond() -> Vec<Case> {
    in_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/beyond.txt"))
}

fn in_file(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).expect("a file of cases");
    text.split("=== ").skip(1).map(read).collect()
}

fn read(text: &str) -> Case {
    let (name, rest) = text.split_once('\n').expect("a name");
    let mut case = Case { name: name.trim().to_owned(), alike: true, ..Case::default() };
    let mut files = vec![("stack.yml".to_owned(), String::new())];
    for line in rest.lines() {
        let setting = line.strip_prefix("# ").and_then(|line| line.split_once(": ")).filter(|_| files.len() == 1);
        match (setting, line.strip_prefix("--- ")) {
            (Some(("env", pairs)), _) => {
                let pairs = pairs.split(' ').filter_map(|pair| pair.split_once('='));
                case.variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            }
            (Some(("compat", _)), _) => case.compat = Compat::Cli,
            (Some(("differs", _)), _) => case.alike = false,
            (Some(("one way", _)), _) => case.one_way = true,
            (_, Some(path)) => files.push((path.trim().to_owned(), String::new())),
            _ => {
                let (_, text) = files.last_mut().expect("a file");
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    // Those in folders are named by others.
    case.compose = files.iter().take_while(|(path, _)| path.ends_with(".yml") && !path.contains('/')).count();
    case.files = files;
    case
}

impl Case {
    /// The case with its files in this folder, whose path stands in them for `/FOLDER`.
    pub(crate) fn in_folder(&self, folder: &Path) -> Self {
        let folder = folder.display().to_string();
        let files = self.files.iter().map(|(path, text)| (path.clone(), text.replace("/FOLDER", &folder)));
        Self { files: files.collect(), ..self.clone() }
    }

    /// The compose files.
    pub(crate) fn compose_files(&self) -> &[(String, String)] {
        &self.files[..self.compose]
    }

    /// The whole text, for a report.
    pub(crate) fn text(&self) -> String {
        self.files.iter().map(|(path, text)| format!("--- {path}\n{text}")).collect()
    }

    /// The keys that its compose files, and those that they name, use, as the table of keys writes them.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for (_, text) in self.files.iter().filter(|(path, _)| path.ends_with(".yml")) {
            let tree: Value = serde_saphyr::from_str(text).unwrap_or_default();
            walk(&tree, "", &mut keys);
        }
        keys
    }
}

fn walk(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    keys.insert(path.to_owned());
    let named = matches!(
        path,
        "services"
            | "networks"
            | "volumes"
            | "configs"
            | "secrets"
            | "services.*.networks"
            | "services.*.ulimits"
            | "services.*.depends_on"
    );
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let step = if named { "*" } else { key };
                let path = if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
                walk(inner, &path, keys);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{path}[]"), keys)),
        _ => {}
    }
}
