//! `get`, `history` and `events`: what is recorded.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{look_up, no_stack, notifier, one_stack, watch};
use crate::cli::args::{EventsArgs, FindArgs, GetArgs, HistoryArgs, Output, What};
use crate::cli::client::documents;
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Deployment, read, read_all};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command};
use crate::cli::show;
use crate::cli::table::Table;

/// The most a page may hold.
const PAGE: usize = 200;

pub(super) async fn get(session: &Session<'_>, args: &GetArgs) -> Result<Exit, CliError> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    match &args.what {
        What::Stacks(find) if args.watch && !find.is_all() => {
            let error =
                CliError::new(Exit::Usage, "what is followed is followed whole: -w takes no filter and no order");
            Err(error.next("leave out -w, or filter what it prints"))
        }
        What::Stacks(_) if args.watch => watch::stacks(session).await,
        What::Stacks(find) => stacks(session, find).await,
        What::Stack { name } if args.watch => watch::stack(session, name).await,
        What::Stack { name } => {
            let found = one_stack(session, name).await?;
            one(session, &found, "name", |found| {
                Ok(show::stack(&read(found)?, Timestamp::now(), session.console.paint))
            })
        }
        What::Deployments { stack } if args.watch => watch::deployments(session, stack.as_deref(), limit).await,
        What::Deployments { stack } => {
            let found = deployments(session, stack.as_deref(), limit).await?;
            list(session, found, "id", stack.is_none(), "no deployment is recorded")
        }
        What::Deployment { id } if args.watch => watch::deployment(session, id).await,
        What::Deployment { id } => {
            let found = one_deployment(session, id).await?;
            one(session, &found, "id", |found| {
                Ok(show::deployment(&read(found)?, Timestamp::now(), session.console.paint))
            })
        }
        What::Environments if args.watch => watch::environments(session).await,
        What::Environments => {
            let found = environments(session).await?;
            let wide = session.output == Output::Wide;
            let table = |found: &[Value]| Ok(show::environments(&read_all(found)?, wide, Timestamp::now()));
            many(
                session,
                found,
                "name",
                table,
                ("no environment is declared", "start `skep serve --docker URL`, or apply one"),
            )
        }
        What::Tasks { .. } if args.watch => {
            let error = CliError::new(Exit::Usage, "tasks are not followed");
            Err(error.next("ask again without -w, or follow the stack: `skep watch STACK`"))
        }
        What::Tasks { stack } => {
            let found = tasks(session, stack).await?;
            let table = |found: &[Value]| Ok(show::tasks(stack, &read_all(found)?, Timestamp::now()));
            let see = command(&format!("get stack {stack}"), session.environment());
            many(session, found, "taskId", table, ("it has no task", &format!("see how it stands: {see}")))
        }
        What::Notifiers => notifier::list(session).await,
        What::Events { stack } => {
            let of = EventsOf { stack: stack.clone(), limit, ..EventsOf::default() };
            events(session, &of, args.watch).await
        }
    }
}

pub(super) async fn history(session: &Session<'_>, args: &HistoryArgs) -> Result<Exit, CliError> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let found = deployments(session, Some(&args.stack), limit).await?;
    if !session.output.is_for_people() || found.is_empty() {
        return list(session, found, "id", false, "no deployment is recorded");
    }
    // A stack that is gone has its history still, and nothing is anything to it.
    let stack = match one_stack(session, &args.stack).await {
        Ok(stack) => read(&stack)?,
        Err(error) if error.exit == Exit::NotFound => return list(session, found, "id", false, ""),
        Err(error) => return Err(error),
    };
    let wide = session.output == Output::Wide;
    let table = show::history(&read_all(&found)?, &stack, wide, Timestamp::now());
    session.console.print(&table.render(session.console.paint, session.console.columns()))?;
    Ok(Exit::Done)
}

/// The tasks of a stack's services.
pub(super) async fn tasks(session: &Session<'_>, stack: &str) -> Result<Vec<Value>, CliError> {
    let variables = json!({ "stack": stack, "environment": session.environment() });
    let mut data = session.ask(documents::TASKS, variables).await.map_err(look_up)?;
    read(&data.get_mut("tasks").map(Value::take).unwrap_or_default())
}

/// A deployment of another stack is a slip of the pen.
pub(super) async fn check_stack(session: &Session<'_>, id: &str, stack: &str) -> Result<(), CliError> {
    let found = one_deployment(session, id).await?;
    match found.get("stack").and_then(Value::as_str) {
        Some(of) if of != stack => {
            let message = format!("deployment `{id}` is one of stack `{of}`, not of `{stack}`");
            Err(CliError::new(Exit::NotFound, message).next(format!("see what there is: `skep history {stack}`")))
        }
        _ => Ok(()),
    }
}

async fn stacks(session: &Session<'_>, find: &FindArgs) -> Result<Exit, CliError> {
    let phases = if find.phases.is_empty() { Value::Null } else { json!(find.phases) };
    let variables = json!({
        "environment": session.environment, "phases": phases, "text": find.search, "order": format!("{:?}", find.sort),
    });
    let found = pages(session, documents::STACKS, "stacks", variables, usize::MAX, |_| true).await?;
    let wide = session.output == Output::Wide;
    let table = |found: &[Value]| Ok(show::stacks(&read_all(found)?, wide, Timestamp::now()));
    let next = match find.is_all() {
        true => "declare one: `skep apply -f FILE`",
        false => "see all of them: `skep get stacks`",
    };
    let none = match &session.environment {
        _ if !find.is_all() => "no stack is like that".to_owned(),
        Some(name) => format!("no stack is declared in environment `{name}`"),
        None => "no stack is declared".to_owned(),
    };
    many(session, found, "name", table, (&none, next))
}

/// Which lines of the log are wanted, and how many of the newest.
#[derive(Debug, Default)]
pub(super) struct EventsOf {
    pub(super) stack: Option<String>,
    deployment: Option<String>,
    types: Vec<String>,
    actor: Option<String>,
    pub(super) limit: usize,
}

impl From<&EventsArgs> for EventsOf {
    fn from(args: &EventsArgs) -> Self {
        Self {
            stack: args.stack.clone(),
            deployment: args.deployment.clone(),
            types: args.types.clone(),
            actor: args.actor.clone(),
            limit: usize::try_from(args.limit).unwrap_or(usize::MAX),
        }
    }
}

impl EventsOf {
    /// As the server is asked for them.
    pub(super) fn variables(&self, session: &Session<'_>) -> Value {
        // A deployment is of one environment, whichever that is.
        let environment = match self.deployment {
            Some(_) => session.environment.as_deref(),
            None => events_of(session, self.stack.as_deref()),
        };
        let types = if self.types.is_empty() { Value::Null } else { json!(self.types) };
        json!({
            "environment": environment, "stack": self.stack, "deployment": self.deployment, "types": types,
            "actor": self.actor,
        })
    }
}

pub(super) async fn events(session: &Session<'_>, of: &EventsOf, follow: bool) -> Result<Exit, CliError> {
    if follow {
        return watch::events(session, of).await;
    }
    let mut found = pages(session, documents::EVENTS, "events", of.variables(session), of.limit, |_| true).await?;
    found.reverse();
    let wide = session.output == Output::Wide;
    let table = |found: &[Value]| Ok(show::events(&read_all(found)?, wide));
    many(session, found, "sequence", table, ("the log holds nothing of that", "follow it: `skep events -w`"))
}

/// The environment whose events are wanted: a stack is always one environment's.
pub(super) fn events_of<'s>(session: &'s Session<'_>, stack: Option<&str>) -> Option<&'s str> {
    match stack {
        Some(_) => Some(session.environment()),
        None => session.environment.as_deref(),
    }
}

pub(super) async fn environments(session: &Session<'_>) -> Result<Vec<Value>, CliError> {
    let mut data = session.ask(documents::ENVIRONMENTS, json!({})).await?;
    let mut found: Vec<Value> = read(&data.get_mut("environments").map(Value::take).unwrap_or_default())?;
    if let Some(name) = &session.environment {
        found.retain(|it| it.get("name").and_then(Value::as_str) == Some(name));
        if found.is_empty() {
            let error = CliError::new(Exit::NotFound, format!("there is no environment `{name}`"));
            return Err(error.next("see all of them: `skep get environments`"));
        }
    }
    Ok(found)
}

/// Deployments of one stack or of all, the newest first.
pub(super) async fn deployments(
    session: &Session<'_>,
    stack: Option<&str>,
    limit: usize,
) -> Result<Vec<Value>, CliError> {
    let variables = json!({ "stack": stack, "environment": session.environment() });
    // Without a stack the server lists those of every environment.
    let wanted = session.environment.as_deref().filter(|_| stack.is_none());
    let keep = |it: &Value| wanted.is_none_or(|name| it.get("environment").and_then(Value::as_str) == Some(name));
    let found = pages(session, documents::DEPLOYMENTS, "deployments", variables, limit, keep).await?;
    if let Some(stack) = stack.filter(|_| found.is_empty()) {
        one_stack(session, stack).await?;
    }
    Ok(found)
}

pub(super) async fn one_deployment(session: &Session<'_>, id: &str) -> Result<Value, CliError> {
    let mut data = session.ask(documents::DEPLOYMENT, json!({ "id": id })).await?;
    match data.get_mut("deployment").map(Value::take) {
        Some(found) if !found.is_null() => Ok(found),
        _ => Err(CliError::new(Exit::NotFound, format!("there is no deployment `{id}`"))
            .next("see what there is: `skep get deployments`")),
    }
}

/// Nodes of a list, page after page, as many as are wanted.
async fn pages(
    session: &Session<'_>,
    document: &str,
    field: &str,
    mut variables: Value,
    limit: usize,
    keep: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>, CliError> {
    let mut found = Vec::new();
    while found.len() < limit {
        variables["first"] = json!((limit - found.len()).min(PAGE));
        let mut data = session.ask(document, variables.clone()).await?;
        let page = data.get_mut(field).map(Value::take).unwrap_or_default();
        let edges = page.get("edges").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        found.extend(edges.iter().filter_map(|edge| edge.get("node")).filter(|node| keep(node)).cloned());
        let more = page.pointer("/pageInfo/hasNextPage").and_then(Value::as_bool).unwrap_or(false);
        let Some(cursor) = page.pointer("/pageInfo/endCursor").filter(|cursor| more && cursor.is_string()) else {
            break;
        };
        variables["after"] = cursor.clone();
    }
    found.truncate(limit);
    Ok(found)
}

/// Prints one thing.
fn one(
    session: &Session<'_>,
    found: &Value,
    name: &'static str,
    people: impl Fn(&Value) -> Result<String, CliError>,
) -> Result<Exit, CliError> {
    let text = match machine(session.output, found, field(name))? {
        Some(text) => text,
        None => people(found)?,
    };
    session.console.print(&text)?;
    Ok(Exit::Done)
}

/// Prints a list; says so, and what to type next, when it is empty.
pub(super) fn many(
    session: &Session<'_>,
    found: Vec<Value>,
    name: &'static str,
    table: impl Fn(&[Value]) -> Result<Table, CliError>,
    (none, next): (&str, &str),
) -> Result<Exit, CliError> {
    let empty = found.is_empty();
    let found = Value::Array(found);
    let named = |it: &Value| match it.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
        None => None,
    };
    match machine(session.output, &found, named)? {
        Some(text) => session.console.print(&text)?,
        None if empty => session.console.note(&format!("{none}\nnext: {next}")),
        None => {
            let items = found.as_array().map(Vec::as_slice).unwrap_or_default();
            session.console.print(&table(items)?.render(session.console.paint, session.console.columns()))?;
        }
    }
    Ok(Exit::Done)
}

/// Prints deployments.
fn list(
    session: &Session<'_>,
    found: Vec<Value>,
    name: &'static str,
    of_many: bool,
    none: &str,
) -> Result<Exit, CliError> {
    let wide = session.output == Output::Wide;
    let table = |found: &[Value]| {
        let found: Vec<Deployment> = read_all(found)?;
        Ok(show::deployments(&found, of_many, wide, Timestamp::now()))
    };
    many(session, found, name, table, (none, "deploy something: `skep apply -f FILE`"))
}

/// A stack that is gone while it is watched.
pub(super) fn gone(session: &Session<'_>, name: &str, seen: bool) -> Result<Exit, CliError> {
    if seen {
        session.console.note(&format!("{name} is deleted"));
        Ok(Exit::Done)
    } else {
        Err(no_stack(session, name))
    }
}
