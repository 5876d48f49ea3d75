//! What the engine holds: lists, single objects, tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;

use super::listed::Listed;
use super::names::Stored;
use super::session::Session;
use super::wire::{self, Wire, WireConfig, WireNetwork, WireNode, WireSecret, WireService, WireTask};
use crate::domain::{LiveNetwork, LiveService, Task, TaskSpec};
use crate::ports::{Listing, SwarmError, TaskFilter, WatchedKind};

/// Answers larger than this are read off the async threads, in bytes.
const LARGE: usize = 256 << 10;
/// With more services than this, all tasks are listed: a filter costs the engine a look-up each, and the address grows.
const MOST_FILTERED: usize = 64;

impl Session {
    /// All objects of one kind.
    pub(super) async fn list(&self, kind: WatchedKind) -> Result<Listing, SwarmError> {
        let networks = swarm_networks();
        let (path, object) = match kind {
            WatchedKind::Service => ("/services", WireService::KIND),
            WatchedKind::Network => (networks.as_str(), WireNetwork::KIND),
            WatchedKind::Config => ("/configs", WireConfig::KIND),
            WatchedKind::Secret => ("/secrets", WireSecret::KIND),
            WatchedKind::Node => ("/nodes", WireNode::KIND),
        };
        let body = self.request(Method::GET, path, None, object).await?;
        let text = Listed::text(&body);
        let listing = match self.listed.get(kind, &text) {
            Some(listing) => listing,
            None => {
                let listing = match kind {
                    WatchedKind::Service => Listing::Services(self.services(body).await?),
                    WatchedKind::Network => {
                        Listing::Networks(self.read::<WireNetwork>(body).await?.into_iter().flatten().collect())
                    }
                    WatchedKind::Config => Listing::Configs(self.read::<WireConfig>(body).await?),
                    WatchedKind::Secret => Listing::Secrets(self.read::<WireSecret>(body).await?),
                    WatchedKind::Node => Listing::Nodes(self.read::<WireNode>(body).await?),
                };
                self.listed.put(kind, text, &listing);
                listing
            }
        };
        self.take_names(&listing);
        Ok(listing)
    }

    /// What ids stand for, as just listed.
    fn take_names(&self, listing: &Listing) {
        match listing {
            Listing::Services(all) => {
                let jobs = all.iter().filter(|service| service.spec.mode.is_job());
                self.names.set_jobs(jobs.map(|job| (job.id.clone(), job.spec.mode.replicated_job.is_some())));
            }
            Listing::Networks(all) => self.names.set_networks(all.iter().map(Arc::as_ref)),
            Listing::Configs(all) => {
                self.names.set_stored(Stored::Config, all.iter().map(|it| (it.name.as_str(), it.id.as_str())));
            }
            Listing::Secrets(all) => {
                self.names.set_stored(Stored::Secret, all.iter().map(|it| (it.name.as_str(), it.id.as_str())));
            }
            Listing::Nodes(_) => {}
        }
    }

    async fn services(&self, body: Bytes) -> Result<Vec<Arc<LiveService>>, SwarmError> {
        let mut services = self.read::<WireService>(body).await?;
        self.resolve(services.iter().map(|service| &service.spec.task_template)).await?;
        for service in &mut services {
            self.names.put_into(&mut service.spec.task_template);
        }
        Ok(services.into_iter().map(Arc::new).collect())
    }

    /// All networks of the Swarm's.
    pub(super) async fn networks(&self) -> Result<Vec<Arc<LiveNetwork>>, SwarmError> {
        let networks: Vec<_> = self.read_list::<WireNetwork>(&swarm_networks()).await?.into_iter().flatten().collect();
        self.names.set_networks(networks.iter().map(Arc::as_ref));
        Ok(networks)
    }

    /// One object by id; `None` when it is gone.
    pub(super) async fn inspect(&self, kind: WatchedKind, id: &str) -> Result<Option<Listing>, SwarmError> {
        let segment = escape(id);
        Ok(match kind {
            WatchedKind::Service => self.service(id).await?.map(|service| Listing::Services(vec![Arc::new(service)])),
            // The one node's view of a network is asked before the Swarm's when it is inspected, and differs; a list has
            // the Swarm's.
            WatchedKind::Network => {
                let path = format!("/networks?filters={}", filters(&[("scope", &["swarm"]), ("id", &[id])]));
                let mut networks: Vec<_> = self.read_list::<WireNetwork>(&path).await?.into_iter().flatten().collect();
                networks.retain(|network| network.id == id);
                (!networks.is_empty()).then_some(Listing::Networks(networks))
            }
            WatchedKind::Config => self
                .read_one::<WireConfig>(&format!("/configs/{segment}"), id)
                .await?
                .map(|config| Listing::Configs(vec![config])),
            WatchedKind::Secret => self
                .read_one::<WireSecret>(&format!("/secrets/{segment}"), id)
                .await?
                .map(|secret| Listing::Secrets(vec![secret])),
            WatchedKind::Node => self
                .read_one::<WireNode>(&format!("/nodes/{segment}"), id)
                .await?
                .map(|node| Listing::Nodes(vec![node])),
        })
    }

    async fn service(&self, id: &str) -> Result<Option<LiveService>, SwarmError> {
        let Some(mut service) = self.read_one::<WireService>(&format!("/services/{}", escape(id)), id).await? else {
            return Ok(None);
        };
        self.resolve([&service.spec.task_template]).await?;
        self.names.put_into(&mut service.spec.task_template);
        Ok(Some(service))
    }

    /// Tasks.
    pub(super) async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Arc<Task>>, SwarmError> {
        let mut tasks = match filter {
            TaskFilter::All => self.read_list::<WireTask>("/tasks").await?,
            TaskFilter::Services(ids) if ids.is_empty() => return Ok(Vec::new()),
            TaskFilter::Services(ids) => self.tasks_of(ids).await?,
        };
        self.resolve(tasks.iter().map(|task| &task.spec)).await?;
        for task in &mut tasks {
            self.names.put_into(&mut task.spec);
        }
        self.put_slots(&mut tasks).await?;
        Ok(tasks.into_iter().map(Arc::new).collect())
    }

    async fn tasks_of(&self, ids: &[String]) -> Result<Vec<Task>, SwarmError> {
        if ids.len() <= MOST_FILTERED {
            let wanted: Vec<&str> = ids.iter().map(String::as_str).collect();
            let path = format!("/tasks?filters={}", filters(&[("service", &wanted)]));
            match self.read_list::<WireTask>(&path).await {
                // One of the services is gone. Its tasks may not be: they are found in the list of all.
                Err(SwarmError::NotFound { .. }) => {}
                result => return result,
            }
        }
        let mut tasks = self.read_list::<WireTask>("/tasks").await?;
        tasks.retain(|task| ids.contains(&task.service_id));
        Ok(tasks)
    }

    /// The engine leaves a slot out when it is 0, the first of a replicated job; the tasks of a global job have none.
    async fn put_slots(&self, tasks: &mut [Task]) -> Result<(), SwarmError> {
        for task in tasks.iter_mut().filter(|task| task.slot.is_none() && task.job_iteration.is_some()) {
            let slots = match self.names.job_has_slots(&task.service_id) {
                Some(slots) => slots,
                None => {
                    let service = self.service(&task.service_id).await?;
                    let slots = service.is_some_and(|service| service.spec.mode.replicated_job.is_some());
                    self.names.add_job(&task.service_id, slots);
                    slots
                }
            };
            if slots {
                task.slot = Some(0);
            }
        }
        Ok(())
    }

    /// Finds out what the ids of these tasks' networks stand for, as far as that is not known: one list, and one look at
    /// each that is in no list. Those are the predefined ones (`host`, `bridge`), which have an id of the Swarm's own, and
    /// those that are gone, as tasks of the past have them; these keep their id for a name.
    async fn resolve<'a>(&self, specs: impl IntoIterator<Item = &'a TaskSpec> + Clone) -> Result<(), SwarmError> {
        if self.names.unknown(specs.clone()).is_empty() {
            return Ok(());
        }
        self.networks().await?;
        for id in self.names.unknown(specs) {
            match self.request(Method::GET, &format!("/networks/{}?scope=swarm", escape(&id)), None, "a network").await
            {
                Ok(body) => {
                    let network = wire::one::<WireNetwork>(&body).ok().flatten();
                    self.names.add_other(&id, network.as_ref().map_or(&id, |network| &network.name));
                }
                Err(SwarmError::NotFound { .. }) => self.names.add_other(&id, &id),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks for a list, and reads it.
    pub(super) async fn read_list<W: Wire>(&self, path: &str) -> Result<Vec<W::Live>, SwarmError> {
        let body = self.request(Method::GET, path, None, W::KIND).await?;
        self.read::<W>(body).await
    }

    /// Reads a list.
    async fn read<W: Wire>(&self, body: Bytes) -> Result<Vec<W::Live>, SwarmError> {
        let read = if body.len() < LARGE {
            wire::list::<W>(&body)
        } else {
            let read = tokio::task::spawn_blocking(move || wire::list::<W>(&body)).await;
            read.unwrap_or_else(|error| Err(error.to_string()))
        };
        read.map_err(|reason| self.call_about(&Method::GET, W::KIND).engine(reason))
    }

    async fn read_one<W: Wire>(&self, path: &str, id: &str) -> Result<Option<W::Live>, SwarmError> {
        let object = format!("{} `{id}`", W::KIND);
        let call = self.call_about(&Method::GET, &object);
        let body: Bytes = match self.request(Method::GET, path, None, &object).await {
            Ok(body) => body,
            Err(SwarmError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        wire::one::<W>(&body).map(Some).map_err(|reason| call.engine(format!("{object} makes no sense: {reason}")))
    }
}

/// The way to all networks of the Swarm's.
fn swarm_networks() -> String {
    format!("/networks?filters={}", filters(&[("scope", &["swarm"])]))
}

/// The value of a query's `filters`, escaped.
pub(super) fn filters(wanted: &[(&str, &[&str])]) -> String {
    let map: BTreeMap<_, _> = wanted.iter().copied().collect();
    // Strings only: this cannot fail.
    escape(&serde_json::to_string(&map).unwrap_or_default())
}

/// Escapes all but what RFC 3986 calls unreserved.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_json_and_escaped() {
        assert_eq!(filters(&[("id", &["a b"])]), "%7B%22id%22%3A%5B%22a%20b%22%5D%7D");
    }
}
