//! `init`: a first manifest for the folder one is in.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::app;
use crate::cli::args::InitArgs;
use crate::cli::console::{Console, clean};
use crate::cli::exit::{CliError, Exit};

/// Compose files, as they are looked for.
const COMPOSE: [&str; 5] =
    ["docker-stack.yml", "docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"];

/// Where the folder's files can be had from.
struct Origin {
    url: String,
    branch: String,
    /// The folder in the repository; empty for its root.
    folder: String,
}

/// Carries `init` out. It asks no server.
pub(in crate::cli) fn init(args: &InitArgs, console: &Console) -> Result<Exit, CliError> {
    let failed =
        |what: &Path, error: std::io::Error| CliError::new(Exit::Error, format!("`{}`: {error}", what.display()));
    let here = Path::new(".");
    if args.file.exists() && !args.force {
        let message = format!("`{}` is there already", args.file.display());
        return Err(CliError::new(Exit::Conflict, message).next("give --force to write another in its place"));
    }
    let folder = fs::canonicalize(here).map_err(|error| failed(here, error))?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&folder.file_name().unwrap_or_default().to_string_lossy()),
    };
    let compose = COMPOSE.iter().find(|file| here.join(file).is_file());
    let origin = origin();
    let needs_cli = compose.is_some_and(|file| app::needs_cli(here, file));
    let text = manifest(&name, compose.copied(), origin.as_ref(), needs_cli);
    fs::write(&args.file, &text).map_err(|error| failed(&args.file, error))?;
    let file = args.file.display();
    console.note(&format!("{file} is written, for the stack {}", clean(&name)));
    if needs_cli {
        console.note("its files depend on the rules of `docker stack deploy`, so it says `compat: cli`");
    }
    if compose.is_some() && origin.is_none() {
        console.note("this folder is in no git repository with a remote `origin`: write its address in the manifest");
    }
    console.note(&format!("next: commit and push, then `skep apply -f {file} --wait`"));
    Ok(Exit::Done)
}

/// A stack's name out of a folder's.
fn name_of(folder: &str) -> String {
    let plain: String =
        folder.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let plain = plain.trim_matches('-').chars().take(40).collect::<String>();
    if plain.is_empty() { "stack".to_owned() } else { plain }
}

fn origin() -> Option<Origin> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    let url = git(&["remote", "get-url", "origin"]).map(|url| address(&url))?;
    let branch = git(&["symbolic-ref", "--short", "HEAD"]).filter(|it| !it.is_empty()).unwrap_or("main".to_owned());
    let folder = git(&["rev-parse", "--show-prefix"]).unwrap_or_default().trim_end_matches('/').to_owned();
    Some(Origin { url, branch, folder })
}

/// `git@host:path` is an address of ssh; a name and a password have no place in one.
fn address(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            let rest = match rest.split_once('/') {
                Some((host, path)) => format!("{}/{path}", host.rsplit('@').next().unwrap_or(host)),
                None => rest.to_owned(),
            };
            format!("{scheme}://{rest}")
        }
        Some(_) => url.to_owned(),
        None => match url.split_once(':') {
            Some((host, path)) if host.contains('@') => format!("ssh://{host}/{}", path.trim_start_matches('/')),
            _ => url.to_owned(),
        },
    }
}

fn manifest(name: &str, compose: Option<&str>, origin: Option<&Origin>, needs_cli: bool) -> String {
    let Some(compose) = compose else {
        return format!(
            "# What should run. Move the services into a docker-stack.yml of a git repository when there are more.\n\
             kind: Stack\nname: {name}\ninline: |\n  services:\n    web:\n      image: nginx:1.29\n      \
             deploy:\n        replicas: 2\n        update_config: {{ order: start-first }}\n"
        );
    };
    let (url, branch, folder) = match origin {
        Some(origin) => (origin.url.as_str(), origin.branch.as_str(), origin.folder.as_str()),
        None => ("https://git.example.org/team/repository.git", "main", ""),
    };
    let path = if folder.is_empty() { String::new() } else { format!(", path: {folder:?}") };
    let credential = if url.starts_with("ssh://") {
        "# Private: `skep credential set NAME --type SshKey …`, then add `credential: NAME` to the source.\n"
    } else {
        "# Private? `skep credential set NAME --type GitToken …`, then add `credential: NAME` to the source.\n"
    };
    format!(
        "# What should run: the compose file of this commit, or of any later one of the branch.\n{credential}kind: Stack\n\
         name: {name}\nsource: {{ git: {url:?}, ref: {branch:?}{path} }}\ncompose: [{compose}]\n{}",
        if needs_cli { "compat: cli\n" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{Limits, Manifest, References};
    use crate::seal::KeyFile;

    #[test]
    fn what_is_written_is_a_manifest() {
        let origin =
            Origin { url: address("git@github.com:team/shop.git"), branch: "main".into(), folder: "a b".into() };
        assert_eq!(origin.url, "ssh://git@github.com/team/shop.git");
        for text in [
            manifest("shop", None, None, false),
            manifest("shop", Some("compose.yml"), None, true),
            manifest("shop", Some("docker-stack.yml"), Some(&origin), false),
        ] {
            let sealer = KeyFile::from_bytes([1; 32]);
            let read = Manifest::read(&text, None, &References::default(), &sealer, &Limits::default());
            assert!(read.is_ok(), "{text}\n{read:?}");
        }
    }

    #[test]
    fn names_and_addresses_are_made_fit() {
        for (folder, name) in [("Web Shop", "web-shop"), ("shop_2", "shop-2"), ("…", "stack"), ("-a-", "a")] {
            assert_eq!(name_of(folder), name);
        }
        assert_eq!(address("https://me:secret@host/x.git"), "https://host/x.git");
        assert_eq!(address("ssh://git@host/x.git"), "ssh://git@host/x.git");
    }
}
