//! Engines before 29 say `No such image` of whatever they could not pull. What the registry itself says tells more.

use super::AssessInput;
use crate::domain::{Failure, FailureClass, registry_of};

/// The image of the service that a failure is about, when the engine says that it is missing: the registry may know why.
#[must_use]
pub fn image_in_doubt<'a>(input: &AssessInput<'a>, failure: &Failure) -> Option<&'a str> {
    let key = failure.service.as_deref().filter(|_| failure.class == FailureClass::ImageMissing)?;
    let service = input.target.services.values().find(|service| service.key == key)?;
    Some(&service.spec.task_template.container_spec.image)
}

/// The failure with what the registry said of its image: it does not let the engine see it, or does not answer.
///
/// That a registry is silent says something only where one is in use: the image names it, or the last good version's image
/// has been found in it. Images that were put on the nodes by hand are missing, not out of reach.
#[must_use]
pub fn as_the_registry_says(
    input: &AssessInput<'_>,
    mut failure: Failure,
    image: &str,
    (class, said): (FailureClass, &str),
) -> Failure {
    let named = registry_of(image) != registry_of("x") || image.starts_with("docker.io/");
    let found = input
        .last_good
        .into_iter()
        .flat_map(|good| good.services.values())
        .filter(|service| Some(service.key.as_str()) == failure.service.as_deref())
        .map(|service| service.spec.task_template.container_spec.image.as_str())
        .any(|good| good.contains('@') && registry_of(good) == registry_of(image));
    if class == FailureClass::RegistryAuth || (class == FailureClass::RegistryDown && (named || found)) {
        failure.class = class;
        failure.error = format!("{} ({said})", failure.error);
    }
    failure
}
