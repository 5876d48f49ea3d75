//! `doctor`: asks the server, and looks at what is on this machine when there is none.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::args::Globals;
use crate::cli::console::{Console, Tone};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{field, machine};
use crate::cli::session::Session;
use crate::cli::table::{Cell, Table};
use crate::cli::{Host, runtime};

/// A server's clock that is off by more than this, in seconds, is told.
const SKEW: i64 = 5;

/// Looks at everything, and says what to mend.
pub(in crate::cli) fn doctor(globals: &Globals, host: &dyn Host, console: &Console) -> Result<Exit, CliError> {
    let asked = {
        let runtime = runtime()?;
        let session = Session::new(globals, console)?;
        runtime.block_on(session.client.get("api/v1/doctor"))
    };
    let findings = match asked {
        Ok(answer) => {
            let mut findings = vec![server(globals, &answer)];
            findings.extend(answer.get("findings").and_then(Value::as_array).cloned().unwrap_or_default());
            findings
        }
        // It is there, and knows the caller too little to tell.
        Err(error) if error.exit == Exit::Refused => return Err(error),
        Err(error) => {
            let mut findings = vec![json!({
                "area": "Server", "subject": globals.server, "health": "Bad", "message": error.message, "mend": error.next,
            })];
            findings.extend(host.examine(globals.folder()).iter().map(|it| json!(it)));
            findings
        }
    };
    let findings = Value::from(findings);
    match machine(globals.output, &findings, field("subject"))? {
        Some(text) => console.print(&text)?,
        None => console.print(&table(&findings).render(console.paint, None))?,
    }
    let all = findings.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(if all.iter().any(|it| text(it, "health") == "Bad") { Exit::Error } else { Exit::Done })
}

fn server(globals: &Globals, answer: &Value) -> Value {
    let time = answer.get("time").and_then(Value::as_str).and_then(|time| time.parse::<Timestamp>().ok());
    let off = time.map_or(0, |time| time.as_second() - Timestamp::now().as_second());
    let (health, message, mend) = match off.abs() > SKEW {
        false => ("Good", "answers".to_owned(), None),
        true => (
            "Doubtful",
            format!("answers, and its clock is off by {off} s from this machine's"),
            Some("let both machines set their clocks by NTP"),
        ),
    };
    json!({ "area": "Server", "subject": globals.server, "health": health, "message": message, "mend": mend })
}

fn table(findings: &Value) -> Table {
    let mut table = Table::new(&["AREA", "WHAT", "HEALTH", "FOUND"]);
    for it in findings.as_array().map(Vec::as_slice).unwrap_or_default() {
        let health = text(it, "health");
        let tone = match health {
            "Good" => Tone::Good,
            "Bad" => Tone::Bad,
            _ => Tone::Warn,
        };
        let mend = it.get("mend").and_then(Value::as_str).map(|mend| format!("; mend: {mend}")).unwrap_or_default();
        table.row([
            Cell::from(text(it, "area")),
            text(it, "subject").into(),
            Cell::toned(health, tone),
            format!("{}{mend}", text(it, "message")).into(),
        ]);
    }
    table
}

fn text<'a>(it: &'a Value, name: &str) -> &'a str {
    it.get(name).and_then(Value::as_str).unwrap_or_default()
}
