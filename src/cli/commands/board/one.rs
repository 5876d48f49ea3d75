//! One stack, as `watch` follows it: how it stands, the deployment that was worked on last, the log, and its tasks.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::page;
use super::screen::{Key, Screen};
use super::{AGES, FRAME};
use crate::cli::client::{Feed, News, documents};
use crate::cli::exit::CliError;
use crate::cli::model::{Deployment, Event, Stack, Task, read, read_all};
use crate::cli::session::Session;

/// How often tasks are asked for while something moves.
const MOVING: Duration = Duration::from_secs(1);
/// An engine that does not answer holds nothing up: what was known of tasks stays.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many lines of the log come first, and are kept at most.
const LOG: (usize, usize) = (100, 400);

/// How a stack was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// By q or Esc.
    Back,
    /// By Ctrl-C or a signal.
    Interrupted,
    /// It is not there (any more).
    Gone {
        /// Whether it ever was.
        seen: bool,
    },
}

/// What is known of a stack.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) stack: Option<Stack>,
    /// The deployment that was worked on last.
    pub(super) deployment: Option<Deployment>,
    /// The one whose failure that one answers.
    pub(super) failed: Option<Deployment>,
    /// The log of the stack, the oldest first.
    pub(super) events: Vec<Event>,
    pub(super) tasks: Vec<Task>,
    /// Since when nothing is heard, and why.
    pub(super) lost: Option<(Timestamp, String)>,
}

/// The feeds beside that of the stack itself. What they bring is left out when they end.
struct Beside {
    /// The deployment that was worked on last, and its feed: none once it has ended.
    deployment: Option<(String, Feed)>,
    log: Feed,
}

impl Beside {
    /// The next message of either.
    async fn next(&mut self) -> Result<News, CliError> {
        let Self { deployment, log } = self;
        let deployment = async {
            match deployment {
                Some((_, feed)) => feed.next().await,
                None => std::future::pending().await,
            }
        };
        // Whichever was refused says nothing more.
        tokio::select! { news = deployment => news, news = log.next() => news }
    }

    /// Follows the deployment that is worked on now; one that has ended, only until it is read.
    fn turn_to(&mut self, session: &Session<'_>, seen: &Seen) {
        let Some(id) = seen.attempt() else { return };
        if self.deployment.as_ref().is_none_or(|(followed, _)| followed != id) {
            let feed = session.client.follow("deploymentChanged", documents::FOLLOW_DEPLOYMENT, json!({ "id": id }));
            self.deployment = Some((id.to_owned(), feed));
        }
    }

    /// A deployment that has ended changes no more.
    fn rest(&mut self, seen: &Seen) {
        let ended = seen.deployment.as_ref().filter(|it| it.ended().is_some()).map(|it| &it.id);
        self.deployment.take_if(|(followed, _)| ended == Some(&*followed));
    }
}

impl Seen {
    /// Takes in what the stack's own feed says; false when the stack is not there.
    fn take(&mut self, mut change: Value) -> Result<bool, CliError> {
        let stack = change.get_mut("stack").map(Value::take).unwrap_or_default();
        self.lost = None;
        if stack.is_null() {
            return Ok(false);
        }
        self.stack = Some(read(&stack)?);
        Ok(true)
    }

    /// Takes in what the others say.
    fn add(&mut self, change: &Value) -> Result<(), CliError> {
        if let Some(deployment) = change.get("deployment").filter(|it| !it.is_null()) {
            self.deployment = Some(read(deployment)?);
        }
        if let Some(event) = change.get("event").filter(|it| !it.is_null()) {
            self.events.push(read(event)?);
            let excess = self.events.len().saturating_sub(LOG.1);
            self.events.drain(..excess);
        }
        Ok(())
    }

    /// The id of the deployment to follow.
    fn attempt(&self) -> Option<&str> {
        self.stack.as_ref()?.attempt.as_ref().map(|it| it.deployment_id.as_str())
    }

    /// Takes in what was asked for. What could not be asked stays as it was.
    fn found(&mut self, (tasks, failed): (Option<Vec<Task>>, Option<Deployment>)) {
        self.tasks = tasks.unwrap_or_else(|| std::mem::take(&mut self.tasks));
        self.failed = failed.or(self.failed.take());
    }

    /// The id of the deployment whose failure is answered, when it was not read yet or has not ended.
    fn unread(&self) -> Option<String> {
        let answers = self.deployment.as_ref()?.rollback_of.as_ref()?;
        let read = self.failed.as_ref().is_some_and(|it| it.id == *answers && it.ended().is_some());
        (!read).then(|| answers.clone())
    }

    fn rests(&self) -> bool {
        self.stack.as_ref().is_some_and(|it| it.phase == "Converged")
    }
}

/// Where a key leads.
fn walk(key: Key, top: usize, page: usize) -> Result<usize, Left> {
    match key.walks() {
        Key::Interrupt => Err(Left::Interrupted),
        Key::Esc | Key::Char('q') => Err(Left::Back),
        Key::Up => Ok(top.saturating_sub(1)),
        Key::Down => Ok(top.saturating_add(1)),
        Key::PageUp => Ok(top.saturating_sub(page)),
        Key::PageDown => Ok(top.saturating_add(page)),
        Key::Home => Ok(0),
        Key::End => Ok(usize::MAX),
        _ => Ok(top),
    }
}

/// Follows one stack of an environment on the screen until it is left.
pub(super) async fn follow(
    session: &Session<'_>,
    screen: &mut Screen,
    (environment, name): (&str, &str),
) -> Result<Left, CliError> {
    let of = json!({ "name": name, "environment": environment });
    let mut feed = session.client.follow("stackChanged", documents::BOARD_STACK, of);
    let log = json!({ "environment": environment, "stack": name, "last": LOG.0 });
    let log = session.client.follow("eventAdded", documents::FOLLOW_EVENTS, log);
    let mut beside = Beside { deployment: None, log };
    let mut seen = Seen::default();
    let mut asking = pin!(Fuse::terminated());
    let mut interrupt = pin!(session.interrupt.wait());
    let (mut ask_at, mut draw_at, mut top) = (Instant::now(), Instant::now(), 0_usize);
    loop {
        tokio::select! {
            news = feed.next() => {
                match news? {
                    News::Data(change) => {
                        let known = seen.stack.is_some();
                        if !seen.take(change)? {
                            return Ok(Left::Gone { seen: known });
                        }
                        beside.turn_to(session, &seen);
                        ask_at = ask_at.min(Instant::now() + FRAME);
                    }
                    News::Lost(why) => seen.lost = Some((Timestamp::now(), why)),
                    News::Back => seen.lost = None,
                }
                draw_at = draw_at.min(Instant::now() + FRAME);
                continue;
            }
            news = beside.next() => {
                if let Ok(News::Data(change)) = news {
                    seen.add(&change)?;
                    beside.rest(&seen);
                    draw_at = draw_at.min(Instant::now() + FRAME);
                }
                continue;
            }
            found = &mut asking => {
                seen.found(found);
                ask_at = Instant::now() + if seen.rests() { AGES } else { MOVING };
                draw_at = draw_at.min(Instant::now() + FRAME);
                continue;
            }
            () = tokio::time::sleep_until(ask_at), if asking.is_terminated() => {
                asking.set(ask(session, environment, name, seen.unread()).fuse());
                continue;
            }
            key = screen.key() => match walk(key, top, screen.size().1.saturating_sub(page::AROUND).max(1)) {
                Ok(to) => top = to,
                Err(left) => return Ok(left),
            },
            () = tokio::time::sleep_until(draw_at) => {}
            () = &mut interrupt => return Ok(Left::Interrupted),
        }
        draw_at = Instant::now() + if seen.rests() { AGES } else { MOVING };
        screen.draw(page::lines(&seen, &mut top, screen.size(), Timestamp::now(), session.console.paint))?;
    }
}

/// The tasks as the engine has them, and a deployment. `None`: what cannot be asked for now.
async fn ask(
    session: &Session<'_>,
    environment: &str,
    name: &str,
    failed: Option<String>,
) -> (Option<Vec<Task>>, Option<Deployment>) {
    let tasks = asked(session, documents::TASKS, json!({ "stack": name, "environment": environment }), "tasks").await;
    let tasks = tasks.and_then(|found| read_all(found.as_array()?).ok());
    let Some(id) = failed else { return (tasks, None) };
    let found = asked(session, documents::DEPLOYMENT, json!({ "id": id }), "deployment").await;
    (tasks, found.and_then(|found| read(&found).ok()))
}

/// A field of an answer that does not take long.
async fn asked(session: &Session<'_>, document: &str, variables: Value, field: &str) -> Option<Value> {
    let mut found = timeout(PATIENCE, session.ask(document, variables)).await.ok()?.ok()?;
    found.get_mut(field).map(Value::take).filter(|it| !it.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::sample;

    #[test]
    fn keys_lead_up_and_down_and_back() {
        for (key, to) in [
            (Key::Char('j'), Ok(11)),
            (Key::Up, Ok(9)),
            (Key::PageDown, Ok(14)),
            (Key::PageUp, Ok(6)),
            (Key::Char('g'), Ok(0)),
            (Key::End, Ok(usize::MAX)),
            (Key::Resized, Ok(10)),
            (Key::Char('q'), Err(Left::Back)),
            (Key::Esc, Err(Left::Back)),
            (Key::Interrupt, Err(Left::Interrupted)),
        ] {
            assert_eq!(walk(key, 10, 4), to, "{key:?}");
        }
        assert_eq!(walk(Key::Down, usize::MAX, 4), Ok(usize::MAX));
    }

    #[test]
    fn the_failure_that_is_answered_is_read_until_it_has_ended() {
        let mut seen = Seen::default();
        assert_eq!(seen.unread(), None);
        let mut back = sample::deployment("Applying");
        (back.id, back.rollback_of) = ("01back".to_owned(), Some("01dep".to_owned()));
        seen.deployment = Some(back);
        for (phase, unread) in [("RollingBack", Some("01dep".to_owned())), ("RolledBack", None)] {
            seen.found((None, Some(sample::deployment(phase))));
            assert_eq!(seen.unread(), unread, "{phase}");
        }
        seen.found((Some(Vec::new()), None));
        assert!(seen.failed.is_some(), "what could not be asked stays");
    }

    #[test]
    fn the_log_is_kept_for_a_while() {
        let mut seen = Seen::default();
        for n in 0..LOG.1 + 5 {
            let event = json!({
                "time": "2026-01-31T12:00:00Z", "environment": "default", "stack": "shop", "deploymentId": null,
                "type": "PhaseChanged", "reason": "Applying", "message": n.to_string(), "actor": "skep",
            });
            seen.add(&json!({ "sequence": n, "event": event })).unwrap();
        }
        assert_eq!((seen.events.len(), seen.events[0].message.as_str()), (LOG.1, "5"));
    }
}
