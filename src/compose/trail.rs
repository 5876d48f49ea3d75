//! Where a value stands. Nearly every path that reading could name is never told: none is put together before it is.

use std::rc::Rc;

/// The steps that lead to a value, from the outermost; a copy shares them.
#[derive(Clone)]
pub(super) struct Trail<'a>(Rc<Step<'a>>);

enum Step<'a> {
    Start(String),
    Key(Trail<'a>, &'a str),
    Item(Trail<'a>, usize),
}

impl<'a> Trail<'a> {
    /// Begins at a path.
    pub(super) fn from(path: String) -> Self {
        Self(Rc::new(Step::Start(path)))
    }

    /// One key further.
    pub(super) fn key(&self, key: &'a str) -> Self {
        Self(Rc::new(Step::Key(self.clone(), key)))
    }

    /// One item of a list further, counted from 0.
    pub(super) fn item(&self, index: usize) -> Self {
        Self(Rc::new(Step::Item(self.clone(), index)))
    }

    /// The dotted path.
    pub(super) fn path(&self) -> String {
        let mut walk = Walk::default();
        self.write(&mut walk);
        walk.0
    }

    fn write(&self, walk: &mut Walk) {
        match &*self.0 {
            Step::Start(path) => walk.0.push_str(path),
            Step::Key(before, key) => {
                before.write(walk);
                walk.key(key);
            }
            Step::Item(before, index) => {
                before.write(walk);
                walk.item(*index);
            }
        }
    }
}

/// The dotted path of a walk through a tree, in one text that grows and shrinks.
#[derive(Default)]
pub(super) struct Walk(String);

impl Walk {
    /// The path here; empty at the top.
    pub(super) fn path(&self) -> &str {
        &self.0
    }

    /// One key further; gives what [`Walk::back`] needs.
    pub(super) fn key(&mut self, key: &str) -> usize {
        let before = self.0.len();
        if before > 0 {
            self.0.push('.');
        }
        self.0.push_str(key);
        before
    }

    /// One item of a list further, counted from 0; gives what [`Walk::back`] needs.
    pub(super) fn item(&mut self, index: usize) -> usize {
        let before = self.0.len();
        self.0.push('[');
        self.0.push_str(&index.to_string());
        self.0.push(']');
        before
    }

    /// Back to where a step began.
    pub(super) fn back(&mut self, before: usize) {
        self.0.truncate(before);
    }
}
