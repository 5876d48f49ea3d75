//! The log of a service: what each of its tasks writes, all at once when it comes to have a container.

use std::collections::{BTreeSet, VecDeque};

use futures_util::stream::{self, StreamExt};

use super::SimSwarm;
use super::fault::{CallKind, unreachable};
use super::port::last;
use super::world::World;
use crate::domain::{ObjectKind, ObjectRef};
use crate::ports::{BoxStream, EngineLog, LogRange, SwarmError};

/// The log of a service.
pub(super) fn of_service(
    swarm: SimSwarm,
    id: String,
    range: LogRange,
) -> BoxStream<'static, Result<EngineLog, SwarmError>> {
    stream::once(async move {
        let mut reading =
            Reading { swarm: swarm.clone(), id, seen: BTreeSet::new(), ready: VecDeque::new(), follow: range.follow };
        let past = swarm.call(CallKind::ServiceLogs, |world| reading.read(world)).await?;
        let tail = range.tail.unwrap_or(u32::MAX);
        let wanted = |line: &EngineLog| line.time.is_none_or(|time| range.since.is_none_or(|since| time >= since));
        reading.ready = past.into_iter().flat_map(|of| last(of, tail)).filter(wanted).collect();
        Ok(reading)
    })
    .flat_map(|begun| match begun {
        Ok(reading) => stream::unfold(Some(reading), Reading::next).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    })
    .boxed()
}

struct Reading {
    swarm: SimSwarm,
    id: String,
    /// Tasks whose lines were read.
    seen: BTreeSet<String>,
    ready: VecDeque<EngineLog>,
    follow: bool,
}

impl Reading {
    /// The lines of each task that has come to have some.
    fn read(&mut self, world: &World) -> Result<Vec<Vec<EngineLog>>, SwarmError> {
        if !world.services.contains_key(&self.id) {
            let object = ObjectRef::new(ObjectKind::Service, &self.id).to_string();
            return Err(SwarmError::NotFound { object, reason: format!("service {} not found", self.id) });
        }
        let ids = world.in_order(|task| task.live.service_id == self.id && !self.seen.contains(&task.live.id));
        let mut found = Vec::new();
        for id in ids {
            let lines = world.tasks.get(&id).map(|task| world.lines_of(&task.live)).unwrap_or_default();
            if !lines.is_empty() {
                self.seen.insert(id);
                found.push(lines);
            }
        }
        Ok(found)
    }

    async fn next(reading: Option<Self>) -> Option<(Result<EngineLog, SwarmError>, Option<Self>)> {
        let mut reading = reading?;
        let swarm = reading.swarm.clone();
        loop {
            if let Some(line) = reading.ready.pop_front() {
                return Some((Ok(line), Some(reading)));
            }
            if !reading.follow {
                return None;
            }
            let changed = swarm.changed.notified();
            let due = {
                let world = swarm.now();
                if world.faults.switches.down {
                    return Some((Err(unreachable(&world.endpoint, "connection reset by peer")), None));
                }
                // The log of a service that is gone ends.
                let found = reading.read(&world).ok()?;
                reading.ready.extend(found.into_iter().flatten());
                if !reading.ready.is_empty() {
                    continue;
                }
                world.next_due().map(|due| world.clock.instant(due))
            };
            match due {
                Some(due) => drop(tokio::time::timeout_at(due, changed).await),
                None => changed.await,
            }
        }
    }
}
