//! Stacks that run and are not declared: those of `docker stack deploy`, and those of a Skep whose records are lost.

use super::inquiries::{Answers, failed};
use crate::compose::{Exported, export, is_alike, running_stacks};
use crate::domain::{Compat, EnvironmentName, Stack, StackKey, StackName, UnsetVariables};
use crate::ports::{InquiryError, RunningStack};

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
    /// Whether the files of a stack depend on the rules of `docker stack deploy`. What fails for the want of a variable
    /// alone does not: by those rules it would be empty, which is not what it was when the stack was made.
    pub(super) async fn needs_cli_now(&self, stack: &Stack) -> Result<bool, InquiryError> {
        let read = async |compat, unset| {
            let mut spec = stack.spec.clone();
            (spec.compat, spec.policy.unset_variables) = (compat, unset);
            self.rendered(&stack.key, &spec).await.map(|(_, rendition)| rendition.desired)
        };
        if stack.spec.compat == Compat::Cli {
            return Ok(false);
        }
        let cli = match read(Compat::Cli, UnsetVariables::Empty).await {
            Ok(cli) => cli,
            // Refused by either, or not there to be read: the plan says so.
            Err(_) => return Ok(false),
        };
        Ok(!read(Compat::Strict, UnsetVariables::Empty).await.is_ok_and(|strict| is_alike(&strict, &cli)))
    }
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
