//! `logs`: what Skep did and what services wrote, line by line.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{get, look_up, watch};
use crate::cli::args::LogsArgs;
use crate::cli::client::documents;
use crate::cli::console::{Console, Paint, Tone, clean, plain, width};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::read;
use crate::cli::output::{field, streamed};
use crate::cli::session::Session;

/// What comes first in a line takes no more columns than this.
const WIDEST: usize = 40;

/// A line, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Line {
    time: jiff::Timestamp,
    service: Option<String>,
    slot: Option<u64>,
    node: Option<String>,
    text: String,
}

pub(super) async fn logs(session: &Session<'_>, args: &LogsArgs) -> Result<Exit, CliError> {
    if let (Some(id), Some(of)) = (&args.deployment, &args.of) {
        get::check_stack(session, id, &of.stack).await?;
    }
    let stack = args.of.as_ref().filter(|_| args.deployment.is_none()).map(|of| &of.stack);
    let variables = json!({
        "deployment": args.deployment, "stack": stack, "environment": session.environment(),
        "service": args.of.as_ref().and_then(|of| of.service.as_ref()),
        "tail": args.tail, "since": args.since, "follow": args.follow,
    });
    let mut feed = session.client.follow("logLines", documents::FOLLOW_LOGS, variables);
    let mut printer = Printer { session, timestamps: args.timestamps, width: 0, any: false };
    loop {
        let message = watch::next(session, &mut feed).await.map_err(look_up)?;
        for line in message.get("lines").and_then(Value::as_array).into_iter().flatten() {
            printer.print(line)?;
        }
        if message.get("ended") == Some(&Value::Bool(true)) {
            if !printer.any && session.output.is_for_people() {
                session.console.note("nothing was written");
            }
            return Ok(Exit::Done);
        }
    }
}

struct Printer<'a> {
    session: &'a Session<'a>,
    timestamps: bool,
    /// The widest of what came first so far.
    width: usize,
    any: bool,
}

impl Printer<'_> {
    fn print(&mut self, value: &Value) -> Result<(), CliError> {
        self.any = true;
        let console = self.session.console;
        match streamed(self.session.output, value, field("text"))? {
            Some(text) => console.print_line(&text),
            None => {
                let line = self.line(console, &read(value)?);
                console.print_line(&line)
            }
        }
    }

    fn line(&mut self, console: &Console, line: &Line) -> String {
        let who = clean(&who(line));
        self.width = self.width.max(width(&who)).min(WIDEST);
        let pad = " ".repeat(self.width.saturating_sub(width(&who)));
        let (paint, who) = (console.paint, label(line, console.paint));
        let time = if self.timestamps { format!("{:.9} ", line.time) } else { String::new() };
        // What goes into a file or a pipe is what was written.
        let text = if console.is_terminal() { plain(&line.text) } else { line.text.clone() };
        format!("{}{who}{pad} {} {text}", paint.tone(Tone::Faint, &time), paint.tone(Tone::Faint, "|"))
    }
}

/// Who wrote a line, in the colour of the service: all its tasks have the same, and which one it is stands in the text.
fn label(line: &Line, paint: Paint) -> String {
    let who = clean(&who(line));
    match &line.service {
        Some(service) => paint.hue(service, &who),
        None => paint.tone(Tone::Strong, &who),
    }
}

/// `skep`, or `SERVICE.SLOT@NODE` as far as it is known.
fn who(line: &Line) -> String {
    let Some(service) = &line.service else { return "skep".to_owned() };
    let slot = line.slot.map(|slot| format!(".{slot}")).unwrap_or_default();
    let node = line.node.as_ref().map(|node| format!("@{node}")).unwrap_or_default();
    format!("{service}{slot}{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_one_colour_whatever_the_slot_and_node() {
        let colour = |service: &str, slot: u64| {
            let service = Some(service.to_owned());
            let line =
                Line { time: jiff::Timestamp::UNIX_EPOCH, service, slot: Some(slot), node: None, text: "up".into() };
            let shown = label(&line, Paint(true));
            assert!(shown.contains(&format!(".{slot}")), "{shown:?}");
            shown.split('m').next().unwrap_or_default().to_owned()
        };
        assert_eq!(colour("web", 1), colour("web", 2));
        assert_ne!(colour("web", 1), colour("worker", 1));
        let own = Line { time: jiff::Timestamp::UNIX_EPOCH, service: None, slot: None, node: None, text: "x".into() };
        assert_eq!(label(&own, Paint(true)), "\x1b[1mskep\x1b[0m");
        assert_eq!(label(&own, Paint(false)), "skep");
    }
}
