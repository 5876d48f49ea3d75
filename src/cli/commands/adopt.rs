//! `adopt`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::apply::{follow_all, hint, line, result};
use super::manifest::{Manifest, with_cli};
use crate::cli::args::AdoptArgs;
use crate::cli::client::{Again, documents};
use crate::cli::console::{Tone, clean};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{AppliedDocument, Plan, UserError, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, once, refused};
use crate::cli::show;

pub(super) async fn adopt(session: &Session<'_>, args: &AdoptArgs) -> Result<Exit, CliError> {
    let mut manifest = if args.from_swarm {
        let running = running(session, args).await?;
        if let Some(folder) = &args.write {
            return write(session, &running, folder);
        }
        Manifest::of(running.into_iter().map(|it| (format!("what runs of {}", it.name), it.manifest)).collect())
    } else {
        Manifest::read(&args.files)?
    };
    let mut found = ask(session, args, &manifest, true).await?;
    let by_cli = if args.from_swarm { Vec::new() } else { say_compat(session, &mut manifest, &found)? };
    if args.dry_run {
        if !by_cli.is_empty() {
            found = ask(session, args, &manifest, true).await?;
        }
        return plans(session, found.get("plans").unwrap_or(&Value::Null));
    }
    let payload = ask(session, args, &manifest, false).await?;
    write_compat(session, &by_cli)?;
    let values: Vec<Value> = read(payload.get("documents").unwrap_or(&Value::Null))?;
    let applied: Vec<AppliedDocument> = read(payload.get("documents").unwrap_or(&Value::Null))?;
    let people = session.output.is_for_people();
    if people {
        for document in &applied {
            session.console.print(&line(document, false, session))?;
        }
    }
    let mut results: Vec<Value> = values.iter().map(result).collect();
    let mut exit = Exit::Done;
    if args.wait {
        exit = follow_all(session, &applied, &mut results).await?;
    } else if people {
        hint(session, &applied);
    }
    if let Some(text) = machine(session.output, &Value::Array(results), field("name"))? {
        session.console.print(&text)?;
    }
    Ok(exit)
}

/// Asks for the adoption, or what it would do; gives the payload of what was not refused.
async fn ask(session: &Session<'_>, args: &AdoptArgs, manifest: &Manifest, dry_run: bool) -> Result<Value, CliError> {
    let mut input = json!({
        "stack": args.stack.as_ref().map(|name| session.stack(name)),
        "environment": session.environment,
        "manifest": manifest.text,
        "file": manifest.file(),
        "references": manifest.references(),
        "rotateSecrets": args.rotate_secrets,
        "reason": args.reason,
        "dryRun": dry_run,
    });
    if !dry_run {
        input["idempotencyKey"] = once().into();
    }
    let mut data = session.client.ask(documents::ADOPT, json!({ "input": input }), Again::Safe).await?;
    let payload = data.get_mut("adoptStack").map(Value::take).unwrap_or_default();
    let errors: Vec<UserError> = read(payload.get("userErrors").unwrap_or(&Value::Null))?;
    if !errors.is_empty() {
        let errors: Vec<UserError> = errors.into_iter().map(|error| manifest.place(error)).collect();
        return Err(refused(&errors).or_next("mend it and adopt again; nothing was recorded"));
    }
    Ok(payload)
}

/// Says `compat: cli` for the stacks that stay as they run with it alone, unless their manifests say otherwise. Gives them,
/// each with the file that this belongs into, if it is from one.
fn say_compat(
    session: &Session<'_>,
    manifest: &mut Manifest,
    found: &Value,
) -> Result<Vec<(String, Option<PathBuf>)>, CliError> {
    let plans: Vec<Value> = read(found.get("plans").unwrap_or(&Value::Null))?;
    let mut said = Vec::new();
    for plan in plans.iter().filter(|plan| plan.get("needsCli") == Some(&Value::Bool(true))) {
        let Some(name) = plan.get("stack").and_then(Value::as_str) else { continue };
        let why = format!("{}: its files depend on the rules of `docker stack deploy`", clean(name));
        match manifest.say_cli(name) {
            Some(file) => {
                session
                    .console
                    .note(&format!("{why}: with `compat: cli` nothing that runs changes, so that is asked for"));
                said.push((name.to_owned(), file));
            }
            None => session
                .console
                .note(&format!("{why}, and its manifest says `compat: strict`, or has no place for `cli`")),
        }
    }
    Ok(said)
}

/// Writes `compat: cli` into the files of stacks that were taken over with it.
fn write_compat(session: &Session<'_>, by_cli: &[(String, Option<PathBuf>)]) -> Result<(), CliError> {
    for (name, file) in by_cli.iter().filter_map(|(name, file)| Some((name, file.as_ref()?))) {
        let text = fs::read_to_string(file).ok().and_then(|text| with_cli(&text, name));
        if !matches!(text.map(|text| fs::write(file, text)), Some(Ok(()))) {
            let message = format!("stack {} is taken over; {} cannot be written", clean(name), file.display());
            return Err(CliError::new(Exit::Error, message).next("add the line `compat: cli` to it by hand"));
        }
        session.console.note(&format!("{}: `compat: cli` is written into {}", clean(name), file.display()));
    }
    Ok(())
}

/// A stack that runs and that nobody has declared.
#[derive(Debug, Deserialize)]
struct Running {
    name: String,
    manifest: String,
    remarks: Vec<String>,
}

/// What is to be taken over without manifests, after what they do not say was told.
async fn running(session: &Session<'_>, args: &AdoptArgs) -> Result<Vec<Running>, CliError> {
    let environment = session.environment();
    let input = json!({ "environment": environment, "stack": args.stack });
    let data = session.client.ask(documents::RUNNING, input, Again::Safe).await?;
    let found: Vec<Running> = read(data.get("runningStacks").unwrap_or(&Value::Null))?;
    if found.is_empty() {
        let message = format!("nothing runs in environment `{environment}` that is not declared");
        return Err(CliError::new(Exit::NotFound, message).next("`skep get stacks` shows what is declared"));
    }
    for (name, remark) in found.iter().flat_map(|it| it.remarks.iter().map(|remark| (&it.name, remark))) {
        session.console.note(&format!("{}: {}", clean(name), clean(remark)));
    }
    Ok(found)
}

/// Writes manifests as files, none over another.
fn write(session: &Session<'_>, running: &[Running], folder: &Path) -> Result<Exit, CliError> {
    let failed = |path: &Path, error: io::Error| CliError::new(Exit::Error, format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for Running { name, manifest, .. } in running {
        let path = folder.join(format!("{name}.yml"));
        let mut file = match File::create_new(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!("{} is there already", path.display());
                return Err(CliError::new(Exit::Conflict, message).next("name a folder that has no such file"));
            }
            Err(error) => return Err(failed(&path, error)),
        };
        // The variables of services are in it, and what is secret of them too.
        own(&file).and_then(|()| file.write_all(manifest.as_bytes())).map_err(|error| failed(&path, error))?;
        session.console.print(&path.display().to_string())?;
    }
    let folder = folder.display();
    session.console.note(&format!("next: look through them, then `skep adopt --all -f {folder} --dry-run`"));
    Ok(Exit::Done)
}

#[cfg(unix)]
fn own(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn own(_: &File) -> io::Result<()> {
    Ok(())
}

/// What taking each stack over would do. A plan that cannot be made is an error, after all others were shown.
fn plans(session: &Session<'_>, plans: &Value) -> Result<Exit, CliError> {
    let all: Vec<Value> = read(plans)?;
    let mut without = None;
    if let Some(text) = machine(session.output, plans, field("stack"))? {
        session.console.print(&text)?;
    }
    for one in &all {
        let text = |name: &str| one.get(name).and_then(Value::as_str).map(clean);
        let name = text("stack").unwrap_or_default();
        if let Some(error) = text("error") {
            without.get_or_insert(format!("stack `{name}`: {error}"));
        }
        let Some(plan) = one.get("plan").filter(|plan| !plan.is_null() && session.output.is_for_people()) else {
            continue;
        };
        let plan: Plan = read(plan)?;
        session.console.print(&session.console.paint.tone(Tone::Faint, &format!("stack {name}")))?;
        session.console.print(&show::plan(&plan, session.console.paint))?;
    }
    match without {
        Some(message) => Err(CliError::new(Exit::Error, message).next("mend its files, and ask again")),
        None => Ok(Exit::Done),
    }
}
