//! Whose is an object? The inventory decides, labels are evidence.

use std::collections::BTreeMap;
use std::fmt;

use super::PlanInput;
use crate::domain::{INSTANCE_LABEL, NAMESPACE_LABEL, ObjectRef, STACK_LABEL};

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The stack that is planned.
    ThisStack,
    /// Another stack of this installation.
    OtherStack(String),
    /// Another installation of Skep.
    OtherInstance(String),
    /// A stack that `docker stack deploy` or the like made.
    DockerStack(String),
    /// Somebody.
    Somebody,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThisStack => f.write_str("this stack"),
            Self::OtherStack(key) => write!(f, "the stack `{key}` of this Skep"),
            Self::OtherInstance(id) => write!(f, "another Skep (instance {id})"),
            Self::DockerStack(name) => write!(f, "the stack `{name}` that Skep does not manage"),
            Self::Somebody => f.write_str("something that Skep does not manage"),
        }
    }
}

/// Decides. An object is this stack's when the inventory has its id; or when it carries this installation's and this
/// stack's labels and the inventory has no other id for it, as after a create whose answer was lost.
pub(super) fn owner(input: &PlanInput<'_>, object: &ObjectRef, id: &str, labels: &BTreeMap<String, String>) -> Owner {
    let entry = input.inventory.0.get(object);
    let instance = labels.get(INSTANCE_LABEL);
    if let Some(other) = instance.filter(|instance| *instance != input.instance) {
        return Owner::OtherInstance(other.clone());
    }
    if entry.is_some_and(|entry| entry.id.as_deref() == Some(id)) {
        return Owner::ThisStack;
    }
    let stack = labels.get(STACK_LABEL);
    match (instance, stack) {
        (Some(_), Some(stack)) if *stack == input.stack.to_string() => Owner::ThisStack,
        (Some(_), Some(stack)) => Owner::OtherStack(stack.clone()),
        _ => match labels.get(NAMESPACE_LABEL) {
            Some(namespace) => Owner::DockerStack(namespace.clone()),
            None => Owner::Somebody,
        },
    }
}
