//! Where a followed image is, why there is no version of it, and how one gets into the objects.

use std::collections::BTreeMap;

use crate::controller::rendition::{Renderer, Rendition};
use crate::domain::{FollowedImage, FollowedVersions, IMAGE_LABEL, Reason, Repository, StackSpec, name_of};
use crate::ports::RegistryError;

/// A followed service: its rule, and where its image is.
pub(super) struct Place {
    pub(super) followed: FollowedImage,
    pub(super) repository: Repository,
}

pub(super) type Places = BTreeMap<String, Place>;

/// Why there is no version for a service.
pub(super) enum Lack {
    /// It is being asked.
    Asking,
    /// The registry gives no answer.
    Registry(RegistryError),
    /// Nothing fits.
    Nothing(String),
    /// All that fits has failed here.
    AllFailed,
}

impl Lack {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Asking => Reason::Progressing,
            Self::Registry(error) if error.is_about_trust() => Reason::AuthenticationFailed,
            Self::Registry(RegistryError::NotFound { .. }) => Reason::ImageMissing,
            Self::Registry(_) => Reason::RegistryUnreachable,
            Self::Nothing(_) => Reason::NothingFits,
            Self::AllFailed => Reason::Held,
        }
    }

    pub(super) fn sentence(&self, place: &Place) -> String {
        let (rule, repository) = (&place.followed.rule, &place.repository);
        match self {
            Self::Asking => format!("asking `{repository}` what fits `{rule}`"),
            Self::Registry(error) => error.to_string(),
            Self::Nothing(why) => format!("nothing of `{repository}` fits `{rule}`: {why}"),
            Self::AllFailed => {
                format!(
                    "all that fits `{rule}` of `{repository}` failed here and is held; `release-hold` tries it again"
                )
            }
        }
    }
}

/// Where the images of the followed services are, by the files.
pub(super) fn places(spec: &StackSpec, rendition: &Rendition) -> Result<Places, String> {
    let mut places = Places::new();
    for (service, followed) in spec.followed_images() {
        let Some(found) = rendition.desired.all_services().find(|found| found.key == *service) else {
            let known: Vec<&str> = rendition.desired.all_services().map(|found| found.key.as_str()).collect();
            return Err(format!(
                "images.{service}: there is no service `{service}`; the services are {}",
                known.join(", ")
            ));
        };
        let repository = Repository::of_image(&found.spec.task_template.container_spec.image);
        places.insert(service.clone(), Place { followed: followed.clone(), repository });
    }
    Ok(places)
}

/// Has the services run these versions.
pub(super) fn put_versions(rendition: &mut Rendition, versions: &FollowedVersions, renderer: &Renderer) {
    if versions.is_empty() {
        return;
    }
    for service in rendition.desired.all_services_mut() {
        let Some(version) = versions.get(&service.key) else { continue };
        let image = &mut service.spec.task_template.container_spec.image;
        let name = name_of(image);
        *image = match &version.digest {
            Some(digest) => format!("{name}:{}@{digest}", version.tag),
            None => format!("{name}:{}", version.tag),
        };
        let text = image.clone();
        if let Some(label) = service.spec.labels.get_mut(IMAGE_LABEL) {
            *label = text;
        }
    }
    rendition.digest = rendition.desired.digest(&renderer.digester());
}
