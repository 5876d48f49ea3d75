//! `adopt`: a manifest is applied, and what `docker stack deploy` made under the names of its stacks is taken over.

use jiff::Timestamp;
use serde::Serialize;

use super::manifest::{Body, Manifest};
use super::{Code, Declare, DeclareError, Refusal};
use crate::domain::{Adoption, Deployment, DeploymentPhase as Phase, EnvironmentName, Stack, StackName};

/// What is to be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Adopt {
    /// The one stack that the manifest may declare; any when left out.
    pub stack: Option<StackName>,
    /// The environment its stacks must be in; any when left out.
    pub environment: Option<EnvironmentName>,
    /// Make secrets anew, in place of trusting those that are there.
    pub rotate_secrets: bool,
}

impl Adopt {
    /// Whether the manifest declares what is to be taken over, and nothing beside it.
    pub(super) fn fits(&self, manifest: &Manifest) -> Result<(), DeclareError> {
        let mut found = false;
        for document in &manifest.documents {
            let Body::Stack(key, _) = &document.body else { continue };
            found = true;
            if let Some(name) = self.stack.as_ref().filter(|name| **name != key.name) {
                let message = format!("the manifest declares stack `{}`, and `{name}` is to be taken over", key.name);
                let hint = "name that one, or take over all of the manifest";
                return Err(document.refuse(Code::Invalid, "name", message, Some(hint.to_owned())).into());
            }
            if let Some(name) = self.environment.as_ref().filter(|name| **name != key.environment) {
                let message =
                    format!("stack `{}` is declared in environment `{}`, not `{name}`", key.name, key.environment);
                let hint = "name the environment of the manifest, or write the other one there";
                return Err(document.refuse(Code::Invalid, "environment", message, Some(hint.to_owned())).into());
            }
        }
        if found {
            return Ok(());
        }
        let hint = "a stack is taken over with its manifest: `kind: Stack`, its name, and where its files are";
        Err(Refusal::new(Code::Invalid, "the manifest declares no stack").field("manifest").hint(hint).into())
    }

    /// The order, as it stands in the record from now on.
    pub(super) fn order(&self, deployment: &Deployment, since: Timestamp) -> Adoption {
        let (deployment, actor) = (deployment.id.clone(), deployment.origin.actor.clone());
        Adoption { deployment, rotate_secrets: self.rotate_secrets, actor, since }
    }
}

impl Declare {
    /// Whether the order is a new one: there is none yet, another one, or one whose deployment came to nothing.
    pub(super) fn is_to_be_adopted(&self, stack: &Stack, adopt: &Adopt) -> Result<bool, DeclareError> {
        let Some(order) = stack.control.adoption.as_ref().filter(|it| it.rotate_secrets == adopt.rotate_secrets) else {
            return Ok(true);
        };
        let ended = self.ledger.deployment(&order.deployment)?.map(|found| found.value.phase);
        let failed = |phase| matches!(phase, Phase::Failed | Phase::RolledBack | Phase::Cancelled | Phase::Superseded);
        Ok(ended.is_none_or(failed))
    }
}
