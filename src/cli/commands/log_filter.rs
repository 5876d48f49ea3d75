//! `log-filter`: what the server logs, and changing it while it runs.

use serde_json::json;

use crate::cli::client::{Again, documents};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;

pub(super) async fn log_filter(session: &Session<'_>, filter: Option<&str>) -> Result<Exit, CliError> {
    let found = match filter {
        None => session.ask(documents::LOG_FILTER, json!({})).await?["logFilter"].take(),
        Some(filter) => {
            let input = json!({ "filter": filter });
            session.order("setLogFilter", documents::SET_LOG_FILTER, input, Again::Safe).await?["filter"].take()
        }
    };
    match machine(session.output, &json!({ "filter": found }), field("filter"))? {
        Some(text) => session.console.print(&text)?,
        None => session.console.print(found.as_str().unwrap_or_default())?,
    }
    Ok(Exit::Done)
}
