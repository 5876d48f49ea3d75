//! What runs and is not declared.

use super::{Guard, GuardError};
use crate::domain::{Access, EnvironmentName, Place, Stack, StackName};
use crate::ports::{InquiryError, RunningStack};

impl Guard {
    /// The stacks that run in an environment and are not declared. Their variables are told in the clear, so it takes an
    /// admin over everything.
    pub(in crate::api) async fn running(
        &self,
        environment: &EnvironmentName,
        stack: Option<&StackName>,
    ) -> Result<Vec<RunningStack>, GuardError> {
        self.everywhere(Access::Administer)?;
        tracing::info!(actor = %self.actor, %environment, "what runs and is not declared is read");
        Ok(self.shelf.inquiries.running(environment, stack).await?)
    }

    /// Whether the files of a stack, as it would be declared, depend on the rules of `docker stack deploy`.
    pub(in crate::api) async fn needs_cli(&self, stack: &Stack) -> Result<bool, GuardError> {
        if !self.grant.may(Access::Diff, Place::Stack(&stack.key)) {
            return Err(InquiryError::NotFound(format!("stack `{}`", stack.key)).into());
        }
        Ok(self.shelf.inquiries.needs_cli(stack).await?)
    }
}
