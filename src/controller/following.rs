//! Images that a stack follows: which version each is to be, when that makes a new deployment, and what is said of it.
//!
//! A deployment's versions are found once and then kept, like its commit. A newer one becomes a deployment of its own, at the
//! commit that is deployed; it waits behind a pin, and for approval, schedule and suspension like what git brings.

mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use self::place::{Lack, Place, Places, places, put_versions};
use super::pass::{Next, Pass, PassError};
use super::prepare::Prepared;
use super::rendition::Rendition;
use super::repositories::{Look, Want};
use crate::domain::{
    Choice, Chosen, ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentPhase as Phase, EventType,
    Failed, Failure, FailureClass, FollowedStatus, FollowedVersion, FollowedVersions, Pointer, Reason, Repository,
    Revision, StackSpec, Trigger, Version, VersionSource, choose,
};
use crate::ports::RegistryError;

/// An image that cannot be had is looked for again after this time, while a deployment waits for it.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// What is to be said of one service.
struct Finding {
    version: Result<FollowedVersion, Lack>,
    skipped: Vec<String>,
    /// The newest look failed: what is known is older.
    stale: Option<RegistryError>,
    begun: Option<jiff::Timestamp>,
}

impl Pass<'_> {
    /// Looks at what the followed images are to be, and makes a deployment of what is new.
    pub(super) fn follow_images(&mut self) -> Result<(), PassError> {
        let places = self.known_places();
        if self.stack.spec.followed_images().next().is_none() {
            self.shared.repositories.leave(self.key());
            self.status.followed.clear();
            self.status.conditions.retain(|condition| condition.kind != Kind::ImagesReady);
            return Ok(());
        }
        self.status.followed.retain(|service, _| places.contains_key(service));
        if places.is_empty() {
            return Ok(());
        }
        let desired = self.status.desired.clone();
        let revision = desired.as_ref().and_then(|desired| desired.revision.clone());
        let findings = self.find(&places, revision.as_ref(), None)?;
        self.note_images(&places, &findings);
        let attempt = self.attempt()?;
        // What is still to be found for it is found as it is prepared.
        let open = attempt.as_ref().is_some_and(|attempt| !attempt.phase.is_terminal() && wants_versions(attempt));
        match desired {
            Some(desired) if !open && desired.generation == self.stack.generation => {
                self.follow_versions(desired, &findings)
            }
            _ => Ok(()),
        }
    }

    /// Where the images are, as far as a rendering has told.
    fn known_places(&self) -> Places {
        let spec = &self.stack.spec;
        spec.followed_images()
            .filter_map(|(service, followed)| {
                let repository = self.status.followed.get(service)?.repository.clone();
                Some((service.clone(), Place { followed: followed.clone(), repository }))
            })
            .collect()
    }

    /// Versions that are not those asked for last become a deployment, or are shown as waiting behind a pin.
    fn follow_versions(&mut self, desired: Pointer, findings: &BTreeMap<String, Finding>) -> Result<(), PassError> {
        let mut versions = desired.followed.clone();
        let mut changed = Vec::new();
        for (service, finding) in findings {
            let Ok(version) = &finding.version else { continue };
            if !versions.get(service).is_some_and(|known| is_same(known, version)) {
                versions.insert(service.clone(), version.clone());
                changed.push(format!("`{service}` is {version} now"));
            }
        }
        if changed.is_empty() || findings.keys().any(|service| !versions.contains_key(service)) {
            return Ok(());
        }
        // What runs well already is not brought anew for a version that failed: the failure stays to be seen.
        let held = desired.digest.as_ref().is_some_and(|digest| self.status.is_held(digest));
        let good = self.status.last_good.as_ref().map(|good| &good.version.followed);
        let back = |(service, version): (&String, &FollowedVersion)| {
            desired.followed.get(service).is_some_and(|asked| is_same(asked, version))
                || good.and_then(|good| good.get(service)).is_some_and(|good| is_same(good, version))
        };
        if held && versions.iter().all(back) {
            return Ok(());
        }
        let text = changed.join(", ");
        if self.stack.control.pin.is_some() && !planted!("a push does not wait behind a pin") {
            self.status.desired = Some(Pointer { followed: versions, digest: None, ..desired });
            self.event(EventType::Waiting, None, "WaitingForPin", format!("{text}: that waits behind the pin"));
            return Ok(());
        }
        let version = Version {
            source: VersionSource::Spec(Box::new(self.stack.spec.clone())),
            revision: desired.revision,
            images: Vec::new(),
            followed: versions,
            digest: None,
        };
        let deployment = self.new_deployment(Trigger::Image, version, text);
        self.end_all(
            Some(&deployment.id),
            self.status.seen.clone().as_ref(),
            Phase::Superseded,
            &format!("deployment {} came after it", deployment.id),
        )?;
        self.attempt_now(&deployment);
        self.put(deployment);
        Ok(())
    }

    /// What each followed service is to be, by what is known of its repository now. With `newer_than`, a look at each is asked
    /// for unless one was begun after that time.
    fn find(
        &mut self,
        places: &Places,
        revision: Option<&Revision>,
        newer_than: Option<jiff::Timestamp>,
    ) -> Result<BTreeMap<String, Finding>, PassError> {
        let mut failed = BTreeMap::new();
        for service in places.keys() {
            failed.insert(service.clone(), self.failed_versions(service, revision)?);
        }
        let mut wants: BTreeMap<Repository, Want> = BTreeMap::new();
        for place in places.values() {
            let poll = place.followed.poll;
            let want = wants.entry(place.repository.clone()).or_insert_with(|| Want {
                tags: false,
                digests: BTreeSet::new(),
                poll,
            });
            want.poll = want.poll.min(poll);
            want.tags |= place.followed.rule.one_tag().is_none();
        }
        // What is worth watching depends on what is known already.
        let mut chosen = BTreeMap::new();
        for (service, place) in places {
            let look = self.shared.repositories.known(&place.repository).unwrap_or_default();
            let choice = self.choose(service, place, &look, &failed);
            if let Some(want) = wants.get_mut(&place.repository) {
                want.digests.extend(choice.watched.iter().cloned());
            }
            chosen.insert(service.clone(), choice);
        }
        let looks = self.shared.repositories.follow(&self.stack.key, &wants, newer_than);
        Ok(places
            .iter()
            .map(|(service, place)| {
                let look = looks.get(&place.repository).cloned().unwrap_or_default();
                let chosen = self.choose(service, place, &look, &failed);
                (service.clone(), self.finding(service, place, look, chosen))
            })
            .collect())
    }

    fn choose(&self, service: &str, place: &Place, look: &Look, failed: &BTreeMap<String, Vec<Failed>>) -> Chosen {
        let good = self.good_version(service, &place.repository);
        let failed = failed.get(service).map_or(&[][..], Vec::as_slice);
        let mut seen = look.seen.clone();
        if look.error.is_some() && place.followed.rule.one_tag().is_none() {
            // It cannot be asked whether what failed was pushed anew: it was not.
            for failed in failed {
                seen.digests.entry(failed.tag.clone()).or_insert(None);
            }
        }
        choose(&place.followed.rule, &seen, failed, good.as_ref())
    }

    fn finding(&self, service: &str, place: &Place, look: Look, chosen: Chosen) -> Finding {
        let known = || {
            let known = self.status.followed.get(service)?;
            let same = known.rule == place.followed.rule && known.repository == place.repository;
            let failed = place.followed.rule.one_tag().is_none();
            let failed = |version: &FollowedVersion| failed && chosen.watched.contains(&version.tag);
            known.version.clone().filter(|version| same && !failed(version))
        };
        let version = match (chosen.choice.clone(), &look.error) {
            (Choice::Version(version), _) => Ok(version),
            // What was found before is found as long as nobody says otherwise.
            (Choice::Ask(_), error) => known().ok_or_else(|| match error {
                Some(error) => Lack::Registry(error.clone()),
                None => Lack::Asking,
            }),
            (_, Some(error)) => Err(Lack::Registry(error.clone())),
            (Choice::Nothing(why), None) => Err(Lack::Nothing(why)),
            (Choice::AllFailed, None) => Err(Lack::AllFailed),
        };
        Finding { version, skipped: chosen.skipped, stale: look.error, begun: look.begun }
    }

    /// The version of a service that runs well, if its image is in this repository.
    fn good_version(&self, service: &str, repository: &Repository) -> Option<FollowedVersion> {
        let good = &self.status.last_good.as_ref()?.version;
        let image = &good.images.iter().find(|choice| choice.service == service)?.image;
        good.followed.get(service).filter(|_| Repository::of_image(image) == *repository).cloned()
    }

    /// The versions of a service that failed here. Where the commit or the spec changed along with the image, it may be that
    /// which failed: then the version counts as failed only with that commit and spec.
    fn failed_versions(&mut self, service: &str, revision: Option<&Revision>) -> Result<Vec<Failed>, PassError> {
        let good = self.status.last_good.as_ref().and_then(|good| good.version.followed.get(service)).cloned();
        let mut failed = Vec::new();
        for held in self.status.held.clone() {
            let Some(version) = held.version.followed.get(service) else { continue };
            if good.as_ref() == Some(version) {
                continue;
            }
            let same = held.version.revision.as_ref() == revision && held.version.generation == self.stack.generation;
            let alone = || {
                let found = self.shared.ledger.deployment(&held.version.deployment);
                found.map(|found| found.is_none_or(|found| found.value.origin.trigger == Trigger::Image))
            };
            if !same && !alone()? {
                continue;
            }
            let known = held.version.images.iter().find(|choice| choice.service == service);
            let digest = version.digest.clone().or_else(|| known.and_then(|choice| choice.digest.clone()));
            failed.push(Failed { tag: version.tag.clone(), digest });
        }
        Ok(failed)
    }

    /// Writes down what was found, and says so.
    fn note_images(&mut self, places: &Places, findings: &BTreeMap<String, Finding>) {
        for (service, place) in places {
            let Some(finding) = findings.get(service) else { continue };
            let known = self.status.followed.get(service).cloned();
            let rule = &place.followed.rule;
            let before = known.as_ref().filter(|it| it.rule == *rule && it.repository == place.repository);
            let version = finding.version.as_ref().ok().cloned().or_else(|| before.and_then(|it| it.version.clone()));
            let same = before.is_some_and(|it| it.version == version);
            let since = if same { before.and_then(|it| it.since) } else { version.as_ref().map(|_| self.now) };
            let error = match (&finding.version, &finding.stale) {
                (Err(Lack::Asking), _) => before.and_then(|it| it.error.clone()),
                (_, Some(error)) => Some(error.to_string()),
                (Err(lack), None) => Some(lack.sentence(place)),
                (Ok(_), None) => None,
            };
            let status = FollowedStatus {
                rule: rule.clone(),
                repository: place.repository.clone(),
                version,
                since,
                skipped: finding.skipped.clone(),
                error,
            };
            if known.as_ref() != Some(&status) {
                self.status.followed.insert(service.clone(), status);
            }
        }
        self.say_images(places, findings);
    }

    fn say_images(&mut self, places: &Places, findings: &BTreeMap<String, Finding>) {
        let mut worst: Option<(Is, Reason, String)> = None;
        for (service, place) in places {
            let Some(finding) = findings.get(service) else { continue };
            let said = match (&finding.version, &finding.stale) {
                (Err(Lack::Asking), _) => Some((Is::Unknown, Lack::Asking)),
                (_, Some(error)) => Some((Is::False, Lack::Registry(error.clone()))),
                (Err(Lack::Nothing(why)), None) => Some((Is::False, Lack::Nothing(why.clone()))),
                (Err(Lack::AllFailed), None) => Some((Is::False, Lack::AllFailed)),
                _ => None,
            };
            let Some((is, lack)) = said else { continue };
            if worst.as_ref().is_none_or(|(known, ..)| *known == Is::Unknown && is == Is::False) {
                worst = Some((is, lack.reason(), format!("{service}: {}", lack.sentence(place))));
            }
        }
        let before = self.status.condition(Kind::ImagesReady).map(|it| (it.status, it.message.clone()));
        // That something is asked is no news of what was known before.
        if before.is_some() && worst.as_ref().is_some_and(|(is, ..)| *is == Is::Unknown) {
            return;
        }
        let failed = |it: &Option<(Is, String)>| it.as_ref().is_some_and(|(is, _)| *is == Is::False);
        match worst {
            Some((is, reason, text)) => {
                if is == Is::False && before.as_ref().is_none_or(|(_, known)| *known != text) {
                    self.event(EventType::ImagesFailed, None, &format!("{reason:?}"), text.clone());
                }
                self.say(Kind::ImagesReady, is, reason, text);
            }
            None => {
                if failed(&before) {
                    let text = "the images that are followed are found again";
                    self.event(EventType::ImagesRecovered, None, "Succeeded", text);
                }
                self.say(Kind::ImagesReady, Is::True, Reason::Succeeded, "the images that are followed are found");
            }
        }
    }

    /// Fixes what the followed images of an attempt are, once and for all, and puts that into its objects.
    pub(super) fn with_followed_images(
        &mut self,
        deployment: &mut Deployment,
        rendition: Arc<Rendition>,
    ) -> Result<Prepared, PassError> {
        let VersionSource::Spec(spec) = deployment.version.source.clone() else {
            return Ok(Prepared::Ready(rendition));
        };
        if rendition.pinned || spec.followed_images().next().is_none() {
            return Ok(Prepared::Ready(rendition));
        }
        if wants_versions(deployment) {
            let places = match places(&spec, &rendition) {
                Ok(places) => places,
                Err(error) => {
                    self.say(Kind::Rendered, Is::False, Reason::RenderFailed, &error);
                    self.fail(deployment.clone(), Failure::new(FailureClass::Render, error))?;
                    return Ok(Prepared::Ended);
                }
            };
            let revision = deployment.version.revision.clone();
            let mut findings = self.find(&places, revision.as_ref(), None)?;
            // A refusal has to be as new as what was asked.
            let old = |finding: &Finding| {
                finding.version.is_err() && finding.begun.is_none_or(|begun| begun < deployment.known_since())
            };
            if findings.values().any(old) {
                findings = self.find(&places, revision.as_ref(), Some(deployment.known_since()))?;
                findings.values_mut().filter(|it| old(it)).for_each(|it| it.version = Err(Lack::Asking));
            }
            self.note_images(&places, &findings);
            let lack = findings.iter().find_map(|(service, finding)| match &finding.version {
                Err(lack) => Some((service.clone(), lack)),
                Ok(_) => None,
            });
            if let Some((service, lack)) = lack {
                let Some(place) = places.get(&service) else { return Ok(Prepared::Ended) };
                return self.no_version(deployment.clone(), &service, place, lack);
            }
            let found = findings.into_iter().filter_map(|(service, it)| Some((service, it.version.ok()?)));
            deployment.version.followed = found.collect();
            self.status.desired = Some(Self::pointer(deployment));
            self.put(deployment.clone());
        }
        let mut followed = Rendition::clone(&rendition);
        put_versions(&mut followed, &deployment.version.followed, &self.shared.renderer);
        Ok(Prepared::Ready(Arc::new(followed)))
    }

    /// There is no version for a service: it is waited for, or the deployment has failed and nothing was changed.
    fn no_version(
        &mut self,
        mut deployment: Deployment,
        service: &str,
        place: &Place,
        lack: &Lack,
    ) -> Result<Prepared, PassError> {
        let text = format!("image of `{service}`: {}", lack.sentence(place));
        let deadline = self.deadline(&deployment);
        let waits = match lack {
            Lack::Asking => Some(deadline),
            Lack::Registry(error) if error.is_transient() => {
                self.waiting = Some((Reason::InfrastructureUnavailable, text.clone()));
                Some(self.now.checked_add(AGAIN).unwrap_or(deadline).min(deadline))
            }
            _ => None,
        };
        if let Some(again) = waits.filter(|_| self.now < deadline) {
            self.enter(&mut deployment, Phase::Rendering, text);
            self.put(deployment);
            return Ok(Prepared::Wait(Next::At(again)));
        }
        let class = match lack {
            Lack::AllFailed => {
                self.enter(&mut deployment, Phase::Failed, text);
                self.status.desired = Some(Self::pointer(&deployment));
                self.put(deployment);
                return Ok(Prepared::Ended);
            }
            Lack::Nothing(_) | Lack::Registry(RegistryError::NotFound { .. }) => FailureClass::ImageMissing,
            Lack::Registry(error) if error.is_about_trust() => FailureClass::RegistryAuth,
            Lack::Registry(RegistryError::Forbidden { .. }) => FailureClass::Preflight,
            Lack::Registry(_) | Lack::Asking => FailureClass::RegistryDown,
        };
        self.say(Kind::Rendered, Is::False, lack.reason(), &text);
        self.status.desired = Some(Self::pointer(&deployment));
        self.fail(deployment, Failure::new(class, text))?;
        Ok(Prepared::Ended)
    }

    /// What the followed images are by now, for a question that changes nothing; and what is not known.
    pub(super) fn followed_now(&self, spec: &StackSpec, rendition: &mut Rendition) {
        let known: FollowedVersions = spec
            .followed_images()
            .filter_map(|(service, followed)| {
                let known = self.status.followed.get(service).filter(|it| it.rule == followed.rule)?;
                Some((service.clone(), known.version.clone()?))
            })
            .collect();
        for (service, followed) in spec.followed_images().filter(|(service, _)| !known.contains_key(*service)) {
            let rule = &followed.rule;
            rendition.warnings.push(format!("image of `{service}`: what fits `{rule}` is not known yet"));
        }
        put_versions(rendition, &known, &self.shared.renderer);
    }
}

/// Whether it has still to be found what the followed images of a deployment are.
fn wants_versions(deployment: &Deployment) -> bool {
    let VersionSource::Spec(spec) = &deployment.version.source else { return false };
    spec.followed_images().any(|(service, _)| !deployment.version.followed.contains_key(service))
}

/// Whether two findings are the same version: of a range the tag tells, and the digest only where both have it.
fn is_same(one: &FollowedVersion, other: &FollowedVersion) -> bool {
    one.tag == other.tag && (one.digest == other.digest || one.digest.is_none() || other.digest.is_none())
}
