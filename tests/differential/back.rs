//! The way back: what `docker stack deploy` has made, exported as a compose file, is taken over without a change.

use std::collections::BTreeMap;

use skep::compose::export;
use skep::domain::{Action, Compat, Course};
use skep::plan::adopted_names;

use crate::case::Case;
use crate::engine::Engine;

impl Engine {
    /// Exports what runs of the stack, reads that file again, and plans to take the stack over with it.
    pub(crate) async fn comes_back(&self) -> Result<(), String> {
        let key = self.key();
        let live = Self::live().await?;
        let exported = export(&key.name, &live);
        let told = |what: &str| format!("exported: {what}\n{}\n{}", exported.remarks.join("\n"), exported.text);
        let files = vec![("stack.yml".to_owned(), exported.text.clone())];
        let case = Case { compose: 1, files, variables: BTreeMap::new(), ..Case::default() };
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut rendered = self.render(&case, Compat::Strict, folder.path()).map_err(|why| told(&why))?;
        adopted_names(&key, &rendered.desired, &live, false).give(&mut rendered.desired, &mut rendered.material);
        let plan = self.plan_on(&live, &rendered.desired, Course::Adopt);
        let harmless = |step: &&skep::domain::Step| step.action == Action::Adopt && !step.reason.contains("changed:");
        let steps: Vec<String> = plan
            .steps
            .iter()
            .filter(|step| !harmless(step))
            .map(|step| format!("{} {:?}: {} {:?}", step.object, step.action, step.reason, step.changes))
            .collect();
        if steps.is_empty() && plan.refused.is_empty() {
            return Ok(());
        }
        Err(told(&format!("{}\n{:?}", steps.join("\n"), plan.refused)))
    }
}
