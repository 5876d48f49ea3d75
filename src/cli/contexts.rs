//! Contexts: servers by name, with the token and the environment to use there. Kept in one file that its owner alone can read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::args::Globals;
use super::exit::{CliError, Exit};

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Context {
    pub(super) server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<String>,
}

/// All of them, and the one in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contexts {
    #[serde(default)]
    pub(super) current: Option<String>,
    #[serde(default)]
    pub(super) contexts: BTreeMap<String, Context>,
}

/// The file: `$SKEP_CONTEXTS`, or `skep/contexts.json` in the folder for configuration.
pub(super) fn file() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = || variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    variable("SKEP_CONTEXTS").or_else(|| Some(folder()?.join("skep/contexts.json")))
}

impl Contexts {
    /// Reads the file; one that is not there holds none.
    pub(super) fn read(file: &Path) -> Result<Self, CliError> {
        let wrong = |why: String| {
            CliError::new(Exit::Error, format!("`{}` cannot be used: {why}", file.display()))
                .next("mend the file, or remove it and add the contexts again")
        };
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let others = fs::metadata(file).map(|it| it.permissions().mode() & 0o077).unwrap_or(0);
        if others != 0 {
            return Err(wrong("it holds tokens, and others can read it".to_owned())
                .next(format!("chmod 600 {}", file.display())));
        }
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Writes the file: a new one in the place of the old.
    pub(super) fn write(&self, file: &Path) -> Result<(), CliError> {
        let failed =
            |error: io::Error| CliError::new(Exit::Error, format!("`{}` cannot be written: {error}", file.display()));
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let fresh = file.with_extension("new");
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        let write = || {
            let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            writeln!(out, "{text}")?;
            out.sync_all()?;
            fs::rename(&fresh, file)
        };
        write().map_err(failed)
    }

    /// The context of this name, or the one in use.
    pub(super) fn chosen(&self, name: Option<&str>) -> Result<Option<&Context>, CliError> {
        let Some(name) = name.or(self.current.as_deref()) else { return Ok(None) };
        match self.contexts.get(name) {
            Some(context) => Ok(Some(context)),
            None => Err(CliError::new(Exit::NotFound, format!("there is no context `{name}`"))
                .next("see what there is: `skep context list`")),
        }
    }
}

/// Fills in what was not said: server, token and environment of the context that was named, or is in use. A server that was
/// said comes without the token of another.
pub(super) fn apply(globals: &mut Globals, server_was_said: bool) -> Result<(), CliError> {
    let named = globals.context.clone().filter(|name| !name.is_empty());
    if server_was_said && named.is_none() {
        return Ok(());
    }
    let Some(file) = file() else { return Ok(()) };
    let contexts = Contexts::read(&file)?;
    let Some(context) = contexts.chosen(named.as_deref())? else { return Ok(()) };
    if !server_was_said {
        globals.server.clone_from(&context.server);
        globals.token = globals.token.take().filter(|token| !token.is_empty()).or_else(|| context.token.clone());
    }
    let environment = globals.environment.take().filter(|name| !name.is_empty());
    globals.environment = environment.or_else(|| context.environment.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Contexts {
        let context = Context { server: "https://a".into(), token: Some("t".into()), environment: None };
        Contexts { current: Some("a".into()), contexts: [("a".to_owned(), context)].into() }
    }

    #[test]
    fn the_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x/contexts.json");
        assert_eq!(Contexts::read(&file).unwrap(), Contexts::default());
        some().write(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Contexts::read(&file).unwrap(), some());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Contexts::read(&file).unwrap_err().message.contains("others can read it"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "{").unwrap();
        assert!(Contexts::read(&file).is_err());
    }

    #[test]
    fn the_one_in_use_counts_unless_another_is_named() {
        assert_eq!(some().chosen(None).unwrap().unwrap().server, "https://a");
        assert_eq!(some().chosen(Some("b")).unwrap_err().exit, Exit::NotFound);
        assert_eq!(Contexts::default().chosen(None).unwrap(), None);
    }
}
