//! The output of a deployment that ends, kept before the engine forgets the tasks that wrote it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::logs::{Names, Writer, shown};
use super::pass::{Pass, PassError};
use super::rendition::Rendition;
use crate::domain::{Deployment, DeploymentId, DeploymentPhase as Phase, Failure, Masker, Progress, Sealed};
use crate::ports::{EngineLog, LogLine, LogRange, LogStream};

/// It is worth no more time than this when a version failed, and its tasks are about to be removed.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same of one that converged, which is told afterwards, or that a newer one waits behind.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// The most text that is kept of a deployment that failed, in bytes; the newest.
const MOST: usize = 64 * 1024;
/// The same of one that converged, or was left half-way.
const MOST_OF_CONVERGED: usize = 16 * 1024;
/// Lines that are asked for, of each task.
const LINES: u32 = 500;
/// Services that are read of one that failed, when the failure names none.
const SERVICES: usize = 3;
/// Services that are read of one that converged.
const SERVICES_OF_CONVERGED: usize = 16;
/// It is kept for so many deployments of a stack that converged, and for so many that did not: the newest.
const KEPT: usize = 10;

/// What is kept of an output.
struct Extent {
    /// Full names of the services that are read.
    services: Vec<String>,
    /// Bytes of text.
    most: usize,
    /// How long the engine may take.
    patience: Duration,
}

impl Pass<'_> {
    /// What the tasks of this deployment wrote last, of the service that failed or of those that do not run; none when
    /// nothing is there to be had.
    pub(super) async fn output_of_failed(
        &self,
        deployment: &Deployment,
        failure: &Failure,
        rendition: &Rendition,
    ) -> Option<Sealed> {
        let named = failure.service.iter();
        let unwell = deployment.services.iter().filter(|service| service.healthy < service.wanted);
        let unwell = unwell.map(|service| &service.service).filter(|_| failure.service.is_none());
        let full = |name: &String| format!("{}_{name}", self.key().name);
        let services = named.chain(unwell).take(SERVICES).map(full).collect();
        self.output(deployment, rendition, Extent { services, most: MOST, patience: PATIENCE }).await
    }

    /// What the tasks of this deployment have written so far, as much as is kept of one that converged; none when it made no
    /// tasks.
    pub(super) async fn output_so_far(&self, deployment: &Deployment, rendition: &Rendition) -> Option<Sealed> {
        let progress = deployment.progress.as_ref()?;
        let (live, tasks) = (self.environment.snapshot(), self.environment.tasks.newest());
        let made_tasks = |name: &&String| {
            // What was not written yet still makes tasks of the version before.
            if progress.held_back.contains_key(*name) {
                return false;
            }
            let tasks = live.services.get(*name).and_then(|live| tasks.by_service.get(&live.id));
            let before = progress.services.get(*name).map(|service| &service.baseline);
            tasks.is_some_and(|tasks| tasks.iter().any(|task| before.is_none_or(|before| !before.contains(&task.id))))
        };
        let names = rendition.desired.services.keys().filter(made_tasks).take(SERVICES_OF_CONVERGED);
        let services = names.cloned().collect();
        let extent = Extent { services, most: MOST_OF_CONVERGED, patience: SHORT_PATIENCE };
        self.output(deployment, rendition, extent).await
    }

    /// Keeps what the tasks of the deployment wrote that was under way, if it was left half-way in this pass, for a newer one
    /// or because somebody cancelled it: they are about to be replaced.
    pub(super) async fn keep_output_of_left(&mut self, under_way: Option<DeploymentId>) -> Result<(), PassError> {
        let Some(id) = under_way else { return Ok(()) };
        let Some(deployment) = self.deployment(&id)?.cloned() else { return Ok(()) };
        let left = matches!(deployment.phase, Phase::Superseded | Phase::Cancelled);
        if !left || !deployment.progress.as_ref().is_some_and(Progress::has_written) {
            return Ok(());
        }
        let Some(rendition) = self.kept_before_the_first_write(&deployment) else { return Ok(()) };
        let output = self.output_so_far(&deployment, &rendition).await;
        self.keep_output(&deployment, output, false)
    }

    async fn output(&self, deployment: &Deployment, rendition: &Rendition, extent: Extent) -> Option<Sealed> {
        let progress = deployment.progress.as_ref()?;
        let masker = rendition.masker();
        let live = self.environment.snapshot();
        let writer = |full: &String| {
            let name = full.strip_prefix(&format!("{}_", self.key().name)).unwrap_or(full).to_owned();
            Some(Writer { name, id: live.services.get(full)?.id.clone() })
        };
        let (mut writers, mut reads) = (Vec::new(), Vec::new());
        for full in &extent.services {
            let Some(writer) = writer(full) else { continue };
            let before = progress.services.get(full).map(|service| &service.baseline);
            reads.push(self.written(writer.clone(), progress.started_at, before, extent.patience));
            writers.push(writer);
        }
        if writers.is_empty() {
            return None;
        }
        let mut names = Names::default();
        let learnt = tokio::time::timeout(extent.patience, names.learn(&self.environment, &writers));
        let (lines, _in_time) = tokio::join!(join_all(reads), learnt);
        let lines = lines.concat();
        let lines = self.lines(lines, extent.most, &names, &masker);
        if lines.is_empty() {
            return None;
        }
        let sealed = serde_json::to_vec(&lines).ok().and_then(|text| self.shared.renderer.sealer().seal(&text).ok());
        if sealed.is_none() {
            tracing::warn!(
                deployment = %deployment.id,
                trace_id = deployment.trace().trace_id(),
                "the output of a deployment cannot be sealed"
            );
        }
        sealed
    }

    /// What tasks of one service have written since, but for those that were there before: what tasks of an older version
    /// write is not this deployment's. What has come in time is better than nothing.
    async fn written(
        &self,
        writer: Writer,
        since: Timestamp,
        before: Option<&BTreeSet<String>>,
        patience: Duration,
    ) -> Vec<(Writer, EngineLog)> {
        let range = LogRange { since: Some(since), tail: Some(LINES), follow: false };
        let mut log = self.environment.swarm.service_log(&writer.id, &range);
        let mut lines = Vec::new();
        let read = async {
            while let Some(Ok(line)) = log.next().await {
                if line.task.as_ref().is_none_or(|task| before.is_none_or(|before| !before.contains(task))) {
                    lines.push((writer.clone(), line));
                }
            }
        };
        let _in_time = tokio::time::timeout(patience, read).await;
        lines
    }

    /// The newest lines that there is room for, masked, in the order of time.
    fn lines(
        &self,
        mut found: Vec<(Writer, EngineLog)>,
        most: usize,
        names: &Names,
        masker: &Masker,
    ) -> VecDeque<LogLine> {
        found.sort_by_key(|(_, line)| line.time);
        let (mut kept, mut bytes) = (VecDeque::new(), 0);
        for (writer, line) in found.into_iter().rev() {
            let text = shown(masker, &line.line, line.cut);
            bytes += text.len();
            if bytes > most {
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
    pub(super) fn keep_output(
        &mut self,
        deployment: &Deployment,
        output: Option<Sealed>,
        converged: bool,
    ) -> Result<(), PassError> {
        let Some(sealed) = output else { return Ok(()) };
        let mut older = Vec::new();
        for id in self.shared.ledger.outputs(self.key())? {
            let phase = self.shared.ledger.deployment(&id)?.map(|found| found.value.phase);
            if id != deployment.id && phase.is_none_or(|phase| (phase == Phase::Converged) == converged) {
                older.push(id);
            }
        }
        let surplus = (older.len() + 1).saturating_sub(KEPT);
        self.outputs.extend(older.into_iter().take(surplus).map(|id| (id, None)));
        self.outputs.push((deployment.id.clone(), Some(sealed)));
        Ok(())
    }
}
