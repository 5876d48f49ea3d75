//! Whose is an object? The inventory decides, labels are evidence.

use std::collections::BTreeMap;
use std::fmt;

use super::PlanInput;
use crate::domain::{
    DEPLOYMENT_LABEL, Digest, INSTANCE_LABEL, LABEL_PREFIX, NAMESPACE_LABEL, ObjectRef, PROTECT_LABEL, REVISION_LABEL,
    SPEC_LABEL, STACK_LABEL, StackKey,
};

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

/// Decides. Another installation's label makes an object foreign, whatever is remembered. Otherwise an object is this
/// stack's when the inventory has its id; or when it carries this installation's and this stack's labels, as after a
/// create whose answer was lost, or when the snapshot is older than what was written since; or when it may be taken over.
pub(super) fn owner(input: &PlanInput<'_>, object: &ObjectRef, id: &str, labels: &BTreeMap<String, String>) -> Owner {
    let entry = input.inventory.0.get(object);
    if planted!("what has our name is ours") {
        return Owner::ThisStack;
    }
    let own = input.instance.to_owned();
    let instance = labels.get(INSTANCE_LABEL);
    let instance = if planted!("another Skep's objects are ours") { Some(&own) } else { instance };
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
        _ if is_adoptable(input, labels) => Owner::ThisStack,
        _ => match labels.get(NAMESPACE_LABEL) {
            Some(namespace) => Owner::DockerStack(namespace.clone()),
            None => Owner::Somebody,
        },
    }
}

/// Whether an object may be taken over: a person asked for it, and `docker stack deploy` made it for a stack of this name.
/// What carries a label of any Skep is never taken over: it is that one's, or this one's already.
pub(super) fn is_adoptable(input: &PlanInput<'_>, labels: &BTreeMap<String, String>) -> bool {
    input.adopt && is_of_docker_stack(labels, input.stack.name.as_str())
}

/// Whether the labels are those of a stack of this name that no Skep has marked.
pub(super) fn is_of_docker_stack(labels: &BTreeMap<String, String>, name: &str) -> bool {
    !labels.contains_key(INSTANCE_LABEL) && labels.get(NAMESPACE_LABEL).is_some_and(|namespace| namespace == name)
}

/// Whether an object is to be taken over: it may be, and is not remembered as this stack's yet.
pub(super) fn takes_over(
    input: &PlanInput<'_>,
    object: &ObjectRef,
    id: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let remembered = input.inventory.0.get(object).is_some_and(|entry| entry.id.as_deref() == Some(id));
    !remembered && is_adoptable(input, labels)
}

/// Whether the labels of an object say that this installation made it for this stack.
#[must_use]
pub fn is_marked(labels: &BTreeMap<String, String>, instance: &str, stack: &StackKey) -> bool {
    labels.get(INSTANCE_LABEL).is_some_and(|it| it == instance)
        && labels.get(STACK_LABEL).is_some_and(|it| *it == stack.to_string())
}

/// Whether the labels of an object say that it is never to be removed.
#[must_use]
pub fn is_protected(labels: &BTreeMap<String, String>) -> bool {
    labels.get(PROTECT_LABEL).is_some_and(|value| value == "true")
}

/// What a file says in labels of an object, and nothing that Skep adds on its own account.
pub(super) fn stated(labels: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let own = |label: &str| label.starts_with(LABEL_PREFIX) && label != PROTECT_LABEL;
    labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).filter(|(label, _)| !own(label)).collect()
}

/// The labels that say whose an object is.
pub(super) fn stamp_owner(input: &PlanInput<'_>, labels: &mut BTreeMap<String, String>) {
    labels.insert(INSTANCE_LABEL.into(), input.instance.into());
    labels.insert(STACK_LABEL.into(), input.stack.to_string());
}

/// All of Skep's own labels, for an object whose desired form has this digest.
pub(super) fn stamp(input: &PlanInput<'_>, labels: &mut BTreeMap<String, String>, digest: &Digest) {
    stamp_owner(input, labels);
    labels.insert(SPEC_LABEL.into(), digest.to_string());
    labels.insert(DEPLOYMENT_LABEL.into(), input.deployment.to_string());
    if let Some(revision) = input.revision {
        labels.insert(REVISION_LABEL.into(), revision.to_string());
    }
}
