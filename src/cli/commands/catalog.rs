//! `catalog`: repositories of manifests that are followed.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::get::many;
use crate::cli::args::CatalogCommand;
use crate::cli::client::{Again, documents};
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Catalog, read, read_all};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;
use crate::cli::show;

pub(super) async fn catalog(session: &Session<'_>, what: &CatalogCommand) -> Result<Exit, CliError> {
    match what {
        CatalogCommand::List => list(session).await,
        CatalogCommand::Show { name } => one(session, name).await,
        CatalogCommand::Sync { name, reason } => {
            let document = ("syncCatalog", documents::SYNC_CATALOG);
            order(session, document, (name, reason.as_deref()), "is looked at now").await
        }
        CatalogCommand::Delete { name, reason } => {
            let document = ("deleteCatalog", documents::DELETE_CATALOG);
            order(session, document, (name, reason.as_deref()), "is followed no more; its stacks stay").await
        }
    }
}

async fn all(session: &Session<'_>) -> Result<Vec<Value>, CliError> {
    let mut data = session.ask(documents::CATALOGS, json!({})).await?;
    read(&data.get_mut("catalogs").map(Value::take).unwrap_or_default())
}

async fn list(session: &Session<'_>) -> Result<Exit, CliError> {
    let table = |found: &[Value]| {
        let found: Vec<Catalog> = read_all(found)?;
        Ok(show::catalogs(&found, Timestamp::now()))
    };
    let hint = "declare one: `skep apply -f FILE` with kind: Catalog";
    many(session, all(session).await?, "name", table, ("there is no catalog", hint))
}

async fn one(session: &Session<'_>, name: &str) -> Result<Exit, CliError> {
    let found = all(session).await?.into_iter().find(|it| it["name"] == name);
    let found = found.ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("there is no catalog `{name}`"))
            .next("see what there is: `skep catalog list`")
    })?;
    let catalog: Catalog = read(&found)?;
    match machine(session.output, &found, field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&show::catalog(&catalog, Timestamp::now()))?,
    }
    let good = catalog.error.is_none() && catalog.broken.is_empty() && catalog.kept.is_empty();
    Ok(if good { Exit::Done } else { Exit::Error })
}

async fn order(
    session: &Session<'_>,
    (mutation, document): (&'static str, &'static str),
    (name, reason): (&str, Option<&str>),
    done: &str,
) -> Result<Exit, CliError> {
    let input = json!({ "name": name, "reason": reason });
    session.order(mutation, document, input, Again::Never).await?;
    match machine(session.output, &json!({ "name": name }), field("name"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(&format!("catalog {} {done}", clean(name)))?,
    }
    Ok(Exit::Done)
}
