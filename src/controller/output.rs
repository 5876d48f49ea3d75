//! The output of a deployment that fails, kept before the engine forgets the tasks that wrote it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;

use super::logs::{Names, Writer, shown};
use super::pass::{Pass, PassError};
use super::rendition::Rendition;
use crate::domain::{Deployment, Failure, Masker, Sealed};
use crate::ports::{EngineLog, LogLine, LogRange, LogStream};

/// It is worth no more time than this.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most text that is kept of a deployment, in bytes; the newest.
const MOST: usize = 64 * 1024;
/// Lines that are asked for, of each task.
const LINES: u32 = 500;
/// Services that are read, when the failure names none.
const SERVICES: usize = 3;
/// It is kept for so many deployments of a stack, the newest.
const KEPT: usize = 10;

impl Pass<'_> {
    /// What the tasks of this deployment wrote last, of the service that failed or of those that do not run; none when
    /// nothing is there to be had.
    pub(super) async fn output(
        &self,
        deployment: &Deployment,
        failure: &Failure,
        rendition: &Rendition,
    ) -> Option<Sealed> {
        let progress = deployment.progress.as_ref()?;
        let named = failure.service.iter().cloned();
        let unwell = deployment.services.iter().filter(|service| service.healthy < service.wanted);
        let unwell = unwell.map(|service| service.service.clone()).filter(|_| failure.service.is_none());
        let masker = rendition.masker();
        let (mut lines, mut names) = (Vec::new(), Names::default());
        let read = async {
            for name in named.chain(unwell).take(SERVICES) {
                let full = format!("{}_{name}", self.key().name);
                let Some(id) = self.environment.snapshot().services.get(&full).map(|live| live.id.clone()) else {
                    continue;
                };
                let writer = Writer { name, id };
                names.learn(&self.environment, std::slice::from_ref(&writer)).await;
                let range = LogRange { since: Some(progress.started_at), tail: Some(LINES), follow: false };
                let mut log = self.environment.swarm.service_log(&writer.id, &range);
                let nobodys = BTreeSet::new();
                let before = progress.services.get(&full).map_or(&nobodys, |service| &service.baseline);
                while let Some(Ok(line)) = log.next().await {
                    // What tasks of an older version write is not this deployment's.
                    if line.task.as_ref().is_none_or(|task| !before.contains(task)) {
                        lines.push((writer.clone(), line));
                    }
                }
            }
        };
        // What has come by then is better than nothing.
        let _in_time = tokio::time::timeout(PATIENCE, read).await;
        let lines = self.lines(lines, &names, &masker);
        if lines.is_empty() {
            return None;
        }
        let sealed = serde_json::to_vec(&lines).ok().and_then(|text| self.shared.renderer.sealer().seal(&text).ok());
        if sealed.is_none() {
            tracing::warn!(deployment = %deployment.id, "the output of a failed deployment cannot be sealed");
        }
        sealed
    }

    /// The newest lines that there is room for, masked, in the order of time.
    fn lines(&self, mut found: Vec<(Writer, EngineLog)>, names: &Names, masker: &Masker) -> VecDeque<LogLine> {
        found.sort_by_key(|(_, line)| line.time);
        let (mut kept, mut bytes) = (VecDeque::new(), 0);
        for (writer, line) in found.into_iter().rev() {
            let text = shown(masker, &line.line, line.cut);
            bytes += text.len();
            if bytes > MOST {
                break;
            }
            kept.push_front(LogLine {
                time: line.time.unwrap_or(self.now),
                source: names.known(&self.environment, &writer, &line),
                stream: if line.stderr { LogStream::Stderr } else { LogStream::Stdout },
                text,
            });
        }
        kept
    }

    /// Has it written with what else this pass finds; of older ones some are forgotten.
    pub(super) fn keep_output(&mut self, deployment: &Deployment, output: Option<Sealed>) -> Result<(), PassError> {
        let Some(sealed) = output else { return Ok(()) };
        let mut older = self.shared.ledger.outputs(self.key())?;
        older.retain(|id| *id != deployment.id);
        let surplus = (older.len() + 1).saturating_sub(KEPT);
        self.outputs.extend(older.into_iter().take(surplus).map(|id| (id, None)));
        self.outputs.push((deployment.id.clone(), Some(sealed)));
        Ok(())
    }
}
