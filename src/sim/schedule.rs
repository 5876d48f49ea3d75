//! What happens in a simulation, as data: made from a seed alone, before anything runs.

use super::draft::{Draft, Flaw, Hook, Part};
use super::gate::At;
use crate::swarm::sim::CallKind;

/// The most acts of a schedule.
const LONGEST: usize = 28;

/// One whole schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The seed it was made from; the world's own dice go by it as well.
    pub seed: u64,
    /// The stacks, by number.
    pub stacks: Vec<Place>,
    /// Nodes of the first environment.
    pub nodes: usize,
    /// What happens, in order.
    pub acts: Vec<Timed>,
}

/// Where a stack is, and where its files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its environment: 0 or 1.
    pub environment: usize,
    /// Its files are in a repository, which is followed; otherwise in its manifest.
    pub git: bool,
}

/// Something that happens, and the time after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// Its number in the schedule as it was made; stays when others are left out.
    pub number: usize,
    /// What happens.
    pub act: Act,
    /// Milliseconds until the next.
    pub wait: u64,
}

/// Something that happens. Stacks, environments and nodes are numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A new version of the files: pushed, or applied as a manifest.
    Version(usize, Draft),
    /// `deploy` with an image.
    Image(usize, &'static str, &'static str),
    /// Another word of a person.
    Say(usize, Word),
    /// The newest request once more, under the same idempotency key.
    Again,
    /// A new version is declared, and Skep dies before or after it is written; the asker tries again under the same key.
    Torn(usize, Draft, bool),
    /// Something is wrong with an engine.
    Engine(usize, Trouble),
    /// The repositories cannot be reached, hang, or are well again.
    Git(Way),
    /// The disk is full, or has room again.
    Disk(bool),
    /// Somebody else's hand on the Swarm of a stack.
    Hand(usize, Hand),
    /// A node of an environment.
    Node(usize, usize, Fate),
    /// Another Skep takes a Swarm over, or lets it go.
    Claim(usize, bool),
    /// Skep dies, and the next one dies there, if it gets there.
    Crash(Option<At>),
}

/// A person's words, without those that name a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the use-cases are called")]
pub enum Word {
    Rollback,
    /// A rollback whose pin ends by itself.
    RollbackFor(u32),
    Unpin,
    Release,
    Suspend,
    /// A suspension that ends by itself.
    SuspendFor(u32),
    Resume,
    Cancel,
    Reconcile,
    Delete,
    DeleteKeeping,
    /// The manifest once more, with the version there is: what was deleted is declared anew.
    Declare,
}

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the simulated Swarm calls them")]
pub enum Trouble {
    Down(bool),
    Hang(bool),
    NoQuorum(bool),
    NotAManager(bool),
    BreakEvents,
    DropEvents(u64),
    DoubleEvents(u64),
    /// The next calls of this kind fail in the engine.
    Fail(CallKind),
    /// The next call of this kind does not get there.
    Timeout(CallKind),
    /// The next call of this kind takes effect, and its answer is lost.
    LoseAnswer(CallKind),
    /// The next call of this kind is a conflict.
    Conflict(CallKind),
    /// For so many seconds, reads show how things stand now.
    Stale(u32),
}

/// How to reach the repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "self-evident")]
pub enum Way {
    Well,
    Down,
    Hangs,
}

/// Somebody else's hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "self-evident")]
pub enum Hand {
    Remove(&'static str),
    Label(&'static str),
    ImageOf(&'static str),
    Scale(&'static str),
    /// Swarm's own `rollback`.
    Back(&'static str),
    /// Removes a service and makes one of the same name that is somebody else's.
    Squat(&'static str),
    /// Removes the squatter.
    Leave(&'static str),
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "self-evident")]
pub enum Fate {
    Down,
    Up,
    Drain,
    Activate,
}

const WRITES: [CallKind; 6] = [
    CallKind::CreateNetwork,
    CallKind::CreateConfig,
    CallKind::CreateSecret,
    CallKind::CreateService,
    CallKind::UpdateService,
    CallKind::Remove,
];
const READS: [CallKind; 5] = [CallKind::Info, CallKind::List, CallKind::Inspect, CallKind::Tasks, CallKind::Events];

impl Schedule {
    /// The schedule of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice(fastrand::Rng::with_seed(seed ^ 0x5eed));
        let many = [1, 1, 1, 2, 2, 3, 4];
        let count = many[dice.0.usize(..many.len())];
        let stacks: Vec<Place> = (0..count)
            .map(|number| Place {
                environment: usize::from(number == 2),
                git: (number + usize::from(dice.one_in(3))) % 2 == 0,
            })
            .collect();
        let nodes = dice.0.usize(1..4);
        let length = dice.0.usize(4..=LONGEST);
        // Most schedules are about a few kinds of trouble, so that they go together.
        let focus = dice.0.u32(..8);
        let acts = (0..length).map(|number| {
            let act = dice.act(&stacks, nodes, focus);
            let wait = [5, 300, 4_000, 15_000, 30_000, 90_000][dice.0.usize(..6)];
            Timed { number, act, wait: dice.0.u64(..wait) }
        });
        let acts = acts.collect();
        Self { seed, stacks, nodes, acts }
    }

    /// The same with only these acts, by their numbers.
    #[must_use]
    pub fn only(&self, numbers: &[usize]) -> Self {
        let acts = self.acts.iter().filter(|timed| numbers.contains(&timed.number)).cloned().collect();
        Self { acts, ..self.clone() }
    }

    /// The numbers of its acts.
    #[must_use]
    pub fn numbers(&self) -> Vec<usize> {
        self.acts.iter().map(|timed| timed.number).collect()
    }
}

/// Where chance is read from.
struct Dice(fastrand::Rng);

impl Dice {
    fn one_in(&mut self, many: u32) -> bool {
        self.0.u32(..many) == 0
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())]
    }

    fn act(&mut self, stacks: &[Place], nodes: usize, focus: u32) -> Act {
        let stack = self.0.usize(..stacks.len());
        let environment = stacks[stack].environment;
        // Half of all acts are of the usual kinds, half of what the schedule is about.
        let kind = if self.0.bool() { self.0.u32(..24) } else { [0, 4, 9, 12, 16, 19, 21, 23][focus as usize] };
        match kind {
            0..=3 => Act::Version(stack, self.draft()),
            4..=6 => Act::Say(stack, self.word()),
            7 => Act::Image(stack, self.any(&["web", "worker"]), self.any(&["app:5", "app:6", "sick:1", "exit:1"])),
            8 => Act::Again,
            9..=10 => Act::Hand(stack, self.hand()),
            11 if self.0.bool() => Act::Torn(stack, self.draft(), self.0.bool()),
            11 => Act::Disk(self.0.bool()),
            12..=15 => Act::Engine(environment, self.trouble()),
            16..=17 => Act::Node(environment, self.0.usize(..nodes), self.fate()),
            18 => Act::Claim(environment, self.0.bool()),
            19..=20 => Act::Git(self.any(&[Way::Well, Way::Down, Way::Hangs])),
            _ => Act::Crash(self.at()),
        }
    }

    fn draft(&mut self) -> Draft {
        let mut draft = Draft { setting: self.one_in(4).then_some(0), ..Draft::default() };
        if draft.setting.is_none() {
            draft.setting = Some(self.0.u64(..4));
        } else if self.0.bool() {
            draft.setting = None;
        }
        draft.secret = !self.one_in(3);
        let good = ["app:1", "app:2", "app:3", "app:4", "slow:1"];
        let bad = [
            "missing:1",
            "exit:1",
            "exit:0",
            "sick:1",
            "sick:0",
            "late:1",
            "oom:1",
            "hang:1",
            "reject:1",
            "start:1",
            "leak:1",
        ];
        for name in ["web", "worker", "cron", "mail"] {
            let there = match name {
                "web" => !self.one_in(12),
                "worker" => !self.one_in(3),
                _ => self.one_in(3),
            };
            if !there {
                continue;
            }
            let image = if self.one_in(6) { self.any(&bad) } else { self.any(&good) };
            let mut part = Part::of(image, self.0.u64(1..4));
            part.start_first = self.one_in(3);
            part.nowhere = self.one_in(16);
            if name == "mail" && self.0.bool() {
                part.job = true;
                part.image = self.any(&["done:1", "done:1", "exit:1"]).to_owned();
            }
            draft.services.insert(name.to_owned(), part);
        }
        self.hooks_and_waits(&mut draft);
        if self.one_in(14) {
            draft.services.clear();
            draft.waits.clear();
        }
        draft.flaw = match self.0.u32(..20) {
            0 => Flaw::Key,
            1 => Flaw::Network,
            _ => Flaw::None,
        };
        draft
    }

    /// Jobs in every third version, and services that wait for others.
    fn hooks_and_waits(&mut self, draft: &mut Draft) {
        for (name, post) in [("migrate", false), ("smoke", true)] {
            if self.one_in(3) {
                let image = self.any(&["done:1", "done:1", "done:1", "exit:0", "exit:1", "hang:1", "app:1", "leak:1"]);
                draft.hooks.insert(name.to_owned(), Hook { image: image.to_owned(), post });
            }
        }
        for (name, on) in [("worker", "web"), ("cron", "worker")] {
            if self.one_in(3) && draft.services.contains_key(name) && draft.services.contains_key(on) {
                draft.waits.insert(name.to_owned(), on.to_owned());
            }
        }
    }

    fn word(&mut self) -> Word {
        let minutes = self.0.u32(1..5);
        self.any(&[
            Word::Rollback,
            Word::RollbackFor(minutes),
            Word::Unpin,
            Word::Release,
            Word::Suspend,
            Word::SuspendFor(minutes),
            Word::Resume,
            Word::Resume,
            Word::Cancel,
            Word::Cancel,
            Word::Reconcile,
            Word::Delete,
            Word::DeleteKeeping,
            Word::Declare,
            Word::Declare,
        ])
    }

    fn hand(&mut self) -> Hand {
        let service = self.any(&["web", "worker", "cron"]);
        self.any(&[
            Hand::Remove(service),
            Hand::Label(service),
            Hand::ImageOf(service),
            Hand::Scale(service),
            Hand::Back(service),
            Hand::Squat(service),
            Hand::Leave(service),
            Hand::Leave(service),
        ])
    }

    fn trouble(&mut self) -> Trouble {
        let on = self.0.bool();
        let write = self.any(&WRITES);
        let read = self.any(&READS);
        let count = self.0.u64(1..5);
        let stale = self.0.u32(1..20);
        self.any(&[
            Trouble::Down(on),
            Trouble::Hang(on),
            Trouble::NoQuorum(on),
            Trouble::NotAManager(on),
            Trouble::BreakEvents,
            Trouble::DropEvents(count),
            Trouble::DoubleEvents(count),
            Trouble::Fail(write),
            Trouble::Fail(read),
            Trouble::Timeout(write),
            Trouble::Timeout(read),
            Trouble::LoseAnswer(write),
            Trouble::LoseAnswer(write),
            Trouble::Conflict(write),
            Trouble::Stale(stale),
        ])
    }

    fn fate(&mut self) -> Fate {
        self.any(&[Fate::Down, Fate::Up, Fate::Drain, Fate::Activate])
    }

    fn at(&mut self) -> Option<At> {
        let n = self.0.u64(1..8);
        self.any(&[
            Some(At::BeforeWrite(n)),
            Some(At::AfterWrite(n)),
            Some(At::BeforeCommit(n)),
            Some(At::AfterCommit(n)),
            None,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_schedule_each_time_and_another_seed_another() {
        assert_eq!(Schedule::of(7), Schedule::of(7));
        assert_ne!(Schedule::of(7).acts, Schedule::of(8).acts);
    }

    #[test]
    fn what_is_left_in_keeps_its_number() {
        let whole = Schedule::of(3);
        let part = whole.only(&[1, 3]);
        assert_eq!(part.numbers(), [1, 3]);
        assert_eq!(part.acts[1], whole.acts[3]);
    }
}
