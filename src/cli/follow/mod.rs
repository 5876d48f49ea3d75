//! Follows one deployment to its end: read first, then follow, bound to its id.

mod verdict;
mod view;

use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::client::{Feed, News, documents};
use super::console::Tone;
use super::exit::{CliError, Exit};
use super::model::{Deployment, read};
use super::session::Session;
use super::text::span;
pub(super) use verdict::{conclude, explain, last_word};
use view::Seen;
pub(super) use view::bar;

/// What became of following a deployment.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) exit: Exit,
    /// As it was last seen; none when nothing was ever heard.
    pub(super) deployment: Option<Deployment>,
    /// The same, as it came.
    pub(super) value: Value,
    /// The rollback that answered its failure.
    pub(super) back: Option<Deployment>,
    /// How long it was followed.
    pub(super) waited: Duration,
}

/// Follows a deployment until it has ended, the time is up, or a person stops it.
pub(super) async fn follow(session: &Session<'_>, id: &str, until: Instant) -> Result<Outcome, CliError> {
    let began = Instant::now();
    let mut main = feed(session, id);
    let mut back: Option<Feed> = None;
    let mut screen = Screen::new(session);
    let (mut seen, mut value) = (Seen::default(), Value::Null);
    let mut interrupt = pin!(session.interrupt.wait());
    let mut deadline = pin!(tokio::time::sleep_until(until));
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let exit = loop {
        tokio::select! {
            news = main.next() => match news {
                Ok(News::Data(mut data)) => {
                    value = data.get_mut("deployment").map(Value::take).unwrap_or_default();
                    let deployment: Deployment = read(&value)?;
                    let (ended, answer) = (deployment.ended(), deployment.rolled_back_by.clone());
                    seen.deployment = Some(deployment);
                    seen.lost = None;
                    if let Some(answer) = answer.filter(|_| back.is_none()) {
                        back = Some(feed(session, &answer));
                    }
                    screen.show(&seen);
                    if let Some(exit) = ended {
                        break exit;
                    }
                }
                Ok(News::Lost(why)) => screen.mark(&mut seen, Some(why)),
                Ok(News::Back) => screen.mark(&mut seen, None),
                Err(error) => {
                    screen.leave();
                    return Err(error.or_next(format!("see `skep get deployment {id}`")));
                }
            },
            // The rollback is shown beside; what came of it is told by the deployment itself.
            Ok(News::Data(data)) = news_of(&mut back) => {
                seen.back = data.get("deployment").and_then(|back| read(back).ok());
                screen.show(&seen);
            }
            _ = tick.tick() => screen.again(&seen),
            () = &mut interrupt => break Exit::Interrupted,
            () = &mut deadline => break Exit::TimedOut,
        }
    };
    screen.leave();
    let mut back = seen.back;
    if let Some(answer) = seen.deployment.as_ref().and_then(|it| it.rolled_back_by.as_ref())
        && matches!(exit, Exit::RolledBack | Exit::Failed)
        && back.as_ref().is_none_or(|back| back.ended().is_none())
    {
        let found = session.ask(documents::DEPLOYMENT, json!({ "id": answer })).await?;
        back = found.get("deployment").filter(|it| !it.is_null()).map(read).transpose()?;
    }
    Ok(Outcome { exit, deployment: seen.deployment, value, back, waited: began.elapsed() })
}

fn feed(session: &Session<'_>, id: &str) -> Feed {
    session.client.follow("deploymentChanged", documents::FOLLOW_DEPLOYMENT, json!({ "id": id }))
}

async fn news_of(feed: &mut Option<Feed>) -> Result<News, CliError> {
    match feed {
        Some(feed) => feed.next().await,
        None => std::future::pending().await,
    }
}

/// Draws over what it drew before or, where that cannot be, tells each change.
struct Screen<'a> {
    session: &'a Session<'a>,
    began: Instant,
    drawn: usize,
    told: Seen,
}

impl<'a> Screen<'a> {
    fn new(session: &'a Session<'a>) -> Self {
        Self { session, began: Instant::now(), drawn: 0, told: Seen::default() }
    }

    fn show(&mut self, seen: &Seen) {
        if self.session.console.live {
            return self.draw(seen);
        }
        for line in view::changes(&self.told, seen) {
            self.tell(&line);
        }
        self.told = seen.clone();
    }

    /// Time has passed.
    fn again(&mut self, seen: &Seen) {
        if self.session.console.live {
            self.draw(seen);
        }
    }

    /// The connection came or went.
    fn mark(&mut self, seen: &mut Seen, lost: Option<String>) {
        if !self.session.console.live {
            match &lost {
                Some(why) => self.tell(&format!("connection lost ({why}); trying again")),
                None => self.tell("connected again"),
            }
        }
        seen.lost = lost;
        self.again(seen);
    }

    fn tell(&self, line: &str) {
        let console = self.session.console;
        let time = console.err_paint.tone(Tone::Faint, &format!("{:>6}", span(self.began.elapsed())));
        console.note(&format!("{time}  {line}"));
    }

    fn draw(&mut self, seen: &Seen) {
        let console = self.session.console;
        let lines = view::lines(seen, Timestamp::now(), console.screen(), console.err_paint);
        let mut text = self.rewind();
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        console.draw(&text);
    }

    /// Goes to where the drawing began, and clears from there.
    fn rewind(&self) -> String {
        match self.drawn {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A\r\x1b[J"),
        }
    }

    /// What was drawn makes room for the verdict.
    fn leave(&mut self) {
        if self.drawn > 0 {
            self.session.console.draw(&self.rewind());
            self.drawn = 0;
        }
    }
}
