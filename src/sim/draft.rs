//! Versions of a stack as the schedules make them: data first, and the compose text from it. The text carries the data in a
//! comment, so that whoever judges reads back what was meant without asking the renderer that is under test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::swarm::sim::{Behaviour, SimSwarm};

/// What begins the first line of every text.
const MARK: &str = "# sim ";

/// One version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Draft {
    /// Services by their name in the file.
    pub services: BTreeMap<String, Part>,
    /// The content of a config that every service uses; none without.
    pub setting: Option<u64>,
    /// Every service uses the stack's secret, as a file and in its environment.
    pub secret: bool,
    /// Jobs before and after the deployment.
    #[serde(default)]
    pub hooks: BTreeMap<String, Hook>,
    /// Services that wait until another one is healthy.
    #[serde(default)]
    pub waits: BTreeMap<String, String>,
    /// What is wrong with the file itself.
    pub flaw: Flaw,
}

/// One service of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its image; what its containers do goes by this (see [`script`]).
    pub image: String,
    /// How many tasks.
    pub replicas: u64,
    /// They are meant to end.
    pub job: bool,
    /// New tasks start before old ones stop.
    pub start_first: bool,
    /// No node meets its constraint.
    pub nowhere: bool,
}

/// A job before or after the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its image.
    pub image: String,
    /// It runs after the deployment, not before it.
    pub post: bool,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// A key that does not exist: it does not render.
    Key,
    /// It uses an external network that is not there: it fails before anything is written.
    Network,
}

impl Part {
    /// So many tasks of this image.
    #[must_use]
    pub fn of(image: &str, replicas: u64) -> Self {
        Self { image: image.to_owned(), replicas, job: false, start_first: false, nowhere: false }
    }
}

impl Draft {
    /// The version in a few words, for a story.
    pub(super) fn words(&self) -> String {
        let part = |(name, part): (&String, &Part)| {
            let mut text = format!("{name}={}x{}", part.image, part.replicas);
            for (is, word) in [(part.job, "job"), (part.start_first, "start-first"), (part.nowhere, "nowhere")] {
                if is {
                    text.push('/');
                    text.push_str(word);
                }
            }
            text
        };
        let parts: Vec<String> = self.services.iter().map(part).collect();
        let hook = |(name, hook): (&String, &Hook)| {
            format!(" {} {name}={}", if hook.post { "post" } else { "pre" }, hook.image)
        };
        let hooks: String = self.hooks.iter().map(hook).collect();
        let waits: String = self.waits.iter().map(|(name, on)| format!(" {name} after {on}")).collect();
        let setting = self.setting.map_or(String::new(), |setting| format!(" setting {setting}"));
        let secret = if self.secret { " secret" } else { "" };
        let flaw = match self.flaw {
            Flaw::None => String::new(),
            flaw => format!(" flaw {flaw:?}"),
        };
        format!("[{}]{hooks}{waits}{setting}{secret}{flaw}", parts.join(" "))
    }

    /// A good version: two services, a config and the secret.
    #[must_use]
    pub fn good(number: u64) -> Self {
        let services = [("web", Part::of(&format!("app:{number}"), 2)), ("worker", Part::of("job:1", 1))];
        Self {
            services: services.map(|(name, part)| (name.to_owned(), part)).into(),
            setting: Some(number),
            secret: true,
            hooks: BTreeMap::new(),
            waits: BTreeMap::new(),
            flaw: Flaw::None,
        }
    }

    /// The content of its config.
    #[must_use]
    pub fn content(setting: u64) -> String {
        format!("setting {setting}")
    }

    /// Its compose text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{MARK}{}\nservices:", serde_json::to_string(self).unwrap_or_default());
        if self.services.is_empty() {
            text.push_str(" {}");
        }
        text.push('\n');
        for (name, part) in &self.services {
            self.service(&mut text, name, part);
        }
        for (name, hook) in &self.hooks {
            self.hook(&mut text, name, hook);
        }
        if let Some(setting) = self.setting {
            let _fits = writeln!(text, "configs: {{ settings: {{ content: \"{}\" }} }}", Self::content(setting));
        }
        if self.secret {
            text.push_str("secrets: { token: { environment: TOKEN } }\n");
        }
        if self.flaw == Flaw::Network {
            text.push_str("networks: { absent: { external: true } }\n");
        }
        text
    }

    fn hook(&self, text: &mut String, name: &str, hook: &Hook) {
        let mut line = |indent: usize, words: &str| {
            let _fits = writeln!(text, "{}{words}", " ".repeat(indent));
        };
        line(2, &format!("{name}:"));
        line(4, &format!("image: {}", hook.image));
        line(4, &format!("x-skep: {{ hook: {}, deadline: 40s }}", if hook.post { "post" } else { "pre" }));
        if self.secret {
            line(4, "secrets: [token]");
            line(4, "environment: { TOKEN: \"${TOKEN}\" }");
        }
    }

    fn service(&self, text: &mut String, name: &str, part: &Part) {
        let mut line = |indent: usize, words: &str| {
            let _fits = writeln!(text, "{}{words}", " ".repeat(indent));
        };
        line(2, &format!("{name}:"));
        line(4, &format!("image: {}", part.image));
        if self.flaw == Flaw::Key {
            line(4, "imagee: x");
        }
        if self.flaw == Flaw::Network {
            line(4, "networks: [absent]");
        }
        if self.setting.is_some() {
            line(4, "configs: [settings]");
        }
        if self.secret {
            line(4, "secrets: [token]");
            line(4, "environment: { TOKEN: \"${TOKEN}\" }");
        }
        if let Some(on) = self.waits.get(name) {
            line(4, &format!("depends_on: {{ {on}: {{ condition: service_healthy }} }}"));
        }
        line(4, "deploy:");
        line(6, &format!("replicas: {}", part.replicas));
        if part.job {
            line(6, "mode: replicated-job");
        } else if part.start_first {
            line(6, "update_config: { order: start-first, parallelism: 2 }");
        }
        if part.nowhere {
            line(6, "placement: { constraints: [\"node.labels.zone == nowhere\"] }");
        }
    }

    /// Reads the data of a text back.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(MARK))?;
        serde_json::from_str(line).ok()
    }
}

/// Says what the containers of all images do that schedules know of; `secret` is written by some of them, and said by the
/// engine of others.
pub fn script(swarm: &SimSwarm, secret: &str) {
    let seconds = Duration::from_secs;
    for (image, behaviour) in [
        ("slow:1", Behaviour::Slow { ready_after: seconds(20) }),
        ("missing:1", Behaviour::Missing),
        ("exit:1", Behaviour::Exit { after: seconds(1), code: 1 }),
        ("exit:0", Behaviour::Exit { after: seconds(2), code: 0 }),
        ("done:1", Behaviour::Exit { after: seconds(2), code: 0 }),
        ("sick:1", Behaviour::Unhealthy { after: seconds(3) }),
        ("sick:0", Behaviour::UnhealthyExitZero { after: seconds(3) }),
        ("late:1", Behaviour::ExitAfterHealthy { after: seconds(3), code: 1 }),
        ("oom:1", Behaviour::OutOfMemory { after: seconds(2) }),
        ("hang:1", Behaviour::PullHangs),
        ("reject:1", Behaviour::Rejected { error: format!("No such image: with {secret} in its name") }),
        ("start:1", Behaviour::StartFails { error: format!("starting container failed: {secret} is no command") }),
        ("leak:1", Behaviour::Exit { after: seconds(1), code: 3 }),
    ] {
        swarm.image(image, behaviour);
    }
    swarm.lines("leak:1", &["starting", &format!("signing in with {secret}"), "refused"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_reads_back_as_its_data() {
        let mut draft = Draft::good(3);
        draft.hooks.insert("migrate".to_owned(), Hook { image: "done:1".to_owned(), post: false });
        draft.waits.insert("worker".to_owned(), "web".to_owned());
        assert_eq!(Draft::read(&draft.text()), Some(draft));
        assert_eq!(Draft::read("services: {}\n"), None);
    }
}
