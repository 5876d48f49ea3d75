//! What must run before a new version of a stack is applied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConditionStatus, ConditionType, ImageChoice, Range, Stack, StackKey, StackStatus, tag_version};

/// A stack that must be ready first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The stack.
    pub stack: StackKey,
    /// What must run there: by service a range of versions over the image's tag, or a tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
}

impl Dependency {
    /// What is missing, as a phrase; `None` when the dependency is met: what is declared there runs, proven, and in the
    /// versions that are asked for. A stack that went back to its last good version is not ready. No more is told of the
    /// other stack: not everyone who sees this one may see that.
    #[must_use]
    pub fn unmet(&self, found: Option<(&Stack, &StackStatus)>) -> Option<String> {
        let name = &self.stack;
        let Some((stack, status)) = found else { return Some(format!("stack `{name}` is not there")) };
        if stack.control.deletion.is_some() {
            return Some(format!("stack `{name}` is being deleted"));
        }
        let ready = status.condition(ConditionType::Ready);
        if status.observed_generation != stack.generation || ready.is_none_or(|it| it.status != ConditionStatus::True) {
            return Some(format!("stack `{name}` is not ready"));
        }
        let live = status.live.as_ref().map_or(&[][..], |live| &live.images);
        let unmet = self
            .images
            .iter()
            .find(|(service, wanted)| !live.iter().any(|image| image.service == **service && is(image, wanted)));
        unmet.map(|(service, wanted)| format!("stack `{name}` does not run `{service}` at {wanted}"))
    }
}

/// Whether an image is the one that is wanted: its tag is in the range, or is this word.
fn is(image: &ImageChoice, wanted: &str) -> bool {
    let name = image.image.split('@').next().unwrap_or_default();
    let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/')).unwrap_or("latest");
    tag == wanted
        || matches!((Range::parse(wanted), tag_version(tag)), (Some(range), Some(version)) if range.holds(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_wanted_by_its_tag() {
        let is = |image: &str, wanted| {
            let image = ImageChoice { service: "api".into(), image: image.into(), digest: None };
            super::is(&image, wanted)
        };
        assert!(is("shop/api:1.4.2", ">=1.4 <2") && is("host:5000/api:v1.4.2@sha256:00", "~1.4"));
        assert!(is("api:green", "green") && is("host:5000/api", "latest"));
        assert!(!is("api:1.3.9", ">=1.4") && !is("api:green", ">=1") && !is("host:5000/api", "5000/api"));
    }
}
