//! `configs` and `secrets`: the objects to be there, named by their content, and where services see them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::domain::{
    ConfigReference, ConfigSpec, CredentialName, Digest, FileTarget, NAMESPACE_LABEL, PROTECT_LABEL, SecretBytes,
    SecretReference, SecretSpec, content_name,
};

use super::compat::Difference;
use super::field::{Field, Table};
use super::input::{Needs, RenderInput, ValueOf};
use super::mounts::identity;
use super::path;
use super::scalar::Kind;
use super::yaml::{Scalar, Value};

/// Swarm takes less than this.
const LARGEST_CONFIG: usize = 1000 * 1024;
/// Swarm takes less than this.
const LARGEST_SECRET: usize = 500 * 1024;
/// The longest name Swarm takes for a config or secret.
const LONGEST_NAME: usize = 64;
/// What a file may be read by, unless the reference says otherwise.
const DEFAULT_MODE: u32 = 0o444;
/// All the bits of a mode.
const MOST_MODE: u32 = 0o7777;

/// Configs or secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Configs,
    Secrets,
}

impl Family {
    fn one(self) -> &'static str {
        match self {
            Self::Configs => "config",
            Self::Secrets => "secret",
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Configs => LARGEST_CONFIG,
            Self::Secrets => LARGEST_SECRET,
        }
    }
}

/// What the files declare of one family.
#[derive(Default)]
pub(super) struct Files {
    /// Real names by key; `None` while the content is not known.
    names: BTreeMap<String, Option<String>>,
    external: BTreeSet<String>,
    pub(super) configs: BTreeMap<String, ConfigSpec>,
    pub(super) secrets: BTreeMap<String, SecretSpec>,
    pub(super) material: BTreeMap<String, SecretBytes>,
    /// External ones that a service uses, by real name.
    pub(super) used_external: BTreeSet<String>,
}

/// The source of an object's content.
enum Content {
    Bytes {
        data: Vec<u8>,
        /// It is encrypted in the repository.
        encrypted: bool,
    },
    /// An external secret driver gives it.
    Driver(String, BTreeMap<String, String>),
    /// It must be read first.
    Unknown,
}

impl Files {
    /// Reads the section; `needs` collects the files that are wanted.
    pub(super) fn read(
        family: Family,
        section: Option<&Field<'_>>,
        input: &RenderInput<'_>,
        needs: &mut Needs,
    ) -> Self {
        let mut files = Self::default();
        for (entry, field) in section.map(Field::entries).unwrap_or_default() {
            files.names.insert(entry.key.clone(), None);
            if let Some(table) = field.table() {
                files.declare(family, &entry.key, &table, input, needs);
                table.finish();
            }
        }
        files
    }

    fn declare(&mut self, family: Family, key: &str, table: &Table<'_>, input: &RenderInput<'_>, needs: &mut Needs) {
        let scoped = format!("{}_{key}", input.stack);
        let mut idle = vec!["file", "content", "environment", "driver", "driver_opts", "labels", "template_driver"];
        // To ask for a key is to know it.
        idle.retain(|key| table.field.node.get(key).is_some());
        let (name, external) = identity(table, key, scoped.clone(), &idle);
        let custom = (name != scoped).then_some(name.as_str());
        let own = Own::of(family, table);
        let content = content(family, table, &own, input, needs, external);
        let mut labels = table.given("labels").map(|labels| labels.labels()).unwrap_or_default();
        labels.insert(NAMESPACE_LABEL.to_owned(), input.stack.to_string());
        if own.protect {
            labels.insert(PROTECT_LABEL.to_owned(), "true".to_owned());
        }
        let templating = table.given("template_driver").and_then(|driver| driver.word(&["golang"]));
        if external {
            self.external.insert(key.to_owned());
            self.names.insert(key.to_owned(), Some(name));
            return;
        }
        if !valid_name(&name) {
            let message = format!("`{name}` is no name for a {}", family.one());
            table.field.error(message, "letters, digits, `.`, `-`, `_`; a letter or digit first and last");
            return;
        }
        let key = key.to_owned();
        match content {
            None | Some(Content::Unknown) => {}
            Some(Content::Driver(driver, options)) => {
                // A driver finds the value by the secret's name, so the name stays what was written.
                let spec = SecretSpec {
                    name: name.clone(),
                    key: key.clone(),
                    labels,
                    templating,
                    driver: Some((driver, options)),
                };
                self.names.insert(key, Some(name.clone()));
                self.secrets.insert(name, spec);
            }
            Some(Content::Bytes { data, encrypted }) => {
                let keyed = encrypted || family == Family::Secrets || holds_secret(&data, input);
                let digest = digest(keyed, &data, templating.as_deref(), input);
                let real = match custom {
                    Some(custom) => custom_name(custom, &digest),
                    None => content_name(input.stack, &key, &digest),
                };
                if let Some(custom) = table.get("name").filter(|_| custom.is_some()) {
                    custom.warn(&format!(
                        "the {} will be called `{real}`: a changed content needs a new name",
                        family.one()
                    ));
                }
                if family == Family::Configs && keyed {
                    let what = if encrypted { "what was encrypted" } else { "the value of a secret variable" };
                    table.field.warn(&format!(
                        "{what} stands in a config, which anyone on the Swarm can read; make it a secret"
                    ));
                }
                self.names.insert(key.clone(), Some(real.clone()));
                match family {
                    Family::Configs => {
                        let spec = ConfigSpec { name: real.clone(), key, labels, data, templating };
                        self.configs.insert(real, spec);
                    }
                    Family::Secrets => {
                        let spec = SecretSpec { name: real.clone(), key, labels, templating, driver: None };
                        self.secrets.insert(real.clone(), spec);
                        self.material.insert(real, SecretBytes::new(data));
                    }
                }
            }
        }
    }

    /// The uses of a service as `(real name, file)`, by real name.
    fn uses(&mut self, family: Family, field: &Field<'_>) -> Vec<(String, FileTarget)> {
        let mut targets = BTreeSet::new();
        let mut uses = Vec::new();
        for item in field.list() {
            let Some((source, mut target)) = reference(&item) else { continue };
            if target.name.is_empty() {
                target.name.clone_from(&source);
            }
            if !targets.insert(target.name.clone()) {
                item.error(format!("the target `{}` is used twice", target.name), "give one of them another `target`");
            }
            match self.names.get(&source) {
                None => {
                    let known: Vec<&str> = self.names.keys().map(String::as_str).collect();
                    let hint = match super::near::closest(&source, &known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("declare it under the top-level `{}s`", family.one()),
                    };
                    item.error(format!("undefined {} `{source}`", family.one()), hint);
                }
                Some(None) => {}
                Some(Some(name)) => {
                    if self.external.contains(&source) {
                        self.used_external.insert(name.clone());
                    }
                    uses.push((name.clone(), target));
                }
            }
        }
        uses.sort_by(|a, b| a.0.cmp(&b.0));
        uses
    }

    /// A service's configs.
    pub(super) fn config_references(&mut self, field: &Field<'_>) -> Vec<ConfigReference> {
        let uses = self.uses(Family::Configs, field).into_iter();
        uses.map(|(config_name, file)| ConfigReference { file: Some(file), config_name, ..ConfigReference::default() })
            .collect()
    }

    /// Puts the real name of the config that holds a credential spec into the privileges, and adds it to the configs
    /// that the service uses: as one of the engine's own, in no file.
    pub(super) fn credential_spec(
        &mut self,
        field: &Field<'_>,
        privileges: &mut Json,
        configs: &mut Vec<ConfigReference>,
    ) {
        let slot = privileges.pointer_mut("/CredentialSpec/Config");
        let Some((key, slot)) = slot.and_then(|slot| Some((slot.as_str()?.to_owned(), slot))) else { return };
        match self.names.get(&key) {
            None => field.error(format!("undefined config `{key}`"), "declare it under the top-level `configs`"),
            Some(None) => {}
            Some(Some(name)) => {
                if self.external.contains(&key) {
                    self.used_external.insert(name.clone());
                }
                *slot = name.clone().into();
                let runtime = Some(serde_json::Map::new());
                configs.push(ConfigReference { runtime, config_name: name.clone(), ..ConfigReference::default() });
                configs.sort_by(|a, b| a.config_name.cmp(&b.config_name));
            }
        }
    }

    /// A service's secrets.
    pub(super) fn secret_references(&mut self, field: &Field<'_>) -> Vec<SecretReference> {
        let uses = self.uses(Family::Secrets, field).into_iter();
        uses.map(|(secret_name, file)| SecretReference { file: Some(file), secret_name, ..SecretReference::default() })
            .collect()
    }
}

/// The digest that a name carries. What the engine never changes in place is in it: the content, and whether it is a
/// template. It is keyed for secrets, and for a config in which something secret stands.
fn digest(keyed: bool, data: &[u8], templating: Option<&str>, input: &RenderInput<'_>) -> Digest {
    let marked: Vec<u8>;
    let bytes = match templating {
        Some(driver) => {
            marked = [driver.as_bytes(), b"\0", data].concat();
            &marked
        }
        None => data,
    };
    if keyed { input.digester.digest(bytes) } else { Digest::of(bytes) }
}

/// Whether the value of a secret variable stands in it.
fn holds_secret(data: &[u8], input: &RenderInput<'_>) -> bool {
    let mut secrets = input.variables.values().filter(|value| value.secret && !value.text.is_empty());
    secrets.any(|secret| data.windows(secret.text.len()).any(|window| window == secret.text.as_bytes()))
}

/// `<name>_<first 12 hex of the digest>`, the name cut so that the whole has at most 64 characters.
fn custom_name(name: &str, digest: &Digest) -> String {
    let room = LONGEST_NAME - 1 - digest.short().len();
    let cut: String = name.chars().take(room).collect();
    format!("{cut}_{}", digest.short())
}

fn valid_name(name: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        && edge(name.bytes().next())
        && edge(name.bytes().last())
}

/// Where the content comes from: exactly one of `file`, `content`, `environment`, and a secret's `driver` and credential.
fn content(
    family: Family,
    table: &Table<'_>,
    own: &Own<'_>,
    input: &RenderInput<'_>,
    needs: &mut Needs,
    external: bool,
) -> Option<Content> {
    let strict = table.field.found.strict();
    let file = table.get("file");
    let inline = if family == Family::Configs { table.get("content") } else { None };
    let variable = table.get("environment");
    let (driver, options) = match family {
        Family::Secrets => (table.get("driver"), table.get("driver_opts")),
        Family::Configs => (None, None),
    };
    if external {
        return None;
    }
    let given = [&file, &inline, &variable, &driver, &own.credential].into_iter().flatten().count();
    if given != 1 {
        let what = if given == 0 { "nothing says what it holds" } else { "more than one thing says what it holds" };
        let hint = match (family, strict) {
            (Family::Configs, true) => "give one of `file`, `content`, `environment`, or `external: true`",
            (Family::Secrets, true) => {
                "give one of `file`, `environment`, `driver`, `x-skep.credential`, or `external: true`"
            }
            (_, false) => "give `file` or `external: true`",
        };
        table.field.error(what, hint);
        return None;
    }
    if let Some(driver) = driver {
        return Some(Content::Driver(driver.filled()?, options.map(|options| options.options()).unwrap_or_default()));
    }
    let mut encrypted = false;
    let (field, data) = if let Some(file) = file {
        let path = path::resolve(&file, &file.filled()?)?;
        encrypted = input.confidential.files.contains(&path);
        let found = attached(&file, &path, input, needs)?;
        if family == Family::Secrets && !encrypted {
            file.warn(
                "the secret stands in the clear in a file of the source; encrypt the file with SOPS, or take the value from a credential or a secret variable",
            );
        }
        match found {
            Some(data) => (file, data.to_vec()),
            None => return Some(Content::Unknown),
        }
    } else if let Some(credential) = &own.credential {
        match own.value(credential, input, needs)? {
            Some(data) => (credential.clone(), data),
            None => return Some(Content::Unknown),
        }
    } else if let Some(variable) = variable {
        let name = variable.filled()?;
        let Some(value) = input.variables.get(&name) else {
            variable.error(format!("variable `{name}` is not set"), "set it in the stack's `variables`");
            return None;
        };
        (variable, value.text.clone().into_bytes())
    } else {
        let inline = inline?;
        let text = inline.text()?;
        (inline, text.into_bytes())
    };
    if data.is_empty() {
        field.error(format!("the {} is empty", family.one()), "Swarm takes one byte or more");
        return None;
    }
    if data.len() >= family.limit() {
        let message =
            format!("the {} has {} bytes; Swarm takes less than {}", family.one(), data.len(), family.limit());
        field.error(message, "mount a volume for large files");
        return None;
    }
    Some(Content::Bytes { data, encrypted })
}

/// What stands under `x-skep` of a config or secret.
struct Own<'a> {
    protect: bool,
    /// The credential that a secret's content comes from.
    credential: Option<Field<'a>>,
    key: Option<Field<'a>>,
}

impl<'a> Own<'a> {
    fn of(family: Family, table: &Table<'a>) -> Self {
        let mut own = Self { protect: false, credential: None, key: None };
        let Some(found) = table.given("x-skep").and_then(|field| field.table()) else { return own };
        own.protect = found.given("protect").and_then(|flag| flag.boolean()).unwrap_or(false);
        if family == Family::Secrets {
            (own.credential, own.key) = (found.given("credential"), found.given("key"));
        }
        found.finish();
        if let (Some(key), None) = (&own.key, &own.credential) {
            key.error("is the key of no credential", "name it beside: `x-skep: { credential: NAME, key: KEY }`");
        }
        own
    }

    /// The value of the credential; the inner `None` while it is wanted but not there.
    fn value(&self, credential: &Field<'_>, input: &RenderInput<'_>, needs: &mut Needs) -> Option<Option<Vec<u8>>> {
        let key = match &self.key {
            Some(key) => Some(key.filled()?),
            None => None,
        };
        let name = CredentialName::parse(&credential.filled()?);
        let name =
            name.map_err(|error| credential.error(error.to_string(), "name a credential of type Opaque")).ok()?;
        let wanted = ValueOf { credential: name, key };
        match input.confidential.credentials.get(&wanted) {
            Some(Ok(value)) => Some(Some(value.expose().to_vec())),
            Some(Err(why)) => {
                credential.error(why.clone(), "name a credential of type Opaque that this stack may use, and its key");
                None
            }
            None => {
                needs.values.insert(wanted);
                Some(None)
            }
        }
    }
}

/// How it is mended that an encrypted file cannot be opened.
pub(super) const OPEN: &str = "`decryption.credential` of the stack names the credential of type Age that opens it";

/// The content of an attachment; the inner `None` while it is wanted but not there.
pub(super) fn attached(
    field: &Field<'_>,
    path: &str,
    input: &RenderInput<'_>,
    needs: &mut Needs,
) -> Option<Option<Arc<[u8]>>> {
    match input.attachments.get(path) {
        Some(Ok(data)) => Some(Some(Arc::clone(data))),
        Some(Err(why)) => {
            let hint = match input.confidential.files.contains(path) {
                true => OPEN,
                false => "correct the path, which begins in the file's own folder, or add the file to the repository",
            };
            field.error(format!("cannot read `{path}`: {why}"), hint);
            None
        }
        None => {
            needs.files.insert(path.to_owned());
            Some(None)
        }
    }
}

/// The key that a use names, and the file it becomes.
fn reference(field: &Field<'_>) -> Option<(String, FileTarget)> {
    let mut target = FileTarget { name: String::new(), uid: "0".into(), gid: "0".into(), mode: DEFAULT_MODE };
    if let Value::Scalar(_) = field.node.value {
        return Some((field.filled()?, target));
    }
    let table = field.table()?;
    let source = table.get("source");
    if source.is_none() {
        field.error("has no `source`", "name a declared object");
    }
    target.name = table.given("target").and_then(|target| target.unless_empty()).unwrap_or_default();
    if let Some(uid) = table.given("uid").and_then(|uid| uid.text_as_written()).filter(|uid| !uid.is_empty()) {
        target.uid = uid;
    }
    if let Some(gid) = table.given("gid").and_then(|gid| gid.text_as_written()).filter(|gid| !gid.is_empty()) {
        target.gid = gid;
    }
    if let Some(mode) = table.given("mode").and_then(|mode| file_mode(&mode)) {
        target.mode = mode;
    }
    table.finish();
    Some((source?.filled()?, target))
}

/// Mode bits: `0440` and `0o440` are octal; a plain `440` is decimal, as the CLI takes it, and gets a warning. Text is octal
/// by the specification's rules; the CLI takes only text that a variable was put into, as decimal.
pub(super) fn file_mode(field: &Field<'_>) -> Option<u32> {
    let Value::Scalar(Scalar { text, kind, interpolated }) = &field.node.value else {
        return field.integer().and(None);
    };
    let refuse = || field.error(format!("`{text}` is not a file mode"), "write it like `0440`");
    if *kind == Kind::Text && field.found.strict() {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal = digits.bytes().all(|c| matches!(c, b'0'..=b'7'));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= MOST_MODE);
        match mode {
            None => refuse(),
            Some(mode) if *interpolated && text.parse() != Ok(mode) => {
                field.found.differs(Difference::OctalText, field.at(), &field.path());
            }
            Some(_) => {}
        }
        return mode;
    }
    let mode = field.integer()?;
    let octal = !text.starts_with('0') || !text.contains(['8', '9']);
    let mode = u32::try_from(mode).ok().filter(|mode| octal && *mode <= MOST_MODE);
    match mode {
        None => refuse(),
        Some(mode) if !text.starts_with('0') && text.len() >= 3 && text.bytes().all(|c| matches!(c, b'0'..=b'7')) => {
            field.warn(&format!("`{text}` is decimal, which is the mode {mode:04o}; write `0{text}` for octal"));
        }
        Some(_) => {}
    }
    mode
}
