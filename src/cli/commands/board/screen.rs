//! The terminal while `watch` has it: a screen beside the usual one, keys as they are pressed, and all as it was when it is
//! let go of, also after a panic.

use std::io::{self, IsTerminal, Stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, is_raw_mode_enabled,
};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use ratatui::{Frame, Terminal};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::exit::CliError;
use crate::cli::session::Session;

/// How often the reader of keys looks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(100);

/// A key, as far as it means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// A screenful up.
    PageUp,
    /// A screenful down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// A letter.
    Char(char),
    /// What is pointed at.
    Enter,
    /// Back.
    Esc,
    /// Takes a letter back.
    Backspace,
    /// Ctrl-C.
    Interrupt,
    /// The screen has another size.
    Resized,
}

impl Key {
    fn of(event: &Event) -> Option<Self> {
        let key = match event {
            Event::Resize(..) => return Some(Self::Resized),
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            _ => return None,
        };
        let KeyEvent { code, modifiers, .. } = *key;
        if modifiers.contains(KeyModifiers::CONTROL) {
            return (code == KeyCode::Char('c')).then_some(Self::Interrupt);
        }
        Some(match code {
            KeyCode::Up => Self::Up,
            KeyCode::Down => Self::Down,
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown => Self::PageDown,
            KeyCode::Home => Self::Home,
            KeyCode::End => Self::End,
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Esc,
            KeyCode::Backspace => Self::Backspace,
            KeyCode::Char(letter) => Self::Char(letter),
            _ => return None,
        })
    }

    /// The same where letters move, too.
    pub(super) fn walks(self) -> Self {
        match self {
            Self::Char('j') => Self::Down,
            Self::Char('k') => Self::Up,
            Self::Char('g') => Self::Home,
            Self::Char('G') => Self::End,
            Self::Char(' ') => Self::PageDown,
            key => key,
        }
    }
}

/// The screen. The usual one comes back when it is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    keys: mpsc::UnboundedReceiver<Key>,
    wanted: Arc<AtomicBool>,
    ends: Option<[Signal; 2]>,
}

impl Screen {
    /// Takes the terminal; `None` where there is none to be taken, or results are for machines.
    pub(super) fn open(session: &Session<'_>) -> Option<Self> {
        if !session.console.draws() || !session.output.is_for_people() || !io::stdin().is_terminal() {
            return None;
        }
        // Whether there is colour has been decided: by the flag, the environment and the terminal.
        force_color_output(session.console.paint.0);
        restore_after_a_panic();
        let ends = signal(SignalKind::terminate()).and_then(|end| Ok([end, signal(SignalKind::hangup())?])).ok();
        enable_raw_mode().ok()?;
        let opened = execute!(io::stdout(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        let Ok(terminal) = opened else {
            restore();
            return None;
        };
        let wanted = Arc::new(AtomicBool::new(true));
        let (tell, keys) = mpsc::unbounded_channel();
        let still = Arc::clone(&wanted);
        thread::spawn(move || read_keys(&still, &tell));
        Some(Self { terminal, keys, wanted, ends })
    }

    /// The next key; Ctrl-C, too, when a signal says that it is over. Never, when none can come any more.
    pub(super) async fn key(&mut self) -> Key {
        let Self { keys, ends, .. } = self;
        let over = async {
            match ends {
                Some([end, hangup]) => tokio::select! { _ = end.recv() => {} _ = hangup.recv() => {} },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(key) = keys.recv() => key,
            () = over => Key::Interrupt,
        }
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = self.terminal.size().map(|size| (usize::from(size.width), usize::from(size.height)));
        size.map_or((80, 24), |(columns, lines)| (columns.max(20), lines.max(6)))
    }

    /// Draws these lines in the place of all that stands there.
    pub(super) fn draw(&mut self, lines: Vec<Line<'static>>) -> Result<(), CliError> {
        let drawn = self.terminal.draw(|frame| paint(frame, lines));
        drawn.map(|_| ()).map_err(|_| CliError::reader_gone())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        restore();
    }
}

/// Tells the keys that are pressed for as long as they are wanted.
fn read_keys(wanted: &AtomicBool, tell: &mpsc::UnboundedSender<Key>) {
    while wanted.load(Ordering::Relaxed) {
        let event = match event::poll(GLANCE) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        // A terminal that is gone presses no more keys.
        let Ok(event) = event else { return };
        if let Some(key) = Key::of(&event)
            && tell.send(key).is_err()
        {
            return;
        }
    }
}

fn paint(frame: &mut Frame<'_>, lines: Vec<Line<'static>>) {
    frame.render_widget(Paragraph::new(lines), frame.area());
}

/// The terminal as it was. Whether anyone sees it changes nothing.
fn restore() {
    let _gone = disable_raw_mode();
    let _gone = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// What a panic says is read on the usual screen.
fn restore_after_a_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if is_raw_mode_enabled().unwrap_or(false) {
                restore();
            }
            usual(info);
        }));
    });
}

#[cfg(test)]
pub(super) mod tests {
    use ratatui::backend::TestBackend;

    use super::*;

    /// What stands on a screen of this size after it was drawn, without blanks at the ends of lines.
    pub(in super::super) fn drawn(
        size: (u16, u16),
        lines: impl FnOnce((usize, usize)) -> Vec<Line<'static>>,
    ) -> String {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let lines = lines((size.0.into(), size.1.into()));
        terminal.draw(|frame| paint(frame, lines)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(size.0));
        let text = |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect::<String>();
        rows.map(|row| text(row).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn keys_that_mean_something_are_told_apart() {
        let key = |code, modifiers| Key::of(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('j'), KeyModifiers::NONE), Some(Key::Char('j')));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(key(KeyCode::Char('x'), KeyModifiers::CONTROL), None);
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
        assert_eq!(Key::of(&Event::Resize(80, 24)), Some(Key::Resized));
        assert_eq!((Key::Char('G').walks(), Key::Char('x').walks()), (Key::End, Key::Char('x')));
    }
}
