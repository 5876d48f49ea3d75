//! The images of a new version, pinned to what their tags stand for when it was asked for, with the platforms they are
//! there for: every node runs the same, also when the tag moves meanwhile.
//!
//! - `changed`: a service whose image is written as it was in the last good version keeps that one's digest. Otherwise the
//!   registry is asked; one that does not answer, or does not have it, is a warning, and the tag is sent as it is: the
//!   nodes may have the image all the same.
//! - While a stack is taken over, what runs is what is kept: with its digest, or without one.
//! - `always`: the registry is asked each time, and without its answer there is no deployment.
//! - `never`: the tag is sent as it is, unless the last good version has a digest for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::apply::Carried;
use super::environment::Connection;
use super::images::{Answer, ENGINE_LEFT_ALONE, LEFT_ALONE};
use super::pass::{Next, Pass, PassError};
use super::prepare::Prepared;
use super::rendition::Rendition;
use crate::domain::{
    ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentPhase as Phase, DesiredService, Failure,
    FailureClass, IMAGE_LABEL, ImagesPolicy, Platform, Reason, ServiceSpec,
};
use crate::ports::{ImageError, ResolvedImage};

/// What was found for each image that is not pinned; or why it is sent as it is.
type Found = BTreeMap<String, Result<ResolvedImage, ImageError>>;

impl Pass<'_> {
    /// The version with its images pinned, when all answers are there.
    pub(super) fn with_pinned_images(
        &mut self,
        deployment: &mut Deployment,
        rendition: Arc<Rendition>,
    ) -> Result<Prepared, PassError> {
        let looking = self.looks_for_the_way_back(deployment, &rendition);
        let open = unpinned(&rendition, deployment);
        if rendition.pinned || open.is_empty() {
            return self.ready_with_a_way_back(deployment, rendition, looking);
        }
        let mut pinned = Rendition { pinned: true, ..Rendition::clone(&rendition) };
        let policy = self.stack.spec.policy.images;
        let known = self.known_pins(deployment, policy, &open)?;
        let mut wanted: Vec<String> = Vec::new();
        for service in pinned.desired.all_services_mut().filter(|service| open.contains(&service.spec.name)) {
            match known.get(&service.spec.name).filter(|known| same_text(known, &service.spec)) {
                Some(known) => keep(service, known),
                None if policy != ImagesPolicy::Never => wanted.push(image(&service.spec).to_owned()),
                None => {}
            }
        }
        let found = match self.look_up_all(deployment, &wanted)? {
            Ok(found) => found,
            Err(waits) => return Ok(waits),
        };
        for service in pinned.desired.all_services_mut() {
            if let Some(Ok(resolved)) = found.get(image(&service.spec)) {
                pin(&mut service.spec, resolved);
            }
        }
        for (image, answer) in &found {
            if let Err(why) = answer {
                pinned.warnings.push(match image.contains('@') {
                    true => format!("it is not known which platforms image `{image}` is there for: {why}"),
                    false => format!("image `{image}` is not pinned to a digest: {why}"),
                });
            }
        }
        pinned.digest = pinned.desired.digest(&self.shared.renderer.digester());
        let pinned = Arc::new(pinned);
        self.shared.renditions.put(self.key(), &deployment.id, pinned.clone());
        self.ready_with_a_way_back(deployment, pinned, looking)
    }

    /// The version, unless the registry is still `looking` for the images of the last good one.
    fn ready_with_a_way_back(
        &mut self,
        deployment: &Deployment,
        rendition: Arc<Rendition>,
        looking: Option<Timestamp>,
    ) -> Result<Prepared, PassError> {
        let Some(until) = looking else { return Ok(Prepared::Ready(rendition)) };
        let text = "asking the registry for the images of the last good version".to_owned();
        self.wait_for_registry(deployment.clone(), text, Some(until))
    }

    /// The services of the last good version, by name, whose digests are kept where the text is the same; of a stack that
    /// is taken over, those that run.
    fn known_pins(
        &mut self,
        deployment: &Deployment,
        policy: ImagesPolicy,
        open: &[String],
    ) -> Result<BTreeMap<String, Box<ServiceSpec>>, PassError> {
        if self.is_adopting() {
            let live = self.environment.snapshot();
            let runs = |name: &String| Some((name.clone(), Box::new(live.services.get(name)?.spec.clone())));
            return Ok(open.iter().filter_map(runs).collect());
        }
        // Going on after a restart: what was found before the digest of the version was recorded is found again.
        let again = deployment.version.digest.is_some();
        if policy == ImagesPolicy::Always && !again {
            return Ok(BTreeMap::new());
        }
        match self.last_good_rendition() {
            Ok(good) => Ok(good.map_or_else(BTreeMap::new, |good| {
                good.desired.all_services().map(|service| (service.spec.name.clone(), service.spec.clone())).collect()
            })),
            Err(PassError::Rendition(_)) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    /// What all these images stand for; or what is waited for, or how it ended.
    fn look_up_all(
        &mut self,
        deployment: &mut Deployment,
        images: &[String],
    ) -> Result<Result<Found, Prepared>, PassError> {
        let mut found = Found::new();
        if images.is_empty() {
            return Ok(Ok(found));
        }
        if !matches!(self.environment.connection(), Connection::Connected(_)) {
            self.may_write();
            return Ok(Err(match self.wait_to_write(deployment.clone())? {
                Carried::Wait(next) => Prepared::Wait(next),
                Carried::All | Carried::Ended => Prepared::Ended,
            }));
        }
        let mut asking = false;
        let mut failed = None;
        for image in images {
            match self.answer(deployment, image) {
                None => asking = true,
                Some(Err(error @ ImageError::Engine(_))) => failed = Some((image.clone(), error)),
                Some(Err(error)) if self.stack.spec.policy.images == ImagesPolicy::Always => {
                    failed = Some((image.clone(), error));
                }
                Some(answer) => drop(found.insert(image.clone(), answer)),
            }
        }
        if asking {
            let text = "asking the registry what the images stand for".to_owned();
            return self.wait_for_registry(deployment.clone(), text, None).map(Err);
        }
        match failed {
            None => Ok(Ok(found)),
            Some((image, error)) => self.no_digest(deployment.clone(), &image, &error).map(Err),
        }
    }

    pub(super) fn answer(&self, deployment: &Deployment, image: &str) -> Option<Answer> {
        self.shared.look_up(&self.environment, image, (self.key(), deployment.known_since()))
    }

    fn wait_for_registry(
        &mut self,
        mut deployment: Deployment,
        text: String,
        again: Option<Timestamp>,
    ) -> Result<Prepared, PassError> {
        let deadline = self.deadline(&deployment);
        self.enter(&mut deployment, Phase::Rendering, text);
        self.put(deployment);
        Ok(Prepared::Wait(Next::At(again.map_or(deadline, |again| again.min(deadline)))))
    }

    /// There is no answer that the policy lets the deployment go on with.
    fn no_digest(&mut self, deployment: Deployment, image: &str, error: &ImageError) -> Result<Prepared, PassError> {
        let text = format!("image `{image}`: {error}");
        let (class, wait) = match error {
            ImageError::Missing(_) => (FailureClass::ImageMissing, None),
            ImageError::Denied(_) => (FailureClass::RegistryAuth, None),
            ImageError::Engine(_) => (FailureClass::EngineUnreachable, Some(ENGINE_LEFT_ALONE)),
            ImageError::Busy { retry_after, .. } => {
                (FailureClass::RegistryDown, Some(retry_after.unwrap_or(LEFT_ALONE)))
            }
            ImageError::Unreachable(_) => (FailureClass::RegistryDown, Some(LEFT_ALONE)),
        };
        if let Some(wait) = wait.filter(|_| self.now < self.deadline(&deployment)) {
            let again = self.now.checked_add(wait).unwrap_or(self.now);
            self.waiting = Some((Reason::InfrastructureUnavailable, text.clone()));
            return self.wait_for_registry(deployment, text, Some(again));
        }
        self.say(Kind::Rendered, Is::False, Reason::ImageMissing, &text);
        self.fail(deployment, Failure::new(class, text))?;
        Ok(Prepared::Ended)
    }
}

/// The names of the services whose image names no digest; and of those that follow one: the platforms are not known.
fn unpinned(rendition: &Rendition, deployment: &Deployment) -> Vec<String> {
    let follows = |key: &String| deployment.version.followed.get(key).is_some_and(|it| it.digest.is_some());
    let services = rendition.desired.all_services();
    let open = services.filter(|service| !image(&service.spec).contains('@') || follows(&service.key));
    open.map(|service| service.spec.name.clone()).collect()
}

fn image(spec: &ServiceSpec) -> &str {
    &spec.task_template.container_spec.image
}

/// Whether two services have their image written alike.
fn same_text(known: &ServiceSpec, wanted: &ServiceSpec) -> bool {
    known.labels.get(IMAGE_LABEL) == wanted.labels.get(IMAGE_LABEL)
        && image(known).split('@').next() == image(wanted).split('@').next()
}

/// Takes over what was found before for the same image.
fn keep(service: &mut DesiredService, known: &ServiceSpec) {
    let platforms = known.task_template.placement.as_ref().map(|placement| placement.platforms.clone());
    if let Some((_, digest)) = image(known).split_once('@') {
        let resolved = ResolvedImage { digest: digest.to_owned(), platforms: platforms.unwrap_or_default() };
        pin(&mut service.spec, &resolved);
    }
}

/// Pins an image. Platforms that the file names itself stay as they are.
fn pin(spec: &mut ServiceSpec, resolved: &ResolvedImage) {
    if !image(spec).contains('@') {
        spec.task_template.container_spec.image = format!("{}@{}", image(spec), resolved.digest);
    }
    let platforms: &Vec<Platform> = &resolved.platforms;
    let placement = spec.task_template.placement.get_or_insert_default();
    if placement.platforms.is_empty() {
        placement.platforms.clone_from(platforms);
    }
}
