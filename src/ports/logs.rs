//! Logs: what Skep did, and what services wrote, line by line.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{DeploymentId, StackKey};

/// Whose log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogOf {
    /// Of one deployment: from when it was recorded until the next one of its stack went to work.
    Deployment(DeploymentId),
    /// Of a stack: from when its newest deployment was recorded; of a rollback, from that of the one it answers.
    Stack(StackKey),
}

/// Which lines of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Go on with what is written from now on. The log of a deployment ends with the deployment, that of a stack when the
    /// stack is gone.
    pub follow: bool,
    /// Of what was written before, at most so many lines of each service: the newest.
    pub tail: u32,
    /// Nothing from before this time.
    pub since: Option<Timestamp>,
    /// Only what this service wrote, by its name in the compose file.
    pub service: Option<String>,
}

/// Where a line comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LogSource {
    /// Skep: a step, a phase, a failure; or a word about the log itself.
    Skep,
    /// A task of a service.
    Service {
        /// The service's name in the compose file.
        service: String,
        /// Engine id of the task, if the engine told it.
        task: Option<String>,
        /// Its slot, of a replicated service.
        slot: Option<u64>,
        /// Host name of its node.
        node: Option<String>,
    },
}

/// What it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as every process has them")]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// One line, masked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written, by the clock of the node it was written on.
    pub time: Timestamp,
    /// By whom.
    pub source: LogSource,
    /// To what.
    pub stream: LogStream,
    /// The line, without its end.
    pub text: String,
}

/// As raw text: `TIME WHO: TEXT`.
impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9} {}: {}", self.time, self.source, self.text)
    }
}

/// `skep`, or `SERVICE.SLOT@NODE` as far as it is known.
impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Service { service, slot, node, .. } = self else { return f.write_str("skep") };
        f.write_str(service)?;
        if let Some(slot) = slot {
            write!(f, ".{slot}")?;
        }
        match node {
            Some(node) => write!(f, "@{node}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_as_raw_text_says_when_who_and_what() {
        let service = |slot, node: Option<&str>| LogSource::Service {
            service: "web".into(),
            task: Some("t".into()),
            slot,
            node: node.map(str::to_owned),
        };
        for (source, shown) in [
            (LogSource::Skep, "skep"),
            (service(Some(2), Some("node-1")), "web.2@node-1"),
            (service(None, Some("node-1")), "web@node-1"),
            (service(None, None), "web"),
        ] {
            let time = "2026-01-31T12:00:00.5Z".parse().unwrap();
            let line = LogLine { time, source, stream: LogStream::Stdout, text: "it: works".into() };
            assert_eq!(line.to_string(), format!("2026-01-31T12:00:00.500000000Z {shown}: it: works"));
        }
    }
}
