//! The end of every schedule: the faults stop, one good version is asked for, and everything must become that, stay so, and
//! cost nothing more.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::invariants::Law;
use super::play::{Player, is_round};
use super::schedule::Word;
use super::world::Request;
use crate::domain::{Inventory, ObjectKind, ObjectRef, StackPhase, phase};

/// Everything settles within so many seconds: the longest backoff, a resync, a deployment.
const SETTLED: u64 = 1_500;
/// All has been listed again by then, in seconds.
const RESYNCED: u64 = 400;
/// Then it is left alone for so long, in seconds: drift is forgotten, what is not needed is collected.
const TIDIED: u64 = 700;
/// And then nothing happens for so long, in seconds.
const QUIET: u64 = 600;
/// The number of the last version.
const LAST: u64 = 9;

impl Player {
    pub(super) async fn settle(&mut self, seed: u64) {
        self.mend();
        // A new life reads everything afresh; the other one has to find out for itself that all is well.
        if seed.is_multiple_of(2) || self.world.has_died() {
            self.world.kill();
            self.world.start(None);
        }
        let numbers: Vec<usize> = (0..self.world.homes.len()).collect();
        for number in &numbers {
            self.wait_for_deletion(*number).await;
            self.ask_for_the_last(*number).await;
        }
        for second in 0..SETTLED {
            if self.world.laws.is_broken() || numbers.iter().all(|number| self.has_arrived(*number)) {
                break;
            }
            // What was refused because of an event that was lost is refused until a person asks again.
            if second == RESYNCED {
                for number in numbers.iter().filter(|number| !self.has_arrived(**number)).copied().collect::<Vec<_>>() {
                    self.word(number, Word::Reconcile).await;
                }
            }
            self.wait(1_000).await;
        }
        for number in &numbers {
            if !self.has_arrived(*number) {
                let text = self.report(*number);
                self.world.laws.breach(Law::Settles, text);
            }
        }
        self.wait(TIDIED * 1_000).await;
        for number in &numbers {
            self.is_tidy(*number);
        }
        self.is_quiet().await;
    }

    async fn wait_for_deletion(&mut self, number: usize) {
        let key = self.world.homes[number].key.clone();
        for _ in 0..SETTLED {
            let found = self.world.ledger.stack(&key);
            let going = matches!(&found, Ok(Some(stack)) if stack.value.control.deletion.is_some());
            if !going || self.world.laws.is_broken() {
                return;
            }
            self.wait(1_000).await;
        }
        self.world.laws.breach(Law::Settles, format!("{key} is still being deleted"));
    }

    async fn ask_for_the_last(&mut self, number: usize) {
        let draft = Draft::good(LAST);
        self.version(number, draft.clone()).await;
        for word in [Word::Resume, Word::Unpin] {
            self.word(number, word).await;
        }
        let images = draft.services.iter().map(|(name, part)| (name.clone(), part.image.clone())).collect();
        let key = self.world.homes[number].key.clone();
        let held = self.world.ledger.status(&key).ok().flatten().is_some_and(|status| !status.value.held.is_empty());
        self.request(Request::Deploy(key, images), "deploy with the images of the last version".to_owned()).await;
        if held {
            self.word(number, Word::Release).await;
        }
    }

    /// The last version runs, and is known to.
    fn has_arrived(&self, number: usize) -> bool {
        let key = &self.world.homes[number].key;
        let (Ok(Some(stack)), Ok(Some(status))) = (self.world.ledger.stack(key), self.world.ledger.status(key)) else {
            return false;
        };
        let (stack, status) = (stack.value, status.value);
        let Some(swarm) = self.world.swarms.get(&key.environment) else { return false };
        let runs = Draft::good(LAST).services.iter().all(|(name, part)| {
            let live = swarm.service(&format!("{}_{name}", key.name));
            live.is_some_and(|live| live.spec.task_template.container_spec.image == part.image)
        });
        runs && phase(&stack, &status) == StackPhase::Converged && status.observed_generation == stack.generation
    }

    fn report(&self, number: usize) -> String {
        let key = &self.world.homes[number].key;
        let found = self.world.ledger.stack(key).ok().flatten().map(|stack| stack.value);
        let status = self.world.ledger.status(key).ok().flatten().map(|status| status.value).unwrap_or_default();
        let attempt =
            status.attempt.as_ref().and_then(|attempt| self.world.ledger.deployment(&attempt.id).ok().flatten());
        let attempt =
            attempt.map(|it| (it.value.phase, it.value.message, it.value.failure.map(|failure| failure.class)));
        let phase = found.as_ref().map(|stack| phase(stack, &status));
        let generations = (status.observed_generation, found.map(|stack| stack.generation));
        format!("{key} has not become the last version: {phase:?}, generations {generations:?}, attempt {attempt:?}")
    }

    /// What services use that the stack does not own: left running by a deletion, they may use what it owns again.
    fn used_by_others(&self, number: usize, own: &Inventory) -> BTreeSet<ObjectRef> {
        let Some(swarm) = self.world.swarms.get(&self.world.homes[number].key.environment) else {
            return BTreeSet::new();
        };
        let names = swarm.names(ObjectKind::Service).into_iter();
        let others = names.filter(|name| !own.0.contains_key(&ObjectRef::new(ObjectKind::Service, name)));
        let mut used = BTreeSet::new();
        for live in others.filter_map(|name| swarm.service(&name)) {
            let of = &live.spec.task_template.container_spec;
            used.extend(of.configs.iter().map(|it| ObjectRef::new(ObjectKind::Config, &it.config_name)));
            used.extend(of.secrets.iter().map(|it| ObjectRef::new(ObjectKind::Secret, &it.secret_name)));
        }
        used
    }

    /// What the stack owns is what the version needs, and no more, but for what others use.
    fn is_tidy(&self, number: usize) {
        let laws = &self.world.laws;
        if laws.is_broken() {
            return;
        }
        let key = &self.world.homes[number].key;
        laws.settled(key);
        let status = self.world.ledger.status(key).ok().flatten().map(|status| status.value).unwrap_or_default();
        let mut found: BTreeMap<ObjectKind, usize> = BTreeMap::new();
        for object in status.inventory.0.keys() {
            *found.entry(object.kind).or_default() += 1;
        }
        let wanted =
            [(ObjectKind::Network, 1), (ObjectKind::Config, 1), (ObjectKind::Secret, 1), (ObjectKind::Service, 2)];
        let used = self.used_by_others(number, &status.inventory);
        let may_stay =
            |kind| used.iter().filter(|object| object.kind == kind && status.inventory.0.contains_key(object)).count();
        let tidy = wanted.iter().all(|(kind, wanted)| {
            let found = found.get(kind).copied().unwrap_or_default();
            found >= *wanted && found - wanted <= may_stay(*kind)
        });
        if !tidy || found.len() > wanted.len() {
            let names: Vec<String> = status.inventory.0.keys().map(ToString::to_string).collect();
            laws.breach(Law::Settles, format!("{key} has settled, and owns {}", names.join(", ")));
        }
    }

    /// Nothing is written anywhere, and nothing is asked but in the rounds of looking.
    async fn is_quiet(&mut self) {
        if self.world.laws.is_broken() {
            return;
        }
        let revision = self.world.ledger.revision();
        let before: Vec<_> = self.world.swarms.values().map(crate::swarm::sim::SimSwarm::calls).collect();
        self.wait(QUIET * 1_000).await;
        if self.world.laws.is_broken() {
            return;
        }
        if self.world.ledger.revision() != revision {
            self.world.laws.breach(Law::Nothing, "all is settled, and something was written to the store");
        }
        let rounds = QUIET / 270 + 1;
        for ((name, swarm), before) in self.world.swarms.iter().zip(before) {
            let mut calls = swarm.calls();
            calls.iter_mut().for_each(|(kind, count)| *count -= before.get(kind).unwrap_or(&0));
            calls.retain(|_, count| *count > 0);
            let most = |kind| if is_round(kind) { 5 * rounds } else { 0 };
            if calls.iter().any(|(kind, count)| *count > most(*kind)) {
                self.world.laws.breach(Law::Nothing, format!("all is settled, and {name} is asked {calls:?}"));
            }
        }
    }
}
