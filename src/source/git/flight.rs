//! Work that callers share: who asks for what is already under way gets its result.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::operation::locked;

/// Runs at most one piece of work for each key at a time. The work goes on when its callers go away.
pub(super) struct Flights<K, V: Clone> {
    fresh: Duration,
    flights: Mutex<HashMap<K, Flight<V>>>,
}

struct Flight<V: Clone> {
    result: Shared<BoxFuture<'static, Option<V>>>,
    landed: Arc<OnceLock<Instant>>,
}

impl<K: Hash + Eq, V: Clone + Send + Sync + 'static> Flights<K, V> {
    /// `fresh` is how long a result is used again after it came.
    pub(super) fn new(fresh: Duration) -> Self {
        Self { fresh, flights: Mutex::new(HashMap::new()) }
    }

    /// The result of the work under way for this key, or of `start`. `None`: the work broke down.
    pub(super) async fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let result = {
            let mut flights = locked(&self.flights);
            flights.retain(|_, flight| flight.landed.get().is_none_or(|at| at.elapsed() < self.fresh));
            match flights.get(&key) {
                Some(flight) => flight.result.clone(),
                None => {
                    let landed = Arc::new(OnceLock::new());
                    let work = start();
                    let task = tokio::spawn({
                        let landed = Landing(Arc::clone(&landed));
                        async move {
                            let value = work.await;
                            drop(landed);
                            value
                        }
                    });
                    let result = task.map(Result::ok).boxed().shared();
                    flights.insert(key, Flight { result: result.clone(), landed });
                    result
                }
            }
        };
        result.await
    }
}

/// Notes the time when dropped, so that work that panics lands, too.
struct Landing(Arc<OnceLock<Instant>>);

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.set(Instant::now()).ok();
    }
}
