//! What the shell is told while a command is typed: the names of stacks, environments and contexts. The server is asked
//! for them, shortly; without an answer there are none.

use std::ffi::{OsStr, OsString};
use std::io;
use std::time::Duration;

use clap::Parser;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use serde_json::{Value, json};

use super::args::Cli;
use super::client::documents;
use super::console::{Color, Console};
use super::contexts::{self, Contexts};
use super::exit::{CliError, Exit};
use super::session::Session;

/// The variable by which the shell asks.
pub(super) const VARIABLE: &str = "COMPLETE";
/// A person waits with a finger on the key.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Flags that say which server is meant.
const ABOUT_THE_SERVER: [&str; 6] = ["--server", "--token", "--context", "--data", "--environment", "-e"];

/// The names of stacks.
pub(super) fn stacks(typed: &OsStr) -> Vec<CompletionCandidate> {
    let text = typed.to_string_lossy();
    let found = ask(|environment| (documents::STACK_NAMES, json!({ "environment": environment, "name": text })));
    let edges = found.pointer("/stacks/edges").and_then(Value::as_array).cloned().unwrap_or_default();
    names(edges.iter().filter_map(|edge| edge.pointer("/node/name")), typed)
}

/// The names of environments.
pub(super) fn environments(typed: &OsStr) -> Vec<CompletionCandidate> {
    let found = ask(|_| (documents::ENVIRONMENT_NAMES, json!({})));
    let all = found.get("environments").and_then(Value::as_array).cloned().unwrap_or_default();
    names(all.iter().filter_map(|it| it.get("name")), typed)
}

/// The names of contexts.
pub(super) fn contexts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let known = contexts::file().and_then(|file| Contexts::read(&file).ok()).unwrap_or_default();
    let all: Vec<Value> = known.contexts.into_keys().map(Value::from).collect();
    names(all.iter(), typed)
}

/// Those that begin with what is typed, each once.
fn names<'v>(all: impl Iterator<Item = &'v Value>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut found: Vec<&str> = all.filter_map(Value::as_str).filter(|name| name.starts_with(&*typed)).collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(CompletionCandidate::new).collect()
}

/// Asks the server that the words typed so far are for; null without an answer.
fn ask(question: impl FnOnce(Option<String>) -> (&'static str, Value)) -> Value {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let (said, words) = about_the_server(words);
    let Ok(Cli { mut globals, .. }) = Cli::try_parse_from(words) else { return Value::Null };
    if contexts::apply(&mut globals, said).is_err() {
        return Value::Null;
    }
    let (document, variables) = question(globals.environment.clone().filter(|name| !name.is_empty()));
    let console = Console::real(Color::Never);
    let (Ok(runtime), Ok(session)) = (super::runtime(), Session::new(&globals, &console)) else { return Value::Null };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, session.ask(document, variables)).await });
    answer.ok().and_then(Result::ok).unwrap_or_default()
}

/// A command line that asks the same server as these words do, and whether they name it.
fn about_the_server(words: Vec<OsString>) -> (bool, Vec<OsString>) {
    let mut line: Vec<OsString> = vec!["skep".into()];
    let mut rest = words.into_iter();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy().into_owned();
        let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
        if !ABOUT_THE_SERVER.contains(&name) {
            continue;
        }
        let value = value.map(OsString::from).or_else(|| rest.next());
        line.extend([name.into()].into_iter().chain(value));
    }
    line.extend(["get", "environments"].map(OsString::from));
    let said = std::env::var_os("SKEP_SERVER").is_some() || line.iter().any(|word| word == "--server");
    (said, line)
}

/// What a shell reads to be able to ask.
pub(super) fn registration(shell: &str) -> Result<String, CliError> {
    let shells = Shells::builtins();
    let mut text = Vec::new();
    let written = match shells.completer(shell) {
        Some(known) => known.write_registration(VARIABLE, "skep", "skep", "skep", &mut text),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "no such shell")),
    };
    written.map_err(|error| CliError::new(Exit::Error, format!("there are no completions for `{shell}`: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_the_one_that_the_words_name() {
        let of = |line: &str| about_the_server(line.split(' ').map(OsString::from).collect()).1.join(OsStr::new(" "));
        assert_eq!(of("skep deploy sh"), "skep get environments");
        assert_eq!(
            of("skep --server=http://a -e prod deploy sh --ref x"),
            "skep --server http://a -e prod get environments"
        );
        assert_eq!(of("skep deploy --token t --environment"), "skep --token t --environment get environments");
    }

    #[test]
    fn names_begin_with_what_is_typed() {
        let all = ["shop", "blog", "shop", "ship"].map(Value::from);
        let found = |typed: &str| -> Vec<String> {
            let found = names(all.iter(), OsStr::new(typed));
            found.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(found("sh"), ["ship", "shop"]);
        assert_eq!(found(""), ["blog", "ship", "shop"]);
    }

    #[test]
    fn every_shell_has_what_it_reads() {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let text = registration(shell).unwrap();
            assert!(text.contains("skep") && text.contains(VARIABLE), "{shell}: {text}");
        }
        assert_eq!(registration("tcsh").unwrap_err().exit, Exit::Error);
    }
}
