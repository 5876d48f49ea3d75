//! What is taken down of a failing task before Swarm forgets it: its last lines, and what its health checks came to.

use std::time::Duration;

use super::pass::Pass;
use super::rendition::Rendition;
use crate::domain::{Failure, FailureClass};
use crate::ports::EngineCheck;

/// Evidence has to be taken before Swarm forgets the task, but it is not worth more time than this.
const EVIDENCE: Duration = Duration::from_secs(3);
/// So many of the failing task's last lines are kept.
const LOG_LINES: u32 = 20;
/// So many of its last health checks are asked for.
const CHECKS: usize = 3;
/// So many lines of them are kept, the newest, each of so many characters at most.
const CHECK_LINES: usize = 12;
const LONGEST: usize = 400;

impl Pass<'_> {
    /// Adds the failing task's last lines and health checks, and masks all text. What does not come is left out.
    pub(super) async fn with_evidence(&self, mut failure: Failure, rendition: &Rendition) -> Failure {
        if let Some(task) = failure.task.clone() {
            let swarm = &self.environment.swarm;
            let lines = tokio::time::timeout(EVIDENCE, swarm.task_logs(&task, LOG_LINES));
            let checks = async {
                // Only these are about health.
                match failure.class {
                    FailureClass::HealthCheck | FailureClass::Deadline => {
                        tokio::time::timeout(EVIDENCE, swarm.task_health(&task, CHECKS)).await.ok()
                    }
                    _ => None,
                }
            };
            let (lines, checks) = tokio::join!(lines, checks);
            if let Ok(Ok(lines)) = lines {
                failure.log_tail = lines.into_iter().map(|line| line.line).collect();
            }
            if let Some(Ok(Some(checks))) = checks {
                failure.health_log = told(&checks);
            }
        }
        if planted!("evidence is not masked") {
            return failure;
        }
        let masker = rendition.masker();
        failure.error = masker.mask(&failure.error);
        for text in failure.log_tail.iter_mut().chain(&mut failure.health_log) {
            *text = masker.mask(text);
        }
        // Cut last: a part of a secret is not found.
        failure.health_log.iter_mut().for_each(cut);
        failure
    }
}

/// What the engine keeps of a check's output, in bytes; more is cut off there, and followed by this. Source: moby's
/// `daemon/health.go`.
const ENGINE_KEEPS: usize = 4096;
const CUT_OFF: &str = "...";

/// Health checks as lines: what each ended with, and what it wrote. A line that the engine has cut is left out: it may end
/// in a part of a secret, which nobody finds.
fn told(checks: &[EngineCheck]) -> Vec<String> {
    let mut lines = Vec::new();
    for check in checks {
        let cut = check.output.len() >= ENGINE_KEEPS && check.output.ends_with(CUT_OFF);
        let whole = if cut { check.output.rsplit_once('\n').map_or("", |(whole, _)| whole) } else { &check.output };
        let mut output = whole.lines().map(str::trim_end).filter(|line| !line.is_empty());
        match output.next() {
            Some(first) => lines.push(format!("exit code {}: {first}", check.exit_code)),
            None => lines.push(format!("exit code {}", check.exit_code)),
        }
        lines.extend(output.map(str::to_owned));
    }
    lines.drain(..lines.len().saturating_sub(CHECK_LINES));
    lines
}

fn cut(line: &mut String) {
    if let Some((at, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(at);
        line.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_become_lines_within_bounds() {
        let check = |exit_code, output: &str| EngineCheck { time: None, exit_code, output: output.to_owned() };
        assert_eq!(
            told(&[check(0, "ok\n"), check(1, ""), check(7, "one\n\ntwo  \n")]),
            ["exit code 0: ok", "exit code 1", "exit code 7: one", "two"]
        );
        let many = "line\n".repeat(100);
        assert_eq!(told(&[check(1, &many)]).len(), CHECK_LINES);
        let full = format!("whole\n{}...", "x".repeat(ENGINE_KEEPS));
        assert_eq!(told(&[check(1, &full)]), ["exit code 1: whole"]);
        assert_eq!(told(&[check(1, &full["whole\n".len()..])]), ["exit code 1"]);
        assert_eq!(told(&[check(1, "waiting...")]), ["exit code 1: waiting..."]);
        let mut long = "é".repeat(LONGEST + 1);
        cut(&mut long);
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'));
    }
}
