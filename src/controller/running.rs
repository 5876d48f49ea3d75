//! Stacks that run and are not declared: those of `docker stack deploy`, and those of a Skep whose records are lost.

use super::inquiries::{Answers, failed};
use crate::compose::{Exported, export, running_stacks};
use crate::domain::{Action, Compat, EnvironmentName, LABEL_PREFIX, Stack, StackKey, StackName};
use crate::ports::{InquiryError, PlanAnswer, RunningStack};

impl Answers {
    /// Told from the objects that are there, by the stack's label.
    pub(super) fn running_now(
        &self,
        environment: &EnvironmentName,
        stack: Option<&StackName>,
    ) -> Result<Vec<RunningStack>, InquiryError> {
        let live = self.environment(environment)?.snapshot();
        let mut found = Vec::new();
        for label in running_stacks(&live) {
            // What has another name than a stack may have is nobody's to declare.
            let Ok(name) = StackName::parse(&label) else { continue };
            let key = StackKey { environment: environment.clone(), name };
            if stack.is_some_and(|stack| *stack != key.name) {
                continue;
            }
            match self.shared.ledger.stack(&key).map_err(failed)? {
                Some(_) if stack.is_some() => {
                    return Err(InquiryError::Failed(format!(
                        "stack `{key}` is declared: `skep get stack {}`",
                        key.name
                    )));
                }
                Some(_) => {}
                None => {
                    let Exported { text, remarks } = export(&key.name, &live);
                    found.push(RunningStack { manifest: manifest(&key, &text), name: key.name, remarks });
                }
            }
        }
        if let Some(stack) = stack.filter(|_| found.is_empty()) {
            return Err(InquiryError::NotFound(format!("a service of a stack `{stack}`")));
        }
        Ok(found)
    }
}

impl Answers {
    /// Whether taking a stack over changes nothing that runs by the rules of `docker stack deploy`, and something, or is
    /// refused, by the specification's. What runs is the judge: values that the files take from variables or `.env` may have
    /// been in the environment of whoever deployed it.
    pub(super) async fn needs_cli_now(&self, stack: &Stack) -> Result<bool, InquiryError> {
        if stack.spec.compat == Compat::Cli || self.adoption_now(stack).await.is_ok_and(|plan| changes_nothing(&plan)) {
            return Ok(false);
        }
        let mut by_cli = stack.clone();
        by_cli.spec.compat = Compat::Cli;
        // What cannot be planned by either is told with the plan.
        Ok(self.adoption_now(&by_cli).await.is_ok_and(|plan| changes_nothing(&plan)))
    }
}

/// Whether a plan takes over what is there, and writes no more than Skep's own labels.
fn changes_nothing(plan: &PlanAnswer) -> bool {
    let own = |path: &str| path.starts_with(&format!("/Labels/{LABEL_PREFIX}"));
    plan.steps.iter().all(|step| step.action == Action::Adopt && step.changes.iter().all(|change| own(&change.path)))
}

/// The manifest of a stack with its files in it.
fn manifest(key: &StackKey, text: &str) -> String {
    let mut manifest = format!("kind: Stack\nname: {}\n", key.name);
    if key.environment != EnvironmentName::default() {
        manifest.push_str(&format!("environment: {}\n", key.environment));
    }
    manifest.push_str("inline: |\n");
    for line in text.lines() {
        if !line.is_empty() {
            manifest.push_str("  ");
        }
        manifest.push_str(line);
        manifest.push('\n');
    }
    manifest
}
