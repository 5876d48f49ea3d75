//! Catalogs.

use jiff::Timestamp;

use crate::cli::console::{Tone, clean};
use crate::cli::model::Catalog;
use crate::cli::table::{Cell, Table};
use crate::cli::text::{age, or_none};

/// What there is to say of a catalog, in a word.
fn state(it: &Catalog) -> (&'static str, Tone) {
    match it {
        _ if it.error.is_some() => ("cannot be read", Tone::Bad),
        _ if !it.broken.is_empty() => ("broken files", Tone::Bad),
        _ if !it.kept.is_empty() => ("stacks are kept", Tone::Warn),
        _ if it.in_sync => ("in sync", Tone::Good),
        _ => ("not looked at yet", Tone::Warn),
    }
}

fn commit(it: &Catalog) -> Option<String> {
    let revision = it.revision.as_deref()?;
    Some(revision.get(..12).unwrap_or(revision).to_owned())
}

/// A line for each catalog.
pub(in crate::cli) fn catalogs(catalogs: &[Catalog], now: Timestamp) -> Table {
    let mut table = Table::new(&["CATALOG", "STATE", "COMMIT", "DECLARED", "STACKS", "REPOSITORY"]);
    for it in catalogs {
        let (word, tone) = state(it);
        table.row([
            Cell::from(it.name.as_str()),
            Cell::toned(word, tone),
            or_none(commit(it).as_deref()).into(),
            or_none(it.applied_at.map(|at| format!("{} ago", age(at, now))).as_deref()).into(),
            it.stacks.len().to_string().into(),
            format!("{} {} {}", it.git, it.wanted, it.path).into(),
        ]);
    }
    table
}

/// All of one catalog.
pub(in crate::cli) fn catalog(it: &Catalog, now: Timestamp) -> String {
    let mut lines = vec![
        format!("catalog {}  {}", clean(&it.name), state(it).0),
        format!("  {} {} {}", clean(&it.git), clean(&it.wanted), clean(&it.path)),
    ];
    if let (Some(commit), Some(at)) = (commit(it), it.applied_at) {
        let (title, author) = (or_none(it.title.as_deref()), or_none(it.author.as_deref()));
        lines.push(format!("  commit {commit}  {}  by {}, {} ago", clean(&title), clean(&author), age(at, now)));
    }
    if let Some(error) = &it.error {
        lines.push(format!("  error  {}", clean(error)));
    }
    for stack in &it.stacks {
        lines.push(format!("  stack  {}/{}  {}", clean(&stack.environment), clean(&stack.name), clean(&stack.file)));
    }
    for broken in &it.broken {
        let line = broken.line.map(|line| format!(":{line}")).unwrap_or_default();
        lines.push(format!("  broken {}{line}  {}", clean(&broken.file), clean(&broken.message)));
    }
    for kept in &it.kept {
        lines.push(format!("  kept   {}", clean(kept)));
    }
    if let Some(why) = &it.kept_because {
        lines.push(format!("         {}", clean(why)));
    }
    lines.join("\n")
}
