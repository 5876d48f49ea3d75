//! How things are shown to people. Values in, text out.

mod catalogs;
mod deployments;
mod difference;
mod hooks;
mod keys;
mod notifiers;
mod others;
mod plan;
mod stacks;
mod tasks;

pub(super) use catalogs::{catalog, catalogs};
pub(super) use deployments::{deployment, deployments, history};
pub(super) use difference::{markdown, unified};
pub(super) use hooks::{hook_deliveries, hook_trials, hooks, redelivered};
pub(super) use keys::{credentials, environment, tokens};
pub(super) use notifiers::notifiers;
pub(super) use others::{environments, events};
pub(super) use plan::plan;
pub(super) use stacks::{facts, is_quiet, stack, stacks, versions};
pub(super) use tasks::{tasks, tone as task_tone};

use super::console::{Paint, Tone, clean};

/// Lines of a name and a text each, aligned.
#[derive(Debug, Default)]
pub(super) struct Facts(pub(super) Vec<(String, String)>);

impl Facts {
    fn say(&mut self, name: &str, text: impl Into<String>) {
        self.0.push((name.to_owned(), text.into()));
    }

    fn render(&self, paint: Paint) -> String {
        let most = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in &self.0 {
            let name = paint.tone(Tone::Faint, &format!("{name:most$}"));
            text.push_str(format!("  {name}  {value}").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text from elsewhere, one line for each of its own, without those that are empty.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(clean).filter(|line| !line.is_empty()).collect()
}
