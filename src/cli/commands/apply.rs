//! `apply`.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::manifest::Manifest;
use crate::cli::args::ApplyArgs;
use crate::cli::client::{Again, documents};
use crate::cli::console::{Tone, clean};
use crate::cli::exit::{CliError, Exit};
use crate::cli::follow::{conclude, explain, follow, last_word};
use crate::cli::model::{AppliedDocument, UserError, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command, once, refused};

pub(super) async fn apply(session: &Session<'_>, args: &ApplyArgs) -> Result<Exit, CliError> {
    let manifest = Manifest::read(&args.files)?;
    let mut input = json!({
        "manifest": manifest.text,
        "file": manifest.file(),
        "references": manifest.references(),
        "reason": args.reason,
        "dryRun": args.dry_run,
    });
    if !args.dry_run {
        input["idempotencyKey"] = once().into();
    }
    let mut data = session.client.ask(documents::APPLY, json!({ "input": input }), Again::Safe).await?;
    let payload = data.get_mut("applyStack").map(Value::take).unwrap_or_default();
    let errors: Vec<UserError> = read(payload.get("userErrors").unwrap_or(&Value::Null))?;
    if !errors.is_empty() {
        let errors: Vec<UserError> = errors.into_iter().map(|error| manifest.place(error)).collect();
        return Err(refused(&errors).or_next("mend it and apply again; nothing was recorded"));
    }
    let values: Vec<Value> = read(payload.get("documents").unwrap_or(&Value::Null))?;
    let applied: Vec<AppliedDocument> = read(payload.get("documents").unwrap_or(&Value::Null))?;
    let people = session.output.is_for_people();
    if people {
        for document in &applied {
            session.console.print(&line(document, args.dry_run, session))?;
        }
    }
    let mut results: Vec<Value> = values.iter().map(result).collect();
    let mut exit = Exit::Done;
    if args.wait {
        exit = follow_all(session, &applied, &mut results).await?;
    } else if people && !args.dry_run {
        hint(session, &applied);
    }
    if let Some(text) = machine(session.output, &Value::Array(results), field("name"))? {
        session.console.print(&text)?;
    }
    Ok(exit)
}

/// Follows the deployments of the documents, one after the other; the results say how they ended.
pub(super) async fn follow_all(
    session: &Session<'_>,
    applied: &[AppliedDocument],
    results: &mut [Value],
) -> Result<Exit, CliError> {
    let (mut exit, people) = (Exit::Done, session.output.is_for_people());
    let until = Instant::now() + session.timeout;
    for (document, last) in applied.iter().zip(results) {
        let Some(deployment) = &document.deployment else { continue };
        let outcome = follow(session, &deployment.id, until).await?;
        if people {
            conclude(session, &outcome)?;
        } else {
            explain(session, &outcome);
            let word = last_word(&outcome.value);
            if let (Some(last), Some(word)) =
                (last.as_object_mut(), word.as_object().filter(|_| outcome.deployment.is_some()))
            {
                last.extend(
                    word.iter().filter(|(name, _)| *name != "stack").map(|(name, it)| (name.clone(), it.clone())),
                );
            }
        }
        exit = worse(exit, outcome.exit);
        if outcome.exit == Exit::Interrupted {
            break;
        }
    }
    Ok(exit)
}

/// Applies a text that was made here.
pub(super) async fn text(session: &Session<'_>, text: &str, reason: Option<&str>) -> Result<Exit, CliError> {
    let input = json!({ "manifest": text, "reason": reason, "idempotencyKey": once() });
    let payload = session.order("applyStack", documents::APPLY, input, Again::Safe).await?;
    let values: Vec<Value> = read(payload.get("documents").unwrap_or(&Value::Null))?;
    let applied: Vec<AppliedDocument> = read(payload.get("documents").unwrap_or(&Value::Null))?;
    let results = Value::Array(values.iter().map(result).collect());
    match machine(session.output, &results, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => {
            for document in &applied {
                session.console.print(&line(document, false, session))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// What a document came to, in a line.
pub(super) fn line(document: &AppliedDocument, dry: bool, session: &Session<'_>) -> String {
    let paint = session.console.paint;
    let name = format!("{} {}", document.kind.to_lowercase(), clean(&document.name));
    let place = document.environment.as_deref().filter(|name| *name != "default");
    let place = place.map(|name| format!(" ({})", clean(name))).unwrap_or_default();
    let would = if dry { "would be " } else { "" };
    if document.created {
        return format!("{name}{place} {}", paint.tone(Tone::Good, &format!("{would}created")));
    }
    if document.changes.is_empty() {
        return format!("{name}{place} {}", paint.tone(Tone::Faint, "unchanged"));
    }
    let changes: Vec<String> = document.changes.iter().map(|change| clean(change)).collect();
    format!("{name}{place} {}: {}", paint.tone(Tone::Warn, &format!("{would}changed")), changes.join(", "))
}

/// `{kind, name, environment, created, changes, deploymentId, generation, phase, reason, message}`.
pub(super) fn result(document: &Value) -> Value {
    let mut result = Map::new();
    for name in ["kind", "name", "environment", "created", "changes"] {
        result.insert(name.to_owned(), document.get(name).cloned().unwrap_or_default());
    }
    let deployment = last_word(document.get("deployment").unwrap_or(&Value::Null));
    for name in ["deploymentId", "generation", "phase", "reason", "message"] {
        result.insert(name.to_owned(), deployment.get(name).cloned().unwrap_or_default());
    }
    if let Some(generation) = document.pointer("/stack/generation") {
        result.insert("generation".to_owned(), generation.clone());
    }
    Value::Object(result)
}

/// How to see what becomes of it.
pub(super) fn hint(session: &Session<'_>, applied: &[AppliedDocument]) {
    let under_way = applied.iter().filter_map(|it| it.deployment.as_ref()).find(|it| it.ended().is_none());
    if let Some(it) = under_way {
        let wait = command(&format!("wait {} {}", it.stack, it.id), &it.environment);
        session.console.note(&format!("follow it: {wait}, or at {}", clean(&session.page(it))));
    }
}

/// The exit code of several deployments: that of the first that did not do well, but an interruption tells more.
fn worse(so_far: Exit, next: Exit) -> Exit {
    if so_far == Exit::Done || next == Exit::Interrupted { next } else { so_far }
}
