//! A next format of the data folder that means nothing, to try the way to it: for tests, in no released binary.

use std::sync::Arc;

use serde_json::Value;

use crate::store::sled::{FORMAT, Migration, Point};

/// Says that the trial is wanted, and where the process is to die: `before`, `during`, `after`, or `nowhere`.
const VARIABLE: &str = "SKEP_TRIAL_FORMAT";

/// The migration that is asked for, if one is.
pub(super) fn migration() -> Option<Migration> {
    let dies = std::env::var(VARIABLE).ok()?;
    let at = move |point: Point| {
        if format!("{point:?}").eq_ignore_ascii_case(&dies) {
            tracing::error!(?point, "this is a trial: the process dies here");
            std::process::abort();
        }
        Ok(())
    };
    Some(Migration { to: FORMAT + 1, readable_from: FORMAT, step: Arc::new(step), at: Arc::new(at) })
}

/// Gives the record of a stack a field that the version before does not know, and passes over.
fn step(key: &str, value: &[u8]) -> Option<Vec<u8>> {
    if !key.starts_with("stack/") {
        return None;
    }
    // The record is JSON behind one byte, its schema.
    let (schema, json) = value.split_first()?;
    let mut record: Value = serde_json::from_slice(json).ok()?;
    let fields = record.as_object_mut()?;
    if fields.contains_key("trial") {
        return None;
    }
    fields.insert("trial".to_owned(), Value::Bool(true));
    let mut bytes = vec![*schema];
    serde_json::to_writer(&mut bytes, &record).ok()?;
    Some(bytes)
}
