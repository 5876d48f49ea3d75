//! The way of a deployment, with the times that the log has.

use jiff::Timestamp;

use crate::cli::model::{Deployment, Event};

/// The phases on the way, and what each is called. The log names those that took any time.
const WAY: [(&str, &str); 6] = [
    ("Pending", "Recorded"),
    ("Fetching", "Fetching"),
    ("Rendering", "Rendering"),
    ("AwaitingApproval", "AwaitingApproval"),
    ("Applying", "Applying"),
    ("Verifying", "Verifying"),
];

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It is over.
    Done,
    /// It goes on.
    Now,
    /// It has not begun.
    Ahead,
    /// The deployment ended in it.
    Failed,
}

/// A step of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) word: String,
    pub(super) pace: Pace,
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

/// What the log says of a deployment.
struct Told<'e> {
    deployment: &'e Deployment,
    lines: Vec<&'e Event>,
}

impl Told<'_> {
    /// When a phase began.
    fn began(&self, phase: &str) -> Option<Timestamp> {
        let told = self.lines.iter().find(|it| it.kind == "PhaseChanged" && it.reason == phase);
        told.map(|it| it.time).or((phase == "Pending").then_some(self.deployment.created_at))
    }

    /// When it was given up.
    fn over(&self) -> Option<Timestamp> {
        let over = self.lines.iter().find(|it| matches!(it.kind.as_str(), "Failed" | "Cancelled" | "Superseded"));
        over.map(|it| it.time)
    }
}

/// All steps of a deployment. A person's approval is one only where it was waited for.
pub(super) fn steps(deployment: &Deployment, events: &[Event]) -> Vec<Step> {
    let mine = |it: &&Event| it.deployment_id.as_ref() == Some(&deployment.id);
    let told = Told { deployment, lines: events.iter().filter(mine).collect() };
    let phase = deployment.phase.as_str();
    let waited = |it: &(&str, &str)| it.0 != "AwaitingApproval" || phase == it.0 || told.began(it.0).is_some();
    let way: Vec<(&str, &str)> = WAY.into_iter().filter(waited).collect();
    let given_up = matches!(phase, "RollingBack" | "RolledBack" | "Failed" | "Cancelled" | "Superseded");
    let reached = match phase {
        "Converged" => way.len(),
        _ if given_up => way.iter().rposition(|(it, _)| told.began(it).is_some()).unwrap_or_default(),
        _ => way.iter().position(|(it, _)| *it == phase).unwrap_or_default(),
    };
    let over = told.over().or(deployment.finished_at);
    let step = |(index, (name, word)): (usize, &(&str, &str))| {
        let later = way[index + 1..].iter().find_map(|(it, _)| told.began(it));
        let pace = match index.cmp(&reached) {
            std::cmp::Ordering::Less => Pace::Done,
            std::cmp::Ordering::Greater => Pace::Ahead,
            std::cmp::Ordering::Equal if given_up => Pace::Failed,
            std::cmp::Ordering::Equal => Pace::Now,
        };
        let to = match pace {
            Pace::Done | Pace::Failed => later.or(over),
            Pace::Now | Pace::Ahead => None,
        };
        Step { word: (*word).to_owned(), pace, from: told.began(name), to }
    };
    let mut found: Vec<Step> = way.iter().enumerate().map(step).collect();
    found.push(last(&told, over));
    found
}

/// What it came to, or is to come to.
fn last(told: &Told<'_>, over: Option<Timestamp>) -> Step {
    let (phase, finished) = (told.deployment.phase.as_str(), told.deployment.finished_at);
    let step = |pace, from, to| Step { word: phase.to_owned(), pace, from, to };
    match phase {
        "Converged" => step(Pace::Done, finished, None),
        "RollingBack" => step(Pace::Now, over, None),
        "RolledBack" => step(Pace::Done, over, finished),
        "Failed" | "Cancelled" | "Superseded" => step(Pace::Failed, finished, None),
        _ => Step { word: "Converged".to_owned(), pace: Pace::Ahead, from: None, to: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::model::read;
    use crate::cli::tests::sample;

    fn at(second: u32) -> Timestamp {
        format!("2026-01-31T12:00:{second:02}Z").parse().unwrap()
    }

    fn event(kind: &str, reason: &str, second: u32) -> Event {
        read(&serde_json::json!({
            "time": at(second).to_string(), "environment": "default", "stack": "shop", "deploymentId": "01dep",
            "type": kind, "reason": reason, "message": "", "actor": "skep",
        }))
        .unwrap()
    }

    fn told(phase: &str, events: &[Event]) -> Vec<String> {
        let mut deployment = sample::deployment(phase);
        deployment.finished_at = deployment.ended().map(|_| at(30));
        let second = |it: Option<Timestamp>| it.map_or_else(|| "-".to_owned(), |it| it.strftime("%S").to_string());
        let line = |it: Step| format!("{} {:?} {} {}", it.word, it.pace, second(it.from), second(it.to));
        steps(&deployment, events).into_iter().map(line).collect()
    }

    #[test]
    fn a_deployment_under_way_has_steps_behind_and_ahead() {
        let events = [event("PhaseChanged", "Fetching", 1), event("PhaseChanged", "Applying", 3)];
        let expected = [
            "Recorded Done 00 01",
            "Fetching Done 01 03",
            "Rendering Done - 03",
            "Applying Now 03 -",
            "Verifying Ahead - -",
            "Converged Ahead - -",
        ];
        assert_eq!(told("Applying", &events), expected);
    }

    #[test]
    fn one_that_was_rolled_back_failed_where_it_was() {
        let events = [
            event("PhaseChanged", "AwaitingApproval", 2),
            event("PhaseChanged", "Applying", 3),
            event("PhaseChanged", "Verifying", 5),
            event("Failed", "HealthCheck", 9),
        ];
        let shown = told("RolledBack", &events);
        assert_eq!(shown[3], "AwaitingApproval Done 02 03");
        assert_eq!(shown[5..], ["Verifying Failed 05 09", "RolledBack Done 09 30"]);
        assert_eq!(told("RollingBack", &events)[6], "RollingBack Now 09 -");
    }

    #[test]
    fn ends_are_the_last_step() {
        assert_eq!(told("Converged", &[])[5], "Converged Done 30 -");
        let cancelled = told("Cancelled", &[event("Cancelled", "Cancelled", 4)]);
        assert_eq!((cancelled[0].as_str(), cancelled[5].as_str()), ("Recorded Failed 00 04", "Cancelled Failed 30 -"));
        assert_eq!(told("SomethingNew", &[])[0], "Recorded Now 00 -");
    }
}
