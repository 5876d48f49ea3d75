//! `adopt`.

use serde_json::{Value, json};

use super::apply::{follow_all, hint, line, result};
use super::manifest::Manifest;
use crate::cli::args::AdoptArgs;
use crate::cli::client::{Again, documents};
use crate::cli::console::{Tone, clean};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{AppliedDocument, Plan, UserError, read};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, once, refused};
use crate::cli::show;

pub(super) async fn adopt(session: &Session<'_>, args: &AdoptArgs) -> Result<Exit, CliError> {
    let manifest = Manifest::read(&args.files)?;
    let mut input = json!({
        "stack": args.stack.as_ref().map(|name| session.stack(name)),
        "environment": session.environment,
        "manifest": manifest.text,
        "file": manifest.file(),
        "references": manifest.references(),
        "rotateSecrets": args.rotate_secrets,
        "reason": args.reason,
        "dryRun": args.dry_run,
    });
    if !args.dry_run {
        input["idempotencyKey"] = once().into();
    }
    let mut data = session.client.ask(documents::ADOPT, json!({ "input": input }), Again::Safe).await?;
    let payload = data.get_mut("adoptStack").map(Value::take).unwrap_or_default();
    let errors: Vec<UserError> = read(payload.get("userErrors").unwrap_or(&Value::Null))?;
    if !errors.is_empty() {
        let errors: Vec<UserError> = errors.into_iter().map(|error| manifest.place(error)).collect();
        return Err(refused(&errors).or_next("mend it and adopt again; nothing was recorded"));
    }
    if args.dry_run {
        return plans(session, payload.get("plans").unwrap_or(&Value::Null));
    }
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
