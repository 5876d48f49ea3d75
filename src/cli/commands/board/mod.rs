//! `watch`: a screen of its own that is drawn anew as things change, and keys to move in it. Where there is no terminal it
//! is `get -w`.

mod fleet;
mod ink;
mod list;
mod one;
mod page;
mod screen;
mod steps;

use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::fleet::{Act, Fleet};
use self::one::Left;
use self::screen::Screen;
use super::{get, watch};
use crate::cli::client::{Feed, News, documents};
use crate::cli::exit::{CliError, Exit};
use crate::cli::session::Session;

/// How often ages are drawn anew.
const AGES: Duration = Duration::from_secs(5);
/// And changes at most: whatever comes within this time is drawn as one.
const FRAME: Duration = Duration::from_millis(100);

/// All stacks; each can be opened.
pub(super) async fn fleet(session: &Session<'_>) -> Result<Exit, CliError> {
    let Some(mut screen) = Screen::open(session) else { return watch::stacks(session).await };
    let of = json!({ "environment": session.environment });
    let mut feed = session.client.follow("stacksChanged", documents::BOARD, of.clone());
    // Tasks come and go without a change of the stack: that is told of those that need a person first.
    let mut worst = Some(session.client.follow("stackPageChanged", documents::BOARD_WORST, of));
    let mut fleet = Fleet::default();
    let mut draw_at = Instant::now();
    // Also where whoever started it ignores the signal, which is inherited.
    let mut interrupt = pin!(session.interrupt.wait());
    loop {
        let act = tokio::select! {
            news = feed.next() => {
                match news? {
                    News::Data(change) => {
                        fleet.take(change)?;
                        fleet.lost = None;
                    }
                    News::Lost(why) => fleet.lost = Some((Timestamp::now(), why)),
                    News::Back => fleet.lost = None,
                }
                draw_at = draw_at.min(Instant::now() + FRAME);
                continue;
            }
            change = next_of(&mut worst) => {
                fleet.freshen(&change)?;
                draw_at = draw_at.min(Instant::now() + FRAME);
                continue;
            }
            key = screen.key() => fleet.press(key),
            () = tokio::time::sleep_until(draw_at) => Act::Draw,
            () = &mut interrupt => Act::Interrupt,
        };
        match act {
            Act::Draw => {}
            Act::Leave => return Ok(Exit::Done),
            Act::Interrupt => return Ok(Exit::Interrupted),
            Act::Open { environment, name } => match one::follow(session, &mut screen, (&environment, &name)).await? {
                Left::Back | Left::Gone { .. } => {}
                Left::Interrupted => return Ok(Exit::Interrupted),
            },
        }
        draw_at = Instant::now() + AGES;
        screen.draw(list::lines(&mut fleet, screen.size(), Timestamp::now(), session.console.paint))?;
    }
}

/// The next message of a feed that can be done without: it is dropped when it is refused.
async fn next_of(feed: &mut Option<Feed>) -> Value {
    loop {
        let Some(open) = feed else { return std::future::pending().await };
        match open.next().await {
            Ok(News::Data(change)) => return change,
            Ok(News::Lost(_) | News::Back) => {}
            Err(_) => *feed = None,
        }
    }
}

/// One stack, with its services and tasks.
pub(super) async fn stack(session: &Session<'_>, name: &str) -> Result<Exit, CliError> {
    let Some(mut screen) = Screen::open(session) else { return watch::stack(session, name).await };
    let left = one::follow(session, &mut screen, (session.environment(), name)).await;
    drop(screen);
    match left? {
        Left::Back => Ok(Exit::Done),
        Left::Interrupted => Ok(Exit::Interrupted),
        Left::Gone { seen } => get::gone(session, name, seen),
    }
}
