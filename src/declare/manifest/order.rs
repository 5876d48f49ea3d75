//! What a stack waits for: `dependsOn` and `policy.schedule`.

use std::collections::BTreeMap;

use jiff::civil::{DateTime, Time};

use super::super::check;
use super::super::fields::{Field, Fields, Reader};
use super::environment_name;
use crate::domain::{Day, Dependency, EnvironmentName, Freeze, Schedule, StackKey, StackName, Window};

/// Reads `dependsOn`. Of a dependency that names no environment it is the stack's own.
pub(super) fn dependencies(reader: &mut Reader, field: &Field<'_>, own: Option<&EnvironmentName>) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    for item in reader.list(field) {
        let Some(mut fields) = reader.map(&item) else { continue };
        let name = must(reader, &mut fields, &item, "stack", "the name of the stack it depends on");
        let name = name.and_then(|name| parsed(reader, &name, StackName::parse));
        let environment = match fields.take("environment") {
            Some(field) => environment_name(reader, Some(field)),
            None => own.cloned(),
        };
        let images = fields.take("images").map(|field| wanted_images(reader, &field)).unwrap_or_default();
        reader.finish(fields);
        let (Some(name), Some(environment)) = (name, environment) else { continue };
        let stack = StackKey { environment, name };
        if found.iter().any(|other| other.stack == stack) {
            reader.wrong(&item, format!("stack `{stack}` is named twice"), Some("write its `images` in one entry"));
        } else {
            found.push(Dependency { stack, images });
        }
    }
    found
}

fn wanted_images(reader: &mut Reader, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(mut fields) = reader.map(field) else { return found };
    for (key, field) in fields.rest() {
        let Some(text) = reader.text(&field) else { continue };
        match check::service(&key.text).and_then(|()| check::tag_or_range(&text)) {
            Ok(()) => drop(found.insert(key.text.clone(), text)),
            Err(message) => reader.wrong(&field, message, None),
        }
    }
    found
}

/// Reads `policy.schedule`.
pub(super) fn schedule(reader: &mut Reader, field: &Field<'_>) -> Option<Schedule> {
    let mut fields = reader.map(field)?;
    let mut schedule = Schedule::default();
    if let Some(field) = fields.take("zone") {
        schedule.zone = reader.text(&field);
        if let Err(message) = schedule.zone() {
            reader.wrong(&field, message, None);
        }
    }
    if let Some(field) = fields.take("windows") {
        schedule.windows = reader.list(&field).iter().filter_map(|item| window(reader, item)).collect();
    }
    if let Some(field) = fields.take("freezes") {
        schedule.freezes = reader.list(&field).iter().filter_map(|item| freeze(reader, item)).collect();
    }
    reader.finish(fields);
    Some(schedule)
}

fn window(reader: &mut Reader, item: &Field<'_>) -> Option<Window> {
    let mut fields = reader.map(item)?;
    let days = match fields.take("days") {
        Some(field) => reader.list(&field).iter().filter_map(|day| reader.choice(day, &Day::ALL)).collect(),
        None => Vec::new(),
    };
    let hour = |reader: &mut Reader, fields: &mut Fields<'_>, name, what| {
        let field = must(reader, fields, item, name, what)?;
        let time =
            |text: &str| text.parse::<Time>().map_err(|_| format!("`{text}` is no time of day; write \"22:00\""));
        parsed(reader, &field, time)
    };
    let from = hour(reader, &mut fields, "from", "when the window opens");
    let to = hour(reader, &mut fields, "to", "when the window closes");
    reader.finish(fields);
    Some(Window { days, from: from?, to: to? })
}

fn freeze(reader: &mut Reader, item: &Field<'_>) -> Option<Freeze> {
    let mut fields = reader.map(item)?;
    let time = |reader: &mut Reader, fields: &mut Fields<'_>, name, what| {
        let field = must(reader, fields, item, name, what)?;
        let time = |text: &str| {
            text.parse::<DateTime>()
                .map_err(|_| format!("`{text}` is no date or time; write \"2026-12-20\" or \"2026-12-20T18:00\""))
        };
        parsed(reader, &field, time)
    };
    let from = time(reader, &mut fields, "from", "when the freeze begins");
    let to = time(reader, &mut fields, "to", "when the freeze ends");
    let reason = fields.take("reason").and_then(|field| reader.text(&field));
    reader.finish(fields);
    let (from, to) = (from?, to?);
    if to <= from {
        reader.wrong(
            item,
            format!("the freeze ends at {to}, and begins at {from}"),
            Some("write the later time as `to`"),
        );
        return None;
    }
    Some(Freeze { from, to, reason })
}

fn must<'n>(
    reader: &mut Reader,
    fields: &mut Fields<'n>,
    item: &Field<'_>,
    name: &'static str,
    what: &str,
) -> Option<Field<'n>> {
    let found = fields.take(name);
    if found.is_none() {
        reader.wrong(item, format!("`{}` is missing: {what}", fields.path(name)), None);
    }
    found
}

fn parsed<T, E: ToString>(reader: &mut Reader, field: &Field<'_>, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    let text = reader.text(field)?;
    parse(&text).map_err(|error| reader.wrong(field, error.to_string(), None)).ok()
}
