//! Adapters of the port `Store`: what survives a power cut, and how is it read back?

pub mod memory;
mod range;
pub mod sled;

use futures_util::StreamExt;
use futures_util::stream::unfold;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::ports::{BoxStream, StoreChange, StoreError, Transaction, Watched, Write};

/// The longest key, in bytes. Far above what `ledger` makes; keeps the inner pages of a tree small.
const LONGEST_KEY: usize = 1024;

/// How many changes a watcher may be behind before it is told that it missed some.
const WATCH_CAPACITY: usize = 4096;

/// The digits of a number in the key of a log's entry.
const LOG_DIGITS: usize = 16;

fn log_key(log: &str, number: u64) -> String {
    format!("{log}/{number:0LOG_DIGITS$x}")
}

/// Refuses what could never be written, before anything is.
fn fit(transaction: &Transaction) -> Result<(), StoreError> {
    let check = |key: &str, room: usize| match key.len() {
        0 => Err(StoreError::Unfit("a key is empty".to_owned())),
        length if length > room => Err(StoreError::Unfit(format!(
            "a key that begins with `{}` has {length} bytes, the most is {room}",
            key.chars().take(40).collect::<String>()
        ))),
        _ => Ok(()),
    };
    for (key, _) in &transaction.expects {
        check(key, LONGEST_KEY)?;
    }
    for write in &transaction.writes {
        match write {
            Write::Put { key, .. } | Write::Delete { key } => check(key, LONGEST_KEY)?,
            Write::Append { log, .. } if log.contains('/') => {
                return Err(StoreError::Unfit(format!("the log's name `{log}` has a slash")));
            }
            Write::Append { log, .. } => check(log, LONGEST_KEY - LOG_DIGITS - 1)?,
        }
    }
    Ok(())
}

/// The stream of a watch, from a receiver that was subscribed when `watch` was called.
fn watched(receiver: broadcast::Receiver<Arc<StoreChange>>) -> BoxStream<'static, Watched> {
    unfold(receiver, |mut receiver| async move {
        let next = match receiver.recv().await {
            Ok(change) => Watched::Change(change),
            Err(RecvError::Lagged(_)) => Watched::Missed,
            Err(RecvError::Closed) => return None,
        };
        Some((next, receiver))
    })
    .boxed()
}
