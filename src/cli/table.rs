//! Aligned columns.

use super::console::{Paint, Tone, clean, cut, width};

/// A piece of text in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn toned(text: &str, tone: Tone) -> Self {
        Self { text: clean(text), tone }
    }

    /// A phase, in its colour.
    pub(super) fn phase(phase: &str) -> Self {
        Self::toned(phase, Tone::of_phase(phase))
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text.as_ref(), Tone::Plain)
    }
}

/// A head and rows, each with as many cells as the head has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, two spaces between columns. When there is a limit, the last column is cut so that lines fit, as far as
    /// that leaves anything of it.
    pub(super) fn render(&self, paint: Paint, limit: Option<usize>) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|text| width(text)).collect();
        for row in &self.rows {
            for (most, cell) in widths.iter_mut().zip(row) {
                *most = (*most).max(width(&cell.text));
            }
        }
        if let (Some(limit), Some((last, others))) = (limit, widths.split_last_mut()) {
            let taken: usize = others.iter().map(|width| width + 2).sum();
            *last = (*last).min(limit.saturating_sub(taken).max(12));
        }
        let head: Vec<Cell> = self.head.iter().map(|text| Cell::toned(text, Tone::Faint)).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let last = row.len().min(widths.len()).saturating_sub(1);
            for (index, (cell, most)) in row.iter().zip(&widths).enumerate() {
                let shown = cut(&cell.text, *most);
                text.push_str(&paint.tone(cell.tone, &shown));
                if index < last {
                    text.push_str(&" ".repeat(most + 2 - width(&shown)));
                }
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["STACK", "PHASE", "MESSAGE"]);
        table.row(["shop".into(), Cell::phase("Converged"), "all well".into()]);
        table.row(["店舗".into(), Cell::phase("Failed"), "service `web` on node-2: it\nended".into()]);
        table.row(["x".into(), Cell::phase("Pending"), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_by_what_they_take_on_screen() {
        let expected = "\
STACK  PHASE      MESSAGE
shop   Converged  all well
店舗   Failed     service `web` on node-2: it ended
x      Pending
";
        assert_eq!(table().render(Paint(false), None), expected);
    }

    #[test]
    fn the_last_column_gives_way() {
        let expected = "\
STACK  PHASE      MESSAGE
shop   Converged  all well
店舗   Failed     service `we…
x      Pending
";
        assert_eq!(table().render(Paint(false), Some(30)), expected);
    }

    #[test]
    fn colour_moves_no_column() {
        let text = table().render(Paint(true), None);
        assert!(text.contains("\x1b[32mConverged\x1b[0m  all well"), "{text:?}");
        assert!(text.contains("\x1b[31mFailed\x1b[0m     service"), "{text:?}");
    }
}
