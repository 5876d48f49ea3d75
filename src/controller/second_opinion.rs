//! An image that the engine calls missing is asked for at its registry, before anybody is blamed for it.

use super::pass::Pass;
use crate::assess::{AssessInput, Assessment, Fault, Verdict, as_the_registry_says, blame, image_in_doubt};
use crate::domain::{Deployment, FailureClass};
use crate::ports::ImageError;

impl Pass<'_> {
    /// The assessment with the registry's word on it. `None` while that is asked for: the stack is woken by the answer.
    pub(super) fn with_second_opinion(
        &self,
        deployment: &Deployment,
        input: &AssessInput<'_>,
        mut assessment: Assessment,
    ) -> Option<Assessment> {
        let (Verdict::Failed(failure) | Verdict::Waiting(failure)) = &assessment.verdict else {
            return Some(assessment);
        };
        let Some(image) = image_in_doubt(input, failure) else { return Some(assessment) };
        let class = match self.answer(deployment, image)? {
            Err(ref error @ ImageError::Denied(_)) => Some((FailureClass::RegistryAuth, error.to_string())),
            Err(ref error @ (ImageError::Unreachable(_) | ImageError::Busy { .. })) => {
                Some((FailureClass::RegistryDown, error.to_string()))
            }
            Ok(_) | Err(ImageError::Missing(_) | ImageError::Engine(_)) => None,
        };
        let Some((class, said)) = class else { return Some(assessment) };
        let failure = as_the_registry_says(input, failure.clone(), image, (class, &said));
        let waits = blame(input, &failure) == Fault::Infrastructure;
        let waits = waits && input.now < input.progress.total_deadline;
        assessment.verdict = if waits { Verdict::Waiting(failure) } else { Verdict::Failed(failure) };
        Some(assessment)
    }
}
