//! What is there already: the story, and the last lines of each service, in the order of time.

use std::collections::{HashMap, HashSet, VecDeque};

use futures_util::StreamExt;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::super::environment::Observed;
use super::mask::Masks;
use super::names::Names;
use super::scene::{Scene, Writer};
use super::{failed, left_out, shown, story, word};
use crate::domain::Masker;
use crate::ports::{EngineLog, InquiryError, LogLine, LogRange, LogSource, LogStream, SwarmError};

/// The most text of one service, in bytes; the newest stays.
const MOST_OF_SERVICE: usize = 1 << 20;
/// The most text altogether, in bytes; the newest stays.
const MOST: usize = 4 << 20;

/// When the tasks of a service wrote last, as far as it was seen. None is for a task that the engine did not name.
pub(super) type Seen = HashMap<Option<String>, Timestamp>;

/// What a follower goes on with.
pub(super) struct Rest {
    pub(super) masks: Masks,
    pub(super) names: Names,
    /// By engine id of the service.
    pub(super) seen: HashMap<String, Seen>,
    /// The number of the newest event that was looked at.
    pub(super) story_from: u64,
}

/// The last lines of one service.
struct Found {
    lines: VecDeque<EngineLog>,
    bytes: usize,
    /// Lines that there was no room for.
    missing: u64,
    seen: Seen,
    error: Option<SwarmError>,
}

/// Reads what is there.
pub(super) async fn read(scene: &Scene, tail: u32) -> Result<(Vec<LogLine>, Rest), InquiryError> {
    let (mut lines, story_from) = story::past(scene).map_err(failed)?;
    let mut rest =
        Rest { masks: Masks::of(scene).map_err(failed)?, names: Names::default(), seen: HashMap::new(), story_from };
    let now = scene.shared.ambient.now();
    let masker = rest.masks.masker(scene).clone();
    let mut of_services = Vec::new();
    match (scene.environment(), &rest.masks.unreadable) {
        (_, Some(why)) => lines.push(word(now, format!("what the services wrote is not shown: {why}"))),
        (None, None) => {
            lines.extend(scene.silence().map(|why| word(now, format!("what the services wrote is not here: {why}"))))
        }
        (Some(environment), None) => {
            of_services = services(scene, &environment, tail, &masker, &mut rest, &mut lines).await?;
        }
    }
    let kept = kept(scene, tail, &of_services);
    of_services.extend(kept);
    if tail > 0 {
        of_services.extend(evidence(scene, &of_services, &lines));
    }
    lines.extend(of_services);
    lines.sort_by_key(|line| line.time);
    Ok((within(lines), rest))
}

/// What the services wrote. What there is to say of the log itself goes to `words`.
async fn services(
    scene: &Scene,
    environment: &Observed,
    tail: u32,
    masker: &Masker,
    rest: &mut Rest,
    words: &mut Vec<LogLine>,
) -> Result<Vec<LogLine>, InquiryError> {
    let (writers, more) = scene.writers().map_err(failed)?;
    let now = scene.shared.ambient.now();
    if more > 0 {
        words.push(word(now, format!("{more} more services are not read; name the one you want")));
    }
    rest.names.learn(environment, &writers).await;
    let found = join_all(writers.iter().map(|writer| last_lines(scene, environment, writer, tail))).await;
    let mut lines = Vec::new();
    for (writer, found) in writers.iter().zip(found) {
        if let Some(error) = &found.error {
            words.push(word(now, format!("what `{}` wrote cannot be read: {error}", writer.name)));
        }
        let first = found.lines.front().and_then(|line| line.time).unwrap_or(now);
        if found.missing > 0 {
            lines.push(left_out(first, found.missing));
        }
        lines.extend(found.lines.iter().map(|line| LogLine {
            time: line.time.unwrap_or(first),
            source: rest.names.known(environment, writer, line),
            stream: if line.stderr { LogStream::Stderr } else { LogStream::Stdout },
            text: shown(masker, &line.line, line.cut),
        }));
        rest.seen.insert(writer.id.clone(), found.seen);
    }
    Ok(lines)
}

async fn last_lines(scene: &Scene, environment: &Observed, writer: &Writer, tail: u32) -> Found {
    // What came after the end may be more than the tail.
    let asked = if scene.until.is_some() { None } else { Some(tail.max(1)) };
    let range = LogRange { since: Some(scene.since), tail: asked, follow: false };
    let mut stream = environment.swarm.service_log(&writer.id, &range);
    let mut found = Found { lines: VecDeque::new(), bytes: 0, missing: 0, seen: Seen::new(), error: None };
    while let Some(line) = stream.next().await {
        match line {
            Ok(line) => found.take(scene, line),
            // Nothing has run yet, or the service has just gone.
            Err(SwarmError::NotFound { .. }) => {}
            Err(error) => found.error = Some(error),
        }
    }
    found.lines.make_contiguous().sort_by_key(|line| line.time);
    let spare = found.lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
    found.lines.drain(..spare);
    if spare > 0 {
        // Lines from before the tail are not asked for: only a gap in it is worth a word.
        found.missing = 0;
    }
    found
}

impl Found {
    fn take(&mut self, scene: &Scene, line: EngineLog) {
        if let Some(time) = line.time {
            let last = self.seen.entry(line.task.clone()).or_insert(time);
            *last = time.max(*last);
        }
        if !scene.takes(line.time) {
            return;
        }
        self.bytes += line.line.len();
        self.lines.push_back(line);
        while self.bytes > MOST_OF_SERVICE {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |oldest| oldest.line.len());
            self.missing += 1;
        }
    }
}

/// What was kept of a deployment that ended, of the tasks that the engine has nothing of any more: of each service as much as
/// is missing of the lines that are wanted.
fn kept(scene: &Scene, tail: u32, there: &[LogLine]) -> Vec<LogLine> {
    let Some(deployment) = &scene.deployment else { return Vec::new() };
    let shared = &scene.shared;
    let sealed = shared.ledger.output(&scene.key, &deployment.id).unwrap_or_default();
    let clear = sealed.and_then(|sealed| shared.renderer.sealer().open(&sealed).ok());
    let lines = clear.and_then(|clear| serde_json::from_slice::<Vec<LogLine>>(clear.expose()).ok());
    let known: HashSet<&Option<String>> = there.iter().map(|line| wrote(line).1).collect();
    let wanted = |line: &LogLine| {
        let (service, task) = wrote(line);
        scene.takes(Some(line.time))
            && !known.contains(task)
            && scene.service.as_deref().is_none_or(|wanted| service == Some(wanted))
    };
    let mut count: HashMap<Option<&str>, u32> = HashMap::new();
    for line in there {
        *count.entry(wrote(line).0).or_default() += 1;
    }
    let lines = lines.unwrap_or_default();
    let mut newest = Vec::new();
    for line in lines.iter().rev().filter(|line| wanted(line)) {
        let count = count.entry(wrote(line).0).or_default();
        if *count < tail {
            *count += 1;
            newest.push(line.clone());
        }
    }
    newest.reverse();
    newest
}

/// Which service and task wrote a line.
fn wrote(line: &LogLine) -> (Option<&str>, &Option<String>) {
    match &line.source {
        LogSource::Skep => (None, &None),
        LogSource::Service { service, task, .. } => (Some(service), task),
    }
}

/// The last lines of the task that failed, when the engine does not have them any more.
fn evidence(scene: &Scene, there: &[LogLine], story: &[LogLine]) -> Vec<LogLine> {
    let failure = scene.deployment.as_ref().and_then(|deployment| deployment.failure.as_ref());
    let Some((failure, service)) = failure.and_then(|failure| Some((failure, failure.service.clone()?))) else {
        return Vec::new();
    };
    let known = there.iter().any(|line| *wrote(line).1 == failure.task);
    if known || scene.service.as_ref().is_some_and(|wanted| *wanted != service) {
        return Vec::new();
    }
    let told = story.iter().rev().find(|line| line.text.starts_with("Failed")).or(story.last());
    let Some(time) = told.map(|line| line.time) else { return Vec::new() };
    let source =
        LogSource::Service { service, task: failure.task.clone(), slot: failure.slot, node: failure.node.clone() };
    let line = |text: &String| LogLine { time, source: source.clone(), stream: LogStream::Stdout, text: text.clone() };
    failure.log_tail.iter().map(line).collect()
}

/// The newest lines that there is room for.
fn within(mut lines: Vec<LogLine>) -> Vec<LogLine> {
    let mut bytes = 0;
    let fitting = lines.iter().rev().take_while(|line| {
        bytes += line.text.len();
        bytes <= MOST
    });
    let spare = lines.len() - fitting.count();
    if spare > 0 {
        lines.drain(..spare);
        let first = lines.first().map_or(Timestamp::UNIX_EPOCH, |line| line.time);
        lines.insert(0, left_out(first, u64::try_from(spare).unwrap_or(u64::MAX)));
    }
    lines
}
