//! Whether that which work needs is there, for who need not sign in.

use super::Shelf;

/// What is ready, and what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::api) struct Readiness {
    /// The server has been started, and was not asked to end.
    pub(in crate::api) serves: bool,
    /// The store takes writes.
    pub(in crate::api) writes: bool,
    /// How many environments answer, ...
    pub(in crate::api) connected: usize,
    /// ... of how many.
    pub(in crate::api) environments: usize,
}

impl Shelf {
    /// What of that which work needs is there. Nothing in it names anything.
    pub(in crate::api) async fn readiness(&self) -> Readiness {
        let writes = self.ledger.takes_writes().await.is_ok();
        let environments = self.ledger.environments().unwrap_or_default();
        let up = |name| self.ledger.environment_status(name).ok().flatten().is_some_and(|it| it.value.connected);
        let connected = environments.iter().filter(|found| up(&found.value.name)).count();
        Readiness { serves: true, writes, connected, environments: environments.len() }
    }
}
