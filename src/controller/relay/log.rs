//! A log that another Skep keeps, over a link that may break: it is taken up again, without a line twice.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::unfold;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::super::backoff::backoff;
use super::super::logs::word;
use crate::ports::{Ambient, BoxStream, FarError, FarSkep, LogLine, LogOf, LogQuery, LogSource};

/// The clocks of a Swarm's nodes differ by less than this: what is asked for again begins so much before the newest line.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);
/// Lines that are remembered of that time.
const REMEMBERED: usize = 16 * 1024;
/// Errors in a row after which the rests grow no longer: half a minute at most.
const PATIENT: u32 = 6;
/// A stream that was there for so long was no error.
const HELD: Duration = Duration::from_secs(10);

/// How what the log is of stands in the records here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is more to come.
    UnderWay,
    /// Nothing more comes, once all was read.
    Over,
    /// It is not there any more.
    Gone,
    /// Its environment is reached another way by now.
    Elsewhere,
}

/// One log.
pub(super) struct FarLog {
    pub(super) far: Arc<dyn FarSkep>,
    pub(super) ambient: Arc<dyn Ambient>,
    /// By the names of the far Skep.
    pub(super) of: LogOf,
    pub(super) query: LogQuery,
    pub(super) standing: Box<dyn Fn() -> Standing + Send + Sync>,
}

type Lines = BoxStream<'static, Result<LogLine, FarError>>;

struct Reading {
    log: FarLog,
    /// What is read from; none while the link is gone.
    lines: Option<Lines>,
    /// Since when.
    since: Instant,
    seen: Seen,
    /// In a row.
    errors: u32,
    /// Whether the last stream ended by itself.
    whole: bool,
    /// It was said that the link is gone.
    told: bool,
    over: bool,
}

impl FarLog {
    /// All of it, from the lines of a first answer on. A log that is not followed ends where it breaks off, and says so.
    pub(super) fn read(self, lines: Lines) -> BoxStream<'static, LogLine> {
        let reading = Reading {
            seen: Seen::from(self.ambient.now()),
            log: self,
            lines: Some(lines),
            since: Instant::now(),
            errors: 0,
            whole: false,
            told: false,
            over: false,
        };
        unfold(reading, |mut reading| async move { Some((reading.next().await?, reading)) }).boxed()
    }
}

impl Reading {
    async fn next(&mut self) -> Option<LogLine> {
        while !self.over {
            let Some(lines) = &mut self.lines else {
                if let Some(said) = self.again().await {
                    return Some(said);
                }
                continue;
            };
            match lines.next().await {
                Some(Ok(line)) if self.seen.take(&line) => {
                    self.errors = 0;
                    return Some(line);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if self.log.query.follow => {
                    self.leave(false);
                    return Some(self.lost(&error));
                }
                Some(Err(error)) => return Some(self.last(format!("the log breaks off here: {error}"))),
                None if self.log.query.follow => self.leave(true),
                None => self.over = true,
            }
        }
        None
    }

    fn leave(&mut self, whole: bool) {
        (self.lines, self.whole) = (None, whole);
        if self.since.elapsed() >= HELD {
            self.errors = 0;
        }
    }

    /// Waits a moment, and asks for what has come since.
    async fn again(&mut self) -> Option<LogLine> {
        if !self.is_over() {
            self.errors = self.errors.saturating_add(1).min(PATIENT);
            tokio::time::sleep(backoff(self.errors, self.log.ambient.random())).await;
        }
        // The far Skep's last words may have come meanwhile.
        if self.is_over() {
            self.over = true;
            return None;
        }
        if (self.log.standing)() == Standing::Elsewhere {
            return Some(self.last("the log ends here: its environment is reached another way by now".to_owned()));
        }
        match self.log.far.logs(&self.log.of, &self.seen.rest(&self.log.query)).await {
            Ok(lines) => {
                (self.lines, self.since) = (Some(lines), Instant::now());
                std::mem::take(&mut self.told).then(|| self.word("the log goes on".to_owned()))
            }
            Err(error) if error.passes() => (!self.told).then(|| self.lost(&error)),
            Err(FarError::Refused { code, .. }) if code == "NOT_FOUND" => {
                self.over = true;
                None
            }
            Err(error) => Some(self.last(format!("the log ends here: {error}"))),
        }
    }

    fn is_over(&self) -> bool {
        match (self.log.standing)() {
            Standing::Gone => true,
            Standing::Over => self.whole,
            Standing::UnderWay | Standing::Elsewhere => false,
        }
    }

    fn lost(&mut self, error: &FarError) -> LogLine {
        self.told = true;
        self.word(format!("{error}; the log goes on when it does"))
    }

    fn last(&mut self, text: String) -> LogLine {
        self.over = true;
        self.word(text)
    }

    /// A word about the log. Its time is that of the newest line: a reader that is cut off itself asks from the newest time on.
    fn word(&self, text: String) -> LogLine {
        word(self.seen.newest.unwrap_or(self.seen.opened), text)
    }
}

/// The newest lines that have passed, so that none of them passes again.
struct Seen {
    hasher: RandomState,
    /// When it was begun: what was written before has passed, as far as it was wanted.
    opened: Timestamp,
    lines: VecDeque<(Timestamp, u64)>,
    newest: Option<Timestamp>,
    /// The newest of those that there was no room for.
    forgotten: Option<Timestamp>,
    /// What had passed when it was asked again.
    before: HashSet<u64>,
}

impl Seen {
    fn from(opened: Timestamp) -> Self {
        let (lines, before) = (VecDeque::new(), HashSet::new());
        Self { hasher: RandomState::new(), opened, lines, newest: None, forgotten: None, before }
    }

    /// Whether the line has not passed yet.
    fn take(&mut self, line: &LogLine) -> bool {
        // Slot and node may be learnt later.
        let by = match &line.source {
            LogSource::Skep => None,
            LogSource::Service { service, task, .. } => Some((service, task)),
        };
        let hash = self.hasher.hash_one((line.time, by, line.stream, &line.text));
        if self.before.contains(&hash) {
            return false;
        }
        self.newest = self.newest.max(Some(line.time));
        self.lines.push_back((line.time, hash));
        let from = self.newest.and_then(|newest| newest.checked_sub(OVERLAP).ok());
        while self.lines.front().is_some_and(|(time, _)| Some(*time) < from) {
            self.lines.pop_front();
        }
        if self.lines.len() > REMEMBERED {
            self.forgotten = self.forgotten.max(self.lines.pop_front().map(|(time, _)| time));
        }
        true
    }

    /// What is to be asked for now.
    fn rest(&mut self, query: &LogQuery) -> LogQuery {
        self.before = self.lines.iter().map(|(_, hash)| *hash).collect();
        let overlap = self.newest.and_then(|newest| newest.checked_sub(OVERLAP).ok());
        let since = overlap.max(self.forgotten).max(query.since).max(Some(self.opened));
        LogQuery { since, tail: u32::MAX, ..query.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU8, Ordering};

    use futures_util::stream;
    use serde_json::Value;

    use super::*;
    use crate::ports::{BoxFuture, Follow, Greeting, HandOver, HandedOver, LogSource, LogStream, Question, Told};

    type Answer = Result<Vec<Result<LogLine, FarError>>, FarError>;

    /// Answers each call with the next of these, and keeps what it was asked.
    struct Scripted(Mutex<(VecDeque<Answer>, Vec<LogQuery>)>);

    fn gone() -> FarError {
        FarError::Unreachable { url: "https://far".into(), reason: "cut".into() }
    }

    impl FarSkep for Scripted {
        fn greet(&self) -> BoxFuture<'_, Result<Greeting, FarError>> {
            Box::pin(async { Err(gone()) })
        }

        fn hand_over<'a>(&'a self, _: &'a HandOver) -> BoxFuture<'a, Result<HandedOver, FarError>> {
            Box::pin(async { Err(gone()) })
        }

        fn follow<'a>(
            &'a self,
            _: &'a Follow,
        ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Told, FarError>>, FarError>> {
            Box::pin(async { Err(gone()) })
        }

        fn claim<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<(), FarError>> {
            Box::pin(async { Err(gone()) })
        }

        fn ask<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, Result<Value, FarError>> {
            Box::pin(async { Err(gone()) })
        }

        fn logs<'a>(&'a self, _: &'a LogOf, query: &'a LogQuery) -> BoxFuture<'a, Result<Lines, FarError>> {
            let (answers, asked) = &mut *self.0.lock().unwrap();
            asked.push(query.clone());
            let answer = answers.pop_front().expect("one more answer");
            Box::pin(async move { answer.map(|lines| stream::iter(lines).boxed()) })
        }
    }

    struct Clock;

    impl Ambient for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(400).unwrap()
        }

        fn new_id(&self) -> String {
            String::new()
        }

        fn random(&self) -> u64 {
            0
        }
    }

    fn line(second: i64, text: &str) -> Result<LogLine, FarError> {
        let time = Timestamp::from_second(second).unwrap();
        let source = LogSource::Service { service: "web".into(), task: None, slot: None, node: None };
        Ok(LogLine { time, source, stream: LogStream::Stdout, text: text.into() })
    }

    async fn read(follow: bool, answers: Vec<Answer>, standing: &'static AtomicU8) -> (Vec<String>, Vec<LogQuery>) {
        let far = Arc::new(Scripted(Mutex::new((answers.into(), Vec::new()))));
        let of = LogOf::Deployment(crate::domain::DeploymentId("01arz3ndektsv4rrffq69g5fav".into()));
        let query = LogQuery { follow, tail: 5, since: None, service: None };
        let first = far.logs(&of, &query).await.unwrap();
        let standing = Box::new(|| match standing.load(Ordering::SeqCst) {
            0 => Standing::UnderWay,
            1 => Standing::Over,
            _ => Standing::Gone,
        });
        let log = FarLog { far: far.clone(), ambient: Arc::new(Clock), of, query, standing };
        let lines: Vec<String> = log.read(first).map(|line| line.text).collect().await;
        let asked = far.0.lock().unwrap().1.clone();
        (lines, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_followed_log_is_taken_up_again_where_its_link_broke() {
        static ENDED: AtomicU8 = AtomicU8::new(1);
        let answers = vec![
            Ok(vec![line(100, "a"), line(410, "b"), line(405, "of a slow clock"), Err(gone())]),
            Err(gone()),
            Ok(vec![line(405, "of a slow clock"), line(409, "late"), line(410, "b"), line(500, "c"), Err(gone())]),
            Ok(vec![line(500, "c"), line(501, "d"), line(501, "d")]),
        ];
        let (lines, asked) = read(true, answers, &ENDED).await;
        let lost = "the Skep at https://far does not answer: cut; the log goes on when it does";
        let goes_on = "the log goes on";
        let all = ["a", "b", "of a slow clock", lost, goes_on, "late", "c", lost, goes_on, "d", "d"];
        assert_eq!(lines, all);
        // Nothing from before it was begun: of that the reader has what it wanted.
        let since: Vec<_> = asked.iter().map(|query| query.since.map(Timestamp::as_second)).collect();
        assert_eq!(since, [None, Some(400), Some(400), Some(440)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_by_itself_is_over_when_what_it_is_of_is() {
        static ENDS: AtomicU8 = AtomicU8::new(0);
        let not_found =
            || FarError::Refused { url: "https://far".into(), code: "NOT_FOUND".into(), message: "no".into() };
        // A far Skep that is stopped ends its streams too.
        let answers = vec![Ok(vec![line(1, "a")]), Ok(vec![line(1, "a"), line(2, "b")]), Err(not_found())];
        assert_eq!(read(true, answers, &ENDS).await.0, ["a", "b"]);
        ENDS.store(2, Ordering::SeqCst);
        assert_eq!(read(true, vec![Ok(vec![line(1, "a"), Err(gone())])], &ENDS).await.0.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_only_read_says_where_it_breaks_off() {
        static UNDER_WAY: AtomicU8 = AtomicU8::new(0);
        let (lines, asked) = read(false, vec![Ok(vec![line(1, "a"), Err(gone())])], &UNDER_WAY).await;
        assert_eq!(lines, ["a", "the log breaks off here: the Skep at https://far does not answer: cut"]);
        assert_eq!((read(false, vec![Ok(vec![line(1, "a")])], &UNDER_WAY).await.0.len(), asked.len()), (1, 1));
        let unfit = || FarError::Unfit("too new".into());
        let (lines, _) = read(true, vec![Ok(vec![Err(gone())]), Err(unfit())], &UNDER_WAY).await;
        assert_eq!(lines.last().map(String::as_str), Some("the log ends here: too new"));
    }
}
