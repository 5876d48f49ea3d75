//! Whether all that is needed is there and answers: looked at afresh, at a person's word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;

use super::environment::{Connection, Observed};
use super::inquiries::Answers;
use crate::domain::{Claim, CredentialName, EnvironmentName, GitSource, ImagesPolicy, Source, registry_of};
use crate::ledger::LedgerError;
use crate::ports::{Area, Finding, Health, ImageError, InquiryError, MOST_REGISTRIES, MOST_SOURCES, SwarmError};

/// So long may one engine or repository take.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many repositories are asked at a time.
const AT_ONCE: usize = 8;
/// A clock that is off by more than this, in seconds, confuses whoever compares logs.
const SKEW: i64 = 5;
/// Less room than this, in bytes or in hundredths of the disk, is little.
const LITTLE_ROOM: (u64, u64) = (512 << 20, 5);

/// Of each environment and registry an image.
type Images = BTreeMap<EnvironmentName, BTreeMap<String, String>>;

impl Answers {
    pub(super) async fn look_at_all(&self) -> Result<Vec<Finding>, InquiryError> {
        let unreadable = |error: LedgerError| InquiryError::Failed(error.to_string());
        let mut findings = vec![self.look_at_store().await];
        findings.extend(self.look_at_disk());
        let environments = self.shared.ledger.environments().map_err(unreadable)?;
        let registries = self.images_by_registry().map_err(unreadable)?;
        let looked = environments.iter().map(|found| {
            let images = registries.get(&found.value.name).cloned().unwrap_or_default();
            self.look_at_environment(&found.value.name, images)
        });
        findings.extend(join_all(looked).await.into_iter().flatten());
        let mut sources: BTreeMap<(String, Option<CredentialName>), GitSource> = BTreeMap::new();
        for stack in self.shared.ledger.stacks(None).map_err(unreadable)? {
            if let Source::Git(git) = stack.value.spec.source {
                sources.entry((git.url.to_string(), git.credential.clone())).or_insert(git);
            }
        }
        let looked = sources.into_values().take(MOST_SOURCES).map(|source| self.look_at_source(source));
        findings.extend(iter(looked).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        findings.sort_by(|a, b| (a.area, &a.subject).cmp(&(b.area, &b.subject)));
        Ok(findings)
    }

    async fn look_at_store(&self) -> Finding {
        let ledger = &self.shared.ledger;
        match ledger.takes_writes().await {
            Ok(()) => good(Area::Store, "records", format!("reads and writes, at revision {}", ledger.revision())),
            Err(error) => {
                let mend = "make room on the disk or mend it, and start the server again";
                bad(Area::Store, "records", error.to_string(), mend)
            }
        }
    }

    fn look_at_disk(&self) -> Option<Finding> {
        Some(match self.shared.ledger.room() {
            Ok(room) => room_left("data folder", room?),
            Err(error) => {
                bad(Area::Disk, "data folder", error.to_string(), "see that the disk is mounted and readable")
            }
        })
    }

    pub(super) async fn look_at_one(&self, name: &EnvironmentName) -> Result<Vec<Finding>, InquiryError> {
        let images = self.images_by_registry().map_err(|error| InquiryError::Failed(error.to_string()))?;
        Ok(self.look_at_environment(name, images.get(name).cloned().unwrap_or_default()).await)
    }

    /// Of each registry that stacks run images of, one image; of stacks that have none looked up, none.
    fn images_by_registry(&self) -> Result<Images, LedgerError> {
        let mut images = Images::new();
        for stack in self.shared.ledger.stacks(None)? {
            if stack.value.spec.policy.images == ImagesPolicy::Never {
                continue;
            }
            let Some(status) = self.shared.ledger.status(&stack.value.key)?.map(|found| found.value) else { continue };
            let version = status.live.or_else(|| status.last_good.map(|good| good.version)).or(status.desired);
            for choice in version.into_iter().flat_map(|version| version.images) {
                let of = images.entry(stack.value.key.environment.clone()).or_default();
                of.entry(registry_of(&choice.image).to_owned()).or_insert(choice.image);
            }
        }
        Ok(images)
    }

    async fn look_at_environment(&self, name: &EnvironmentName, images: BTreeMap<String, String>) -> Vec<Finding> {
        if self.shared.relays.get(name).is_some() {
            // The far Skep is asked beside all this.
            return Vec::new();
        }
        let Some(observed) = self.shared.environments.get(name) else {
            let mend = format!("declare it anew: `skep environment apply {name} --endpoint URL`");
            return vec![bad(Area::Engine, name.as_str(), "its endpoints cannot be used".to_owned(), &mend)];
        };
        let asked = tokio::time::timeout(PATIENCE, observed.swarm.info()).await;
        let info = match asked {
            Ok(Ok(info)) => info,
            Ok(Err(error)) => return vec![unreachable_engine(name.as_str(), &error)],
            Err(_) => {
                let mend = "see how busy the engine is, and what is between here and there";
                return vec![bad(Area::Engine, name.as_str(), format!("no answer in {PATIENCE:?}"), mend)];
            }
        };
        let text = format!("{} answers: engine {}, API {}", info.endpoint, info.engine, info.api);
        let mut findings = vec![good(Area::Engine, name.as_str(), text)];
        findings.push(self.look_at_claim(name.as_str(), &observed));
        let before = self.shared.ambient.now();
        if let Ok(Ok(Some(clock))) = tokio::time::timeout(PATIENCE, observed.swarm.clock()).await {
            let off = clock.as_second() - before.as_second();
            findings.push(match off.abs() > SKEW {
                false => good(Area::Clock, name.as_str(), "the engine's clock agrees with this one".to_owned()),
                true => Finding {
                    health: Health::Doubtful,
                    mend: Some("let both machines set their clocks by NTP".to_owned()),
                    ..good(Area::Clock, name.as_str(), format!("the engine's clock is off by {off} s"))
                },
            });
        }
        let images = images.into_iter().take(MOST_REGISTRIES);
        let looked = images.map(|(registry, image)| look_at_registry(observed.clone(), registry, image));
        findings.extend(join_all(looked).await);
        findings
    }

    fn look_at_claim(&self, name: &str, observed: &Observed) -> Finding {
        let mend = format!("when no other Skep is to keep it: `skep environment claim {name}`");
        match (observed.connection(), observed.claim()) {
            (Connection::Connected(_), Claim::Ours(epoch)) => {
                good(Area::Claim, name, format!("this Skep holds it (epoch {epoch})"))
            }
            (Connection::Connected(_), Claim::Foreign { instance, epoch }) => {
                let text = format!("Skep {instance} holds it (epoch {epoch}); this one only observes");
                bad(Area::Claim, name, text, &mend)
            }
            (Connection::Connected(_), Claim::Unknown) => {
                bad(Area::Claim, name, "nobody holds it; this Skep only observes".to_owned(), &mend)
            }
            _ => Finding {
                health: Health::Doubtful,
                mend: Some("ask again in a moment".to_owned()),
                ..good(Area::Claim, name, "it is just being connected".to_owned())
            },
        }
    }

    async fn look_at_source(&self, source: GitSource) -> Finding {
        let subject = source.url.to_string();
        match tokio::time::timeout(PATIENCE, self.shared.renderer.refs(&source)).await {
            Ok(Ok(refs)) => good(Area::Git, &subject, format!("answers, with {} refs", refs.len())),
            Ok(Err(error)) => {
                let mend = match &source.credential {
                    Some(name) => format!("try `skep credential test {name} {subject}`"),
                    None => "see that the address is right; a private repository needs a `credential`".to_owned(),
                };
                bad(Area::Git, &subject, error.to_string(), &mend)
            }
            Err(_) => {
                bad(Area::Git, &subject, format!("no answer in {PATIENCE:?}"), "see what is between here and there")
            }
        }
    }
}

/// The engine asks, with that registry's login: it is its access that counts.
async fn look_at_registry(observed: Arc<Observed>, registry: String, image: String) -> Finding {
    let subject = format!("{registry} ({})", observed.name);
    let asked = tokio::time::timeout(PATIENCE, observed.swarm.resolve(&image)).await;
    let error = match asked {
        Ok(Ok(found)) => return good(Area::Registry, &subject, format!("has `{image}`: {}", found.digest)),
        Ok(Err(error)) => error,
        Err(_) => ImageError::Unreachable(format!("no answer in {PATIENCE:?}")),
    };
    let text = format!("asked for `{image}`: {error}");
    let mend = match &error {
        ImageError::Missing(_) => "push the image, or give the stack `policy: { images: never }` if it is on the nodes",
        ImageError::Denied(_) => "declare a credential of type Registry for this host; see that its login may pull",
        ImageError::Busy { .. } => "ask again later; a login of your own is asked less of by public registries",
        ImageError::Engine(_) => "see what the engine says; it is the one that asks",
        ImageError::Unreachable(_) => "see that the engine's machine reaches the registry, by its name and over TLS",
    };
    match error {
        ImageError::Missing(_) | ImageError::Busy { .. } => {
            Finding { health: Health::Doubtful, mend: Some(mend.to_owned()), ..good(Area::Registry, &subject, text) }
        }
        _ => bad(Area::Registry, &subject, text, mend),
    }
}

fn unreachable_engine(name: &str, error: &SwarmError) -> Finding {
    let mend = match error {
        SwarmError::NotAManager { .. } => "name a manager among the endpoints, or make this engine one",
        SwarmError::NoQuorum { .. } => "bring managers back until most of them answer",
        SwarmError::Refused { .. } => "see what the credential of the environment holds, and what the engine allows",
        _ => {
            "see that the engine runs, that its endpoint is right, and that this process may open it (the socket's group)"
        }
    };
    bad(Area::Engine, name, error.to_string(), mend)
}

/// What is to be said of a disk.
fn room_left(subject: &str, (free, all): (u64, u64)) -> Finding {
    let text = format!("{} MiB free of {} MiB", free >> 20, all >> 20);
    let little = free < LITTLE_ROOM.0 || free < all / 100 * LITTLE_ROOM.1;
    match little {
        false => good(Area::Disk, subject, text),
        true => Finding {
            health: Health::Doubtful,
            mend: Some("make room: when the disk is full, the store takes no more writes".to_owned()),
            ..good(Area::Disk, subject, text)
        },
    }
}

fn good(area: Area, subject: &str, message: String) -> Finding {
    Finding { area, subject: subject.to_owned(), health: Health::Good, message, mend: None }
}

fn bad(area: Area, subject: &str, message: String, mend: &str) -> Finding {
    Finding { area, subject: subject.to_owned(), health: Health::Bad, message, mend: Some(mend.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_told_before_there_is_none() {
        let health = |free, all| room_left("x", (free, all)).health;
        assert_eq!(health(10 << 30, 100 << 30), Health::Good);
        assert_eq!(health(100 << 20, 1 << 30), Health::Doubtful);
        assert_eq!(health(4 << 30, 100 << 30), Health::Doubtful);
    }
}
