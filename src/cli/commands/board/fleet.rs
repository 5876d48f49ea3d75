//! All stacks: the worst first, found by words, one of them pointed at. What changes moves the lines, and not what is
//! pointed at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::screen::Key;
use crate::cli::commands::watch::stack_key;
use crate::cli::exit::CliError;
use crate::cli::model::{Stack, read, read_all};

/// Phases, the worst first.
const WORST_FIRST: [&str; 9] =
    ["Failed", "RollingBack", "RolledBack", "Degraded", "Unknown", "Progressing", "Pending", "Suspended", "Converged"];

/// How bad a phase is. A word of a newer server is not hidden at the end.
pub(super) fn rank(phase: &str) -> usize {
    WORST_FIRST.iter().position(|known| *known == phase).unwrap_or(0)
}

/// What a key leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// The screen is drawn anew.
    Draw,
    /// A stack is opened.
    Open {
        /// Its environment.
        environment: String,
        /// Its name.
        name: String,
    },
    /// The end.
    Leave,
    /// Ctrl-C, or a signal.
    Interrupt,
}

/// A stack, and the revision of the store that it is of.
#[derive(Debug)]
struct Known {
    stack: Stack,
    sequence: u64,
}

/// The list, and where one is in it.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    known: BTreeMap<String, Known>,
    /// Whether anything was heard yet.
    pub(super) heard: bool,
    /// Words that are looked for.
    pub(super) words: String,
    /// The words are being typed.
    pub(super) typing: bool,
    /// The stack that is pointed at.
    at: Option<String>,
    /// The first stack that is shown.
    pub(super) top: usize,
    /// How many were shown.
    pub(super) page: usize,
    /// Since when nothing is heard, and why.
    pub(super) lost: Option<(Timestamp, String)>,
}

impl Fleet {
    /// Takes a message about all stacks in.
    pub(super) fn take(&mut self, mut change: Value) -> Result<(), CliError> {
        let sequence = sequence(&change);
        let mut field = |name: &str| change.get_mut(name).map(Value::take).filter(|it| !it.is_null());
        let (snapshot, stack, deleted) = (field("snapshot"), field("stack"), field("deleted"));
        if let Some(snapshot) = snapshot {
            let all: Vec<Value> = read(&snapshot)?;
            let keys = all.iter().map(stack_key);
            let stacks = read_all(&all)?.into_iter().map(|stack| Known { stack, sequence });
            self.known = keys.zip(stacks).collect();
        }
        if let Some(stack) = stack {
            self.put(&stack, sequence)?;
        }
        if let Some(deleted) = deleted {
            self.known.remove(&stack_key(&deleted));
        }
        self.heard = true;
        Ok(())
    }

    /// Takes in what changed among those that need a person first: also their tasks, while nothing else of them changes.
    pub(super) fn freshen(&mut self, change: &Value) -> Result<(), CliError> {
        let stacks = change.get("stacks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for stack in stacks {
            // Which stacks there are is told by the other feed.
            if self.known.contains_key(&stack_key(stack)) {
                self.put(stack, sequence(change))?;
            }
        }
        Ok(())
    }

    /// Two feeds tell of a stack: what is older is left.
    fn put(&mut self, stack: &Value, sequence: u64) -> Result<(), CliError> {
        let key = stack_key(stack);
        if self.known.get(&key).is_none_or(|known| known.sequence <= sequence) {
            self.known.insert(key, Known { stack: read(stack)?, sequence });
        }
        Ok(())
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Stack> {
        self.known.values().map(|known| &known.stack)
    }

    /// The stacks that are looked for, the worst first.
    pub(super) fn found(&self) -> Vec<(&String, &Stack)> {
        let words: Vec<String> = self.words.split_whitespace().map(str::to_lowercase).collect();
        let fits = |stack: &Stack| {
            let text = format!("{} {} {}", stack.name, stack.environment, stack.phase).to_lowercase();
            words.iter().all(|word| text.contains(word))
        };
        let all = self.known.iter().map(|(key, known)| (key, &known.stack));
        let mut found: Vec<(&String, &Stack)> = all.filter(|(_, stack)| fits(stack)).collect();
        found.sort_by_key(|(_, it)| (rank(&it.phase), it.name.as_str(), it.environment.as_str()));
        found
    }

    /// Which of those that are found is pointed at: the worst, when none was chosen or it is gone.
    pub(super) fn index(&self, found: &[(&String, &Stack)]) -> usize {
        found.iter().position(|(key, _)| Some(*key) == self.at.as_ref()).unwrap_or(0)
    }

    /// Takes a key in.
    pub(super) fn press(&mut self, key: Key) -> Act {
        match key {
            Key::Interrupt => Act::Interrupt,
            key if self.typing => self.write(key),
            Key::Char('/') => {
                self.typing = true;
                Act::Draw
            }
            Key::Char('q') => Act::Leave,
            // Back: first to all stacks, then to the shell.
            Key::Esc if self.words.is_empty() => Act::Leave,
            Key::Esc => {
                self.words.clear();
                Act::Draw
            }
            Key::Enter => self.open(),
            key => self.step(key.walks()),
        }
    }

    /// A key while words are typed.
    fn write(&mut self, key: Key) -> Act {
        match key {
            Key::Char(letter) => self.words.push(letter),
            Key::Backspace => drop(self.words.pop()),
            Key::Enter => self.typing = false,
            Key::Esc => (self.typing, self.words) = (false, String::new()),
            key => return self.step(key),
        }
        Act::Draw
    }

    fn open(&mut self) -> Act {
        let found = self.found();
        let Some((key, stack)) = found.get(self.index(&found)) else { return Act::Draw };
        let act = Act::Open { environment: stack.environment.clone(), name: stack.name.clone() };
        self.at = Some((*key).clone());
        act
    }

    /// Moves what is pointed at.
    fn step(&mut self, key: Key) -> Act {
        let found = self.found();
        let (at, last, page) = (self.index(&found), found.len().saturating_sub(1), self.page.max(1));
        let to = match key {
            Key::Up => at.saturating_sub(1),
            Key::Down => at + 1,
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown => at + page,
            Key::Home => 0,
            Key::End => last,
            _ => return Act::Draw,
        };
        self.at = found.get(to.min(last)).map(|(key, _)| (*key).clone());
        Act::Draw
    }
}

fn sequence(change: &Value) -> u64 {
    change.get("sequence").and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::tests::sample::stack_json;

    /// So many converged stacks and one that failed.
    fn fleet(count: usize) -> Fleet {
        let mut all: Vec<Value> = (1..=count).map(|n| stack_json(&format!("s{n:02}"), "Converged")).collect();
        all.push(stack_json("shop", "Failed"));
        let mut fleet = Fleet { page: 4, ..Fleet::default() };
        fleet.take(json!({ "sequence": 5, "snapshot": all, "stack": null, "deleted": null })).unwrap();
        fleet
    }

    /// The name of the stack that is pointed at.
    fn pointed(fleet: &Fleet) -> String {
        let found = fleet.found();
        found[fleet.index(&found)].1.name.clone()
    }

    fn press(fleet: &mut Fleet, keys: &str) {
        for letter in keys.chars() {
            assert_eq!(fleet.press(Key::Char(letter)), Act::Draw, "{letter}");
        }
    }

    #[test]
    fn the_worst_comes_first_and_every_stack_can_be_reached() {
        let mut it = fleet(20);
        assert_eq!(pointed(&it), "shop");
        for (key, at) in [
            (Key::Char('j'), "s01"),
            (Key::Down, "s02"),
            (Key::Char('k'), "s01"),
            (Key::PageDown, "s05"),
            (Key::PageUp, "s01"),
            (Key::End, "s20"),
            (Key::Down, "s20"),
            (Key::Home, "shop"),
            (Key::Up, "shop"),
            (Key::Char('G'), "s20"),
            (Key::Char('g'), "shop"),
            (Key::Resized, "shop"),
        ] {
            assert_eq!(it.press(key), Act::Draw);
            assert_eq!(pointed(&it), at, "{key:?}");
        }
    }

    #[test]
    fn what_is_found_is_what_was_typed_and_esc_leads_back() {
        let mut it = fleet(20);
        press(&mut it, "/S1xq");
        it.press(Key::Backspace);
        it.press(Key::Backspace);
        assert_eq!((it.words.as_str(), it.found().len()), ("S1", 10));
        it.press(Key::Enter);
        let open = Act::Open { environment: "default".into(), name: "s10".into() };
        assert_eq!(it.press(Key::Enter), open);
        assert_eq!(it.press(Key::Esc), Act::Draw);
        assert_eq!((it.found().len(), pointed(&it)), (21, "s10".to_owned()), "what was pointed at stays");
        assert_eq!(it.press(Key::Esc), Act::Leave);
        assert_eq!(it.press(Key::Char('q')), Act::Leave);
        assert_eq!(it.press(Key::Interrupt), Act::Interrupt);
        press(&mut it, "/nothing is called that");
        it.press(Key::Enter);
        assert_eq!(it.press(Key::Enter), Act::Draw, "nothing is there to be opened");
        assert_eq!(it.press(Key::Down), Act::Draw);
    }

    #[test]
    fn what_changes_does_not_move_what_is_pointed_at() {
        let mut it = fleet(3);
        it.press(Key::End);
        assert_eq!(pointed(&it), "s03");
        let stack = stack_json("s02", "Degraded");
        it.take(json!({ "sequence": 6, "snapshot": null, "stack": stack, "deleted": null })).unwrap();
        let gone = |name: &str| json!({ "snapshot": null, "stack": null, "deleted": { "name": name, "environment": "default" } });
        it.take(gone("s01")).unwrap();
        assert_eq!(pointed(&it), "s03");
        it.take(gone("s03")).unwrap();
        assert_eq!(pointed(&it), "shop", "it is gone: the worst is pointed at");
    }

    #[test]
    fn of_two_feeds_the_newer_word_counts() {
        let mut it = fleet(1);
        let says = |sequence: u64, phase: &str| json!({ "sequence": sequence, "stacks": [stack_json("shop", phase), stack_json("new", phase)] });
        it.freshen(&says(4, "Pending")).unwrap();
        assert_eq!(it.found()[0].1.phase, "Failed", "that was before");
        it.freshen(&says(7, "Converged")).unwrap();
        let stack = stack_json("shop", "Progressing");
        it.take(json!({ "sequence": 6, "snapshot": null, "stack": stack, "deleted": null })).unwrap();
        let phases: Vec<_> = it.all().map(|it| (it.name.as_str(), it.phase.as_str())).collect();
        assert_eq!(phases, [("s01", "Converged"), ("shop", "Converged")]);
    }

    #[test]
    fn a_word_of_a_newer_server_is_not_hidden_at_the_end() {
        assert!(rank("SomethingNew") <= rank("Converged"));
    }
}
