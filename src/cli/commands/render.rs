//! `render`.

use serde_json::{Value, json};

use super::look_up;
use crate::cli::args::{Output, Pair, RenderArgs};
use crate::cli::client::documents;
use crate::cli::console::clean;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;

pub(super) async fn render(session: &Session<'_>, args: &RenderArgs) -> Result<Exit, CliError> {
    let images: Vec<Value> =
        args.images.iter().map(|Pair { key, value }| json!({ "service": key, "version": value })).collect();
    let variables = json!({
        "stack": args.stack, "environment": session.environment(), "ref": args.wanted, "images": images,
    });
    let data = session.ask(documents::RENDERING, variables).await.map_err(look_up)?;
    let answer = data.get("rendering").unwrap_or(&Value::Null);
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        session.console.note(&format!("warning: {}", clean(warning)));
    }
    // For people, the objects alone: as they would stand in a file.
    let (form, shown) = match session.output {
        Output::Table | Output::Wide => (Output::Yaml, &answer["objects"]),
        form => (form, answer),
    };
    session.console.print(&machine(form, shown, field("digest"))?.unwrap_or_default())?;
    Ok(Exit::Done)
}
