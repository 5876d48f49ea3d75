//! `-w`: what is there, and then what changes. Machines get one object a line.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::get::{
    self, EventsOf, deployments as list_deployments, environments as list_environments, events_of, one_deployment,
};
use crate::cli::args::Output;
use crate::cli::client::{Feed, News, documents};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Deployment, read, read_all};
use crate::cli::output::{field, streamed};
use crate::cli::session::Session;
use crate::cli::show;
use crate::cli::table::Table;

/// The most lines of the log that come before the first new one.
const NEWEST: usize = 200;

/// Prints things as they come, each only when it differs from what was printed of it before.
struct Stream<'a> {
    session: &'a Session<'a>,
    widths: Vec<usize>,
    seen: HashMap<String, Value>,
}

impl<'a> Stream<'a> {
    fn new(session: &'a Session<'a>) -> Self {
        Self { session, widths: Vec::new(), seen: HashMap::new() }
    }

    /// Prints those of `values` that are new or differ.
    fn print(
        &mut self,
        values: Vec<Value>,
        key: impl Fn(&Value) -> String,
        name: &'static str,
        table: impl Fn(&[Value]) -> Result<Table, CliError>,
    ) -> Result<(), CliError> {
        let values: Vec<Value> = values.into_iter().filter(|value| self.seen.get(&key(value)) != Some(value)).collect();
        let console = self.session.console;
        if self.session.output.is_for_people() {
            if !values.is_empty() {
                let text = table(&values)?.go_on(console.paint, console.columns(), &mut self.widths);
                console.print(&text)?;
            }
        } else {
            for value in &values {
                if let Some(text) = streamed(self.session.output, value, field(name))? {
                    console.print(&text)?;
                }
            }
        }
        self.seen.extend(values.into_iter().map(|value| (key(&value), value)));
        Ok(())
    }

    /// A stack is gone.
    fn gone(&mut self, name: &str, environment: &str) -> Result<(), CliError> {
        if self.seen.remove(&format!("{environment}/{name}")).is_none() {
            return Ok(());
        }
        let word = json!({ "name": name, "environment": environment, "deleted": true });
        match self.session.output {
            Output::Json | Output::Yaml => {
                let text = streamed(self.session.output, &word, field("name"))?.unwrap_or_default();
                self.session.console.print(&text)
            }
            _ => {
                self.session.console.note(&format!("{name} ({environment}) is deleted"));
                Ok(())
            }
        }
    }
}

/// The next message; what happens to the connection is said on the way.
pub(super) async fn next(session: &Session<'_>, feed: &mut Feed) -> Result<Value, CliError> {
    loop {
        match feed.next().await? {
            News::Data(data) => return Ok(data),
            News::Lost(why) => session.console.note(&format!("connection lost ({why}); trying again")),
            News::Back => session.console.note("connected again"),
        }
    }
}

fn text_of(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn stack_key(value: &Value) -> String {
    format!("{}/{}", text_of(value, "environment"), text_of(value, "name"))
}

pub(super) async fn stacks(session: &Session<'_>) -> Result<Exit, CliError> {
    let variables = json!({ "environment": session.environment });
    let mut feed = session.client.follow("stacksChanged", documents::FOLLOW_STACKS, variables);
    let mut stream = Stream::new(session);
    let wide = session.output == Output::Wide;
    let table = |found: &[Value]| Ok(show::stacks(&read_all(found)?, wide, Timestamp::now()));
    let mut first = true;
    loop {
        let mut change = next(session, &mut feed).await?;
        let mut take = |name: &str| change.get_mut(name).map(Value::take).filter(|it| !it.is_null());
        if let Some(snapshot) = take("snapshot") {
            let all: Vec<Value> = read(&snapshot)?;
            let there: Vec<String> = all.iter().map(stack_key).collect();
            let missing: Vec<String> = stream.seen.keys().filter(|key| !there.contains(key)).cloned().collect();
            for (environment, name) in missing.iter().filter_map(|key| key.split_once('/')) {
                stream.gone(name, environment)?;
            }
            if first && all.is_empty() && session.output.is_for_people() {
                session.console.note("no stack is declared yet; in another terminal: `skep apply -f FILE`");
            }
            stream.print(all, stack_key, "name", table)?;
        }
        first = false;
        if let Some(stack) = take("stack") {
            stream.print(vec![stack], stack_key, "name", table)?;
        }
        if let Some(deleted) = take("deleted") {
            stream.gone(&text_of(&deleted, "name"), &text_of(&deleted, "environment"))?;
        }
    }
}

pub(super) async fn stack(session: &Session<'_>, name: &str) -> Result<Exit, CliError> {
    let variables = json!({ "name": name, "environment": session.environment() });
    let mut feed = session.client.follow("stackChanged", documents::FOLLOW_STACK, variables);
    let mut stream = Stream::new(session);
    let wide = session.output == Output::Wide;
    loop {
        let mut change = next(session, &mut feed).await?;
        let stack = change.get_mut("stack").map(Value::take).unwrap_or_default();
        if stack.is_null() {
            let seen = !stream.seen.is_empty();
            return get::gone(session, name, seen);
        }
        stream.print(vec![stack], stack_key, "name", |found| {
            Ok(show::stacks(&read_all(found)?, wide, Timestamp::now()))
        })?;
    }
}

pub(super) async fn deployment(session: &Session<'_>, id: &str) -> Result<Exit, CliError> {
    let mut feed = session.client.follow("deploymentChanged", documents::FOLLOW_DEPLOYMENT, json!({ "id": id }));
    let mut stream = Stream::new(session);
    loop {
        let change = next(session, &mut feed).await;
        let mut change = change.map_err(|error| error.or_next("see what there is: `skep get deployments`"))?;
        let value = change.get_mut("deployment").map(Value::take).unwrap_or_default();
        let ended = read::<Deployment>(&value)?.ended().is_some();
        print_deployments(&mut stream, vec![value], true)?;
        if ended {
            return Ok(Exit::Done);
        }
    }
}

/// The list, and then each deployment that the log tells something of.
pub(super) async fn deployments(session: &Session<'_>, stack: Option<&str>, limit: usize) -> Result<Exit, CliError> {
    let mut feed = log(session, stack, 20);
    let mut stream = Stream::new(session);
    let mut found = list_deployments(session, stack, limit).await?;
    // The newest last: what comes next is newer still.
    found.reverse();
    print_deployments(&mut stream, found, stack.is_none())?;
    loop {
        let event = next(session, &mut feed).await?;
        if let Some(id) = event.pointer("/event/deploymentId").and_then(Value::as_str) {
            let value = one_deployment(session, id).await?;
            print_deployments(&mut stream, vec![value], stack.is_none())?;
        }
    }
}

fn print_deployments(stream: &mut Stream<'_>, values: Vec<Value>, of_many: bool) -> Result<(), CliError> {
    let wide = stream.session.output == Output::Wide;
    stream.print(
        values,
        |value| text_of(value, "id"),
        "id",
        |found| Ok(show::deployments(&read_all(found)?, of_many, wide, Timestamp::now())),
    )
}

/// The list, and then each environment that the log tells something of.
pub(super) async fn environments(session: &Session<'_>) -> Result<Exit, CliError> {
    let mut feed = log(session, None, 20);
    let mut stream = Stream::new(session);
    let wide = session.output == Output::Wide;
    loop {
        let found = list_environments(session).await?;
        stream.print(
            found,
            |value| text_of(value, "name"),
            "name",
            |found| Ok(show::environments(&read_all(found)?, wide, Timestamp::now())),
        )?;
        environment_event(session, &mut feed).await?;
    }
}

/// Waits until something happens to an environment.
pub(super) async fn environment_event(session: &Session<'_>, feed: &mut Feed) -> Result<(), CliError> {
    loop {
        let event = next(session, feed).await?;
        let kind = event.pointer("/event/type").and_then(Value::as_str).unwrap_or_default();
        if kind.starts_with("Environment") {
            return Ok(());
        }
    }
}

pub(super) async fn events(session: &Session<'_>, of: &EventsOf) -> Result<Exit, CliError> {
    let mut variables = of.variables(session);
    variables["last"] = json!(of.limit.min(NEWEST));
    let mut feed = session.client.follow("eventAdded", documents::FOLLOW_EVENTS, variables);
    let wide = session.output == Output::Wide;
    let mut widths = Vec::new();
    loop {
        let mut added = next(session, &mut feed).await?;
        let event = added.get_mut("event").map(Value::take).unwrap_or_default();
        let sequence = |event: &Value| event.get("sequence").map(Value::to_string);
        let console = session.console;
        match streamed(session.output, &event, sequence)? {
            Some(text) => console.print(&text)?,
            None => {
                let table = show::events(&[read(&event)?], wide);
                console.print(&table.go_on(console.paint, console.columns(), &mut widths))?;
            }
        }
    }
}

/// Follows the log, from its newest lines on.
pub(super) fn log(session: &Session<'_>, stack: Option<&str>, last: usize) -> Feed {
    let variables = json!({ "environment": events_of(session, stack), "stack": stack, "last": last });
    session.client.follow("eventAdded", documents::FOLLOW_EVENTS, variables)
}
