//! Which slot and node a task is, for people.

use std::collections::HashMap;
use std::time::Duration;

use super::super::environment::Observed;
use super::scene::Writer;
use crate::domain::Task;
use crate::ports::{EngineLog, LogSource, TaskFilter};

/// Asking for tasks may hold a log up for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Tasks that are remembered.
const MOST: usize = 10_000;

/// What is known of tasks, by engine id. One that the engine does not tell of is known to be unknown.
#[derive(Default)]
pub(in crate::controller) struct Names(HashMap<String, Option<u64>>);

impl Names {
    /// Asks for the tasks of these services.
    pub(in crate::controller) async fn learn(&mut self, environment: &Observed, writers: &[Writer]) {
        if writers.is_empty() {
            return;
        }
        if self.0.len() > MOST {
            self.0.clear();
        }
        let filter = TaskFilter::Services(writers.iter().map(|writer| writer.id.clone()).collect());
        if let Ok(Ok(tasks)) = tokio::time::timeout(PATIENCE, environment.swarm.tasks(&filter)).await {
            self.0.extend(tasks.iter().map(|task: &std::sync::Arc<Task>| (task.id.clone(), task.slot)));
        }
    }

    /// Who wrote a line.
    pub(super) async fn source(&mut self, environment: &Observed, writer: &Writer, line: &EngineLog) -> LogSource {
        if let Some(task) = &line.task
            && !self.0.contains_key(task)
        {
            self.learn(environment, std::slice::from_ref(writer)).await;
            self.0.entry(task.clone()).or_default();
        }
        self.known(environment, writer, line)
    }

    /// The same, without asking.
    pub(in crate::controller) fn known(&self, environment: &Observed, writer: &Writer, line: &EngineLog) -> LogSource {
        let host = |id: &String| {
            let snapshot = environment.snapshot();
            snapshot.nodes.get(id).map_or_else(|| id.clone(), |node| node.hostname.clone())
        };
        LogSource::Service {
            service: writer.name.clone(),
            slot: line.task.as_ref().and_then(|task| self.0.get(task).copied().flatten()),
            task: line.task.clone(),
            node: line.node.as_ref().filter(|id| !id.is_empty()).map(host),
        }
    }
}
