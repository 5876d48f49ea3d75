//! Every stack in a few words, kept in memory: what lists are filtered, put in order, paged and counted by. A list of two
//! thousand stacks that twenty people look at would otherwise read all records again with each change.
//!
//! It holds nothing that is shown. Which stacks a page has is decided here; what stands in its rows is read afresh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::feed::{Feed, Touched};
use crate::domain::{self, DeploymentId, EnvironmentName, Stack, StackKey, StackPhase, StackStatus};
use crate::ledger::{Ledger, LedgerError};

/// One stack, by what it is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: StackKey,
    pub(super) phase: StackPhase,
    /// When its newest deployment was recorded, or else when its spec last changed.
    since: Timestamp,
    /// What a search looks through, in small letters.
    text: String,
    attempt: Option<DeploymentId>,
    /// The store's revision at which something about it last changed, as far as it was noticed.
    pub(super) changed: u64,
}

/// In which order stacks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    /// By environment and name.
    #[default]
    Place,
    /// By name, then environment.
    Name,
    /// Those that need a person first.
    Worst,
    /// Those with the newest deployment first.
    Newest,
}

/// Which stacks are wanted. What is not said fits all.
#[derive(Debug, Clone, Default)]
pub(super) struct StackFilter {
    pub(super) environment: Option<EnvironmentName>,
    /// Empty: any.
    pub(super) phases: Vec<StackPhase>,
    /// Words that all have to be found somewhere: in its name, environment, ref, commit, images, or who deployed it last.
    pub(super) text: String,
    /// A part of its name, as it is written.
    pub(super) name: Option<String>,
}

impl StackFilter {
    /// Whether a stack is wanted, its phase aside.
    fn takes(&self, line: &Line, words: &[String]) -> bool {
        self.environment.as_ref().is_none_or(|name| line.key.environment == *name)
            && self.name.as_ref().is_none_or(|name| line.key.name.as_str().contains(name.as_str()))
            && words.iter().all(|word| line.text.contains(word.as_str()))
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// With the first.
    Start,
    /// Behind this place.
    After(String),
    /// So that it ends before this place.
    Before(String),
}

/// One page of a list, and what else is said of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The stacks, each with its place in the order.
    pub(super) lines: Vec<(String, Arc<Line>)>,
    /// How many come before this page.
    pub(super) before: usize,
    /// How many come after it.
    pub(super) after: usize,
    /// How many there are of each phase, the phases that are asked for aside.
    pub(super) phases: BTreeMap<u8, (StackPhase, u64)>,
    /// The environments of all stacks, wanted or not.
    pub(super) environments: BTreeSet<EnvironmentName>,
}

/// How bad a phase is: the smaller, the worse.
fn rank(phase: StackPhase) -> u8 {
    match phase {
        StackPhase::Failed => 0,
        StackPhase::RollingBack => 1,
        StackPhase::RolledBack => 2,
        StackPhase::Degraded => 3,
        StackPhase::Unknown => 4,
        StackPhase::Progressing => 5,
        StackPhase::Pending => 6,
        StackPhase::Suspended => 7,
        StackPhase::Converged => 8,
    }
}

impl Line {
    fn new(stack: &Stack, status: &StackStatus, actor: Option<(&str, Timestamp)>, changed: u64) -> Self {
        let mut text = format!("{} {}", stack.key.name, stack.key.environment);
        let mut say = |word: &str| {
            text.push(' ');
            text.push_str(word);
        };
        if let domain::Source::Git(git) = &stack.spec.source {
            say(&git.wanted.0);
        }
        for pointer in status.desired.iter().chain(&status.live) {
            pointer.revision.iter().for_each(|revision| say(&revision.0));
            pointer.images.iter().for_each(|image| {
                say(&image.service);
                say(&image.image);
            });
        }
        actor.iter().for_each(|(name, _)| say(name));
        Self {
            key: stack.key.clone(),
            phase: domain::phase(stack, status),
            since: actor.map_or(stack.updated_at, |(_, since)| since),
            text: text.to_lowercase(),
            attempt: status.attempt.as_ref().map(|attempt| attempt.id.clone()),
            changed,
        }
    }

    /// Its place in an order, as text that sorts as the order does.
    fn place(&self, order: Order) -> String {
        let (name, environment) = (&self.key.name, &self.key.environment);
        match order {
            Order::Place => self.key.to_string(),
            Order::Name => format!("{name} {environment}"),
            Order::Worst => format!("{} {name} {environment}", rank(self.phase)),
            Order::Newest => {
                // Times are far from the ends of the range: the later, the smaller.
                format!("{:020} {name} {environment}", i64::MAX.saturating_sub(self.since.as_millisecond()))
            }
        }
    }
}

/// The page of these lines that begins there.
pub(super) fn page<'l>(
    lines: impl Iterator<Item = &'l Arc<Line>>,
    filter: &StackFilter,
    order: Order,
    from: &From,
    size: usize,
) -> Page {
    let words: Vec<String> = filter.text.split_whitespace().map(str::to_lowercase).collect();
    let mut phases: BTreeMap<u8, (StackPhase, u64)> = BTreeMap::new();
    let mut environments: BTreeSet<EnvironmentName> = BTreeSet::new();
    let mut fitting = Vec::new();
    for line in lines {
        if !environments.contains(&line.key.environment) {
            environments.insert(line.key.environment.clone());
        }
        if !filter.takes(line, &words) {
            continue;
        }
        phases.entry(rank(line.phase)).or_insert((line.phase, 0)).1 += 1;
        if filter.phases.is_empty() || filter.phases.contains(&line.phase) {
            fitting.push((line.place(order), Arc::clone(line)));
        }
    }
    fitting.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let start = match from {
        From::Start => 0,
        From::After(place) => fitting.partition_point(|(known, _)| known <= place),
        From::Before(place) => fitting.partition_point(|(known, _)| known < place).saturating_sub(size),
    };
    let end = (start + size).min(fitting.len());
    let after = fitting.len() - end;
    Page { lines: fitting.drain(start..end).collect(), before: start, after, phases, environments }
}

/// All lines, as of a revision.
#[derive(Default)]
struct Known {
    revision: Option<u64>,
    lines: BTreeMap<StackKey, Arc<Line>>,
}

/// The lines of all stacks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Roster {
    ledger: Ledger,
    feed: Feed,
    known: Arc<Mutex<Known>>,
}

impl Roster {
    pub(super) fn new(ledger: Ledger, feed: Feed) -> Self {
        Self { ledger, feed, known: Arc::default() }
    }

    /// Every stack, and the revision this is of. All that was committed before the call is in it.
    pub(super) async fn lines(&self) -> Result<(u64, Vec<Arc<Line>>), LedgerError> {
        self.feed.reach(self.ledger.revision()).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.revision.and_then(|revision| self.feed.since(revision)) {
            Some(touched) => self.take(&mut known, &touched)?,
            None => *known = self.all()?,
        }
        Ok((known.revision.unwrap_or_default(), known.lines.values().cloned().collect()))
    }

    /// Reads everything.
    fn all(&self) -> Result<Known, LedgerError> {
        let revision = self.ledger.revision();
        let mut lines = BTreeMap::new();
        let mut statuses: BTreeMap<StackKey, StackStatus> = self.ledger.statuses()?.into_iter().collect();
        for stack in self.ledger.stacks(None)? {
            let status = statuses.remove(&stack.value.key).unwrap_or_default();
            lines.insert(stack.value.key.clone(), self.line(&stack.value, &status, revision)?);
        }
        Ok(Known { revision: Some(revision), lines })
    }

    /// Reads again what changed.
    fn take(&self, known: &mut Known, touched: &Touched) -> Result<(), LedgerError> {
        let worked_on = known
            .lines
            .values()
            .filter(|line| line.attempt.as_ref().is_some_and(|attempt| touched.deployments.contains(attempt)));
        let keys: Vec<StackKey> = match touched.deployments.is_empty() {
            true => touched.stacks.iter().cloned().collect(),
            false => touched.stacks.iter().cloned().chain(worked_on.map(|line| line.key.clone())).collect(),
        };
        for key in keys {
            match self.ledger.stack(&key)? {
                Some(stack) => {
                    let status = self.ledger.status(&key)?.map(|status| status.value).unwrap_or_default();
                    let line = self.line(&stack.value, &status, touched.revision)?;
                    known.lines.insert(key, line);
                }
                None => {
                    known.lines.remove(&key);
                }
            }
        }
        known.revision = Some(touched.revision);
        Ok(())
    }

    fn line(&self, stack: &Stack, status: &StackStatus, revision: u64) -> Result<Arc<Line>, LedgerError> {
        let attempt = match &status.attempt {
            Some(attempt) => self.ledger.deployment(&attempt.id)?,
            None => None,
        };
        let actor = attempt.as_ref().map(|it| (it.value.origin.actor.name.as_str(), it.value.created_at));
        Ok(Arc::new(Line::new(stack, status, actor, revision)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::StackName;

    fn line(place: &str, phase: StackPhase, since: i64, text: &str) -> Arc<Line> {
        let (environment, name) = place.split_once('/').unwrap();
        let key = StackKey {
            environment: EnvironmentName::parse(environment).unwrap(),
            name: StackName::parse(name).unwrap(),
        };
        let since = Timestamp::from_millisecond(since).unwrap();
        Arc::new(Line { key, phase, since, text: format!("{name} {environment} {text}"), attempt: None, changed: 1 })
    }

    fn fleet() -> Vec<Arc<Line>> {
        vec![
            line("prod/blog", StackPhase::Converged, 5, "web:1 ada"),
            line("prod/shop", StackPhase::Failed, 3, "web:2 ada"),
            line("test/shop", StackPhase::Converged, 9, "web:2 ci"),
            line("test/wiki", StackPhase::RolledBack, 1, "wiki:7 ci"),
        ]
    }

    fn names(page: &Page) -> Vec<String> {
        page.lines.iter().map(|(_, line)| line.key.to_string()).collect()
    }

    fn ask(filter: &StackFilter, order: Order, from: From, size: usize) -> Page {
        page(fleet().iter(), filter, order, &from, size)
    }

    #[test]
    fn each_order_is_one() {
        let all = |order| names(&ask(&StackFilter::default(), order, From::Start, 10));
        assert_eq!(all(Order::Place), ["prod/blog", "prod/shop", "test/shop", "test/wiki"]);
        assert_eq!(all(Order::Name), ["prod/blog", "prod/shop", "test/shop", "test/wiki"]);
        assert_eq!(all(Order::Worst), ["prod/shop", "test/wiki", "prod/blog", "test/shop"]);
        assert_eq!(all(Order::Newest), ["test/shop", "prod/blog", "prod/shop", "test/wiki"]);
    }

    #[test]
    fn every_word_has_to_be_found_and_counts_leave_the_phase_aside() {
        let found = |text: &str, phases: &[StackPhase]| {
            let filter = StackFilter { text: text.into(), phases: phases.into(), ..StackFilter::default() };
            ask(&filter, Order::Place, From::Start, 10)
        };
        assert_eq!(names(&found("SHOP", &[])), ["prod/shop", "test/shop"]);
        assert_eq!(names(&found("shop  ada", &[])), ["prod/shop"]);
        assert_eq!(names(&found("shop nobody", &[])), Vec::<String>::new());
        let failed = found("shop", &[StackPhase::Failed]);
        assert_eq!(names(&failed), ["prod/shop"]);
        let counts: Vec<_> = failed.phases.values().copied().collect();
        assert_eq!(counts, [(StackPhase::Failed, 1), (StackPhase::Converged, 1)]);
    }

    #[test]
    fn pages_meet_forwards_and_backwards() {
        for order in [Order::Place, Order::Name, Order::Worst, Order::Newest] {
            let all = names(&ask(&StackFilter::default(), order, From::Start, 10));
            let first = ask(&StackFilter::default(), order, From::Start, 2);
            assert_eq!((first.before, first.after), (0, 2));
            let second = ask(&StackFilter::default(), order, From::After(first.lines[1].0.clone()), 2);
            assert_eq!((second.before, second.after), (2, 0));
            assert_eq!([names(&first), names(&second)].concat(), all);
            let back = ask(&StackFilter::default(), order, From::Before(second.lines[0].0.clone()), 2);
            assert_eq!(back, first);
        }
    }

    #[test]
    fn a_page_goes_on_where_it_was_when_the_stack_before_it_is_gone() {
        let gone = line("prod/mail", StackPhase::Converged, 2, "").place(Order::Place);
        let next = ask(&StackFilter::default(), Order::Place, From::After(gone), 1);
        assert_eq!(names(&next), ["prod/shop"]);
    }
}
