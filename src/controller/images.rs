//! Which digest an image's tag stands for: looked up once for all that ask at the same time, whatever the number of stacks.
//! The engine asks the registry, with that registry's login, so that it is the engine's own view of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::environment::Observed;
use super::queue::Priority;
use super::shared::{Environments, Shared};
use crate::domain::{EnvironmentName, StackKey, registry_of};
use crate::ports::{Ambient, ImageError, ResolvedImage};
use crate::telemetry::carried;

/// The longest a lookup may take.
const LONGEST: Duration = Duration::from_secs(10);
/// So many lookups at a time in one environment.
const AT_ONCE: usize = 8;
/// An answer serves what was asked for at most so long after it.
const SHARED_FOR: SignedDuration = SignedDuration::from_secs(10);
/// A registry that does not answer, or is asked too much, is left alone for so long, unless it says for how long itself.
pub(super) const LEFT_ALONE: SignedDuration = SignedDuration::from_secs(30);
/// An engine that failed is asked again after this time.
pub(super) const ENGINE_LEFT_ALONE: SignedDuration = SignedDuration::from_secs(1);
/// Answers older than this are forgotten.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(10);

/// What a lookup came to.
pub(super) type Answer = Result<ResolvedImage, ImageError>;

/// The lookups of one installation.
#[derive(Default)]
pub(super) struct Lookups(Mutex<State>);

#[derive(Default)]
struct State {
    images: HashMap<(EnvironmentName, String), Lookup>,
    /// Registries that are left alone until a time, and why.
    left_alone: HashMap<(EnvironmentName, String), (Timestamp, ImageError)>,
    places: BTreeMap<EnvironmentName, Arc<Semaphore>>,
}

#[derive(Default)]
struct Lookup {
    /// When it was answered, and how.
    answer: Option<(Timestamp, Answer)>,
    under_way: bool,
    waiting: BTreeSet<StackKey>,
}

impl Lookups {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// What was last answered about an image, if that is remembered; nothing is asked.
    pub(super) fn last_answer(&self, environment: &EnvironmentName, image: &str) -> Option<Answer> {
        let state = self.lookups.state();
        let lookup = state.images.get(&(environment.clone(), image.to_owned()))?;
        lookup.answer.as_ref().map(|(_, answer)| answer.clone())
    }

    /// What an image's tag stands for, if that was asked not long before `asked_at`. Otherwise it is being asked, and the
    /// stack is woken with the answer.
    pub(super) fn look_up(
        &self,
        environment: &Arc<Observed>,
        image: &str,
        (key, asked_at): (&StackKey, Timestamp),
    ) -> Option<Answer> {
        let now = self.ambient.now();
        let mut state = self.lookups.state();
        let registry = (environment.name.clone(), registry_of(image).to_owned());
        let place = (environment.name.clone(), image.to_owned());
        if let Some((at, answer)) = state.images.get(&place).and_then(|lookup| lookup.answer.as_ref()) {
            let age = now.duration_since(*at);
            let serves = match answer {
                Ok(_) => true,
                Err(ImageError::Engine(_)) => age < ENGINE_LEFT_ALONE,
                Err(_) => age < LEFT_ALONE,
            };
            if serves && asked_at.duration_since(*at) < SHARED_FOR {
                return Some(answer.clone());
            }
        }
        match state.left_alone.get(&registry) {
            Some((until, error)) if *until > now => return Some(Err(error.clone())),
            Some(_) => drop(state.left_alone.remove(&registry)),
            None => {}
        }
        let lookup = state.images.entry(place).or_default();
        lookup.waiting.insert(key.clone());
        if !std::mem::replace(&mut lookup.under_way, true) {
            let places = state.places.entry(environment.name.clone());
            let places = places.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))).clone();
            let asking = Asking {
                lookups: self.lookups.clone(),
                environments: self.environments.clone(),
                ambient: self.ambient.clone(),
                environment: environment.clone(),
            };
            let image = image.to_owned();
            self.tasks.spawn(carried(async move { asking.ask(image, &places).await }));
        }
        None
    }
}

/// A lookup under way.
struct Asking {
    lookups: Arc<Lookups>,
    environments: Arc<Environments>,
    ambient: Arc<dyn Ambient>,
    environment: Arc<Observed>,
}

impl Asking {
    async fn ask(&self, image: String, places: &Semaphore) {
        // The semaphore is never closed.
        let _place = places.acquire().await;
        let environment = &self.environment;
        let asked = tokio::time::timeout(LONGEST, environment.swarm.resolve(&image)).await;
        let answer = asked.unwrap_or_else(|_| Err(ImageError::Unreachable("no answer in time".to_owned())));
        let now = self.ambient.now();
        let mut state = self.lookups.state();
        let rest = match &answer {
            Err(ImageError::Busy { retry_after, .. }) => Some(retry_after.unwrap_or(LEFT_ALONE)),
            Err(ImageError::Unreachable(_)) => Some(LEFT_ALONE),
            _ => None,
        };
        if let (Some(rest), Err(error)) = (rest, &answer) {
            let until = now.checked_add(rest).unwrap_or(now);
            let registry = (environment.name.clone(), registry_of(&image).to_owned());
            state.left_alone.insert(registry, (until, error.clone()));
        }
        state.images.retain(|_, lookup| {
            lookup.under_way || lookup.answer.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < KEPT_FOR)
        });
        let lookup = state.images.entry((environment.name.clone(), image)).or_default();
        lookup.under_way = false;
        lookup.answer = Some((now, answer));
        let waiting = std::mem::take(&mut lookup.waiting);
        drop(state);
        for key in waiting {
            self.environments.wake(&key, Priority::Event);
        }
    }
}
