//! Stacks must not wait for each other in a circle: that is refused when it is declared.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{Body, Manifest};
use super::{Code, Declare, DeclareError};
use crate::domain::{Access, Grant, Place, StackKey, StackSpec};
use crate::ledger::{Batch, RecordKey};

/// Which stack waits for which.
type Graph = BTreeMap<StackKey, Vec<StackKey>>;

fn waits_for(spec: &StackSpec) -> Vec<StackKey> {
    spec.depends_on.iter().map(|dependency| dependency.stack.clone()).collect()
}

impl Declare {
    /// Refuses dependencies that lead back to where they begin, once the documents of `manifest` are declared. What was
    /// read to find out must be as it is when the batch is written, so that two writers cannot close a circle together.
    pub(super) fn without_circles(
        &self,
        manifest: &Manifest,
        declared: &BTreeMap<StackKey, StackSpec>,
        mut batch: Batch,
        grant: &Grant,
    ) -> Result<Batch, DeclareError> {
        let mut graph: Graph = declared.iter().map(|(key, spec)| (key.clone(), waits_for(spec))).collect();
        let mut refusals = Vec::new();
        for document in &manifest.documents {
            let Body::Stack(key, _) = &document.body else { continue };
            let hidden = graph.get(key).into_iter().flatten().find(|it| !grant.may(Access::See, Place::Stack(it)));
            if let Some(hidden) = hidden {
                let message = format!("stack `{hidden}` is not one that this token may see");
                let hint = "depend on stacks within the token's reach, or use another token".to_owned();
                refusals.push(document.refuse(Code::Forbidden, "dependsOn", message, Some(hint)));
                continue;
            }
            if graph.get(key).is_none_or(Vec::is_empty) {
                continue;
            }
            batch = self.read_from(key, &mut graph, batch)?;
            if let Some(circle) = circle(&graph, key) {
                let may = |it: &StackKey| grant.may(Access::See, Place::Stack(it));
                let name = |it: &StackKey| if may(it) { it.to_string() } else { "…".to_owned() };
                let path = circle.iter().map(name).collect::<Vec<_>>().join(" → ");
                let message = format!("stack `{key}` would wait for itself: {path}");
                let hint = "take one of these dependencies away".to_owned();
                refusals.push(document.refuse(Code::Invalid, "dependsOn", message, Some(hint)));
            }
        }
        if refusals.is_empty() { Ok(batch) } else { Err(DeclareError::Refused(refusals)) }
    }

    /// Reads what a stack waits for, and what that waits for, and so on.
    fn read_from(&self, key: &StackKey, graph: &mut Graph, mut batch: Batch) -> Result<Batch, DeclareError> {
        let mut open: Vec<StackKey> = graph.get(key).cloned().unwrap_or_default();
        while let Some(next) = open.pop() {
            if graph.contains_key(&next) {
                continue;
            }
            let found = self.ledger.stack(&next)?;
            batch = batch.expect(&RecordKey::Stack(next.clone()), found.as_ref().map(|it| it.revision));
            let further = found.map(|it| waits_for(&it.value.spec)).unwrap_or_default();
            open.extend(further.iter().cloned());
            graph.insert(next, further);
        }
        Ok(batch)
    }
}

/// The way from a stack back to itself, if there is one.
fn circle(graph: &Graph, from: &StackKey) -> Option<Vec<StackKey>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![vec![from.clone()]];
    while let Some(path) = open.pop() {
        for next in path.last().and_then(|last| graph.get(last)).into_iter().flatten() {
            let mut way = path.clone();
            way.push(next.clone());
            if next == from {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                open.push(way);
            }
        }
    }
    None
}
