//! The jobs that run for a deployment: the service of each run, and whether it can be made.

use super::adopt;
use super::ownership::{is_protected, owner, stamp, takes_over};
use super::waves::PlannedJob;
use super::{Owner, Plan, PlanInput, Refusal};
use crate::domain::{Course, HOOK_LABEL, LiveService, ObjectKind, ObjectRef, Occasion, When};

/// What would have to change of a service that stands under a job's name.
const BECOMES_A_JOB: &str = "it is a service, and is to be a job that runs before or after deployments";

/// Whether a service of the Swarm is one run of a job.
#[must_use]
pub fn is_job_run(live: &LiveService) -> bool {
    live.spec.labels.contains_key(HOOK_LABEL)
}

/// Plans the jobs of this course. A service that stands under a job's name is taken over as it is with the rest of its
/// stack; it is removed when the job runs for the first time.
pub(super) fn jobs(input: &PlanInput<'_>, plan: &mut Plan) {
    if input.course == Course::Adopt {
        for name in input.desired.jobs.keys() {
            let object = ObjectRef::new(ObjectKind::Service, name);
            if let Some(live) = input.live.services.get(name)
                && takes_over(input, &object, &live.id, &live.spec.labels)
            {
                adopt::own(plan, object, &live.id, "taken over as it is: it is removed when the job runs");
            }
        }
    }
    let Some(direction) = input.course.direction() else { return };
    for when in [When::Pre, When::Post] {
        for (name, job) in input.desired.jobs_on(input.course, when) {
            if let Some(live) = input.live.services.get(name) {
                in_the_way(input, ObjectRef::new(ObjectKind::Service, name), live, plan);
            }
            let occasion = Occasion {
                stack: input.stack,
                deployment: input.deployment,
                direction,
                revision: input.revision,
                previous: input.previous,
            };
            let mut service = job.run_for(&occasion);
            stamp(input, &mut service.spec.labels, &input.digester.digest_of(&job.service.spec));
            service.spec.labels.insert(HOOK_LABEL.to_owned(), when.to_string());
            plan.jobs.push(PlannedJob { when, service });
        }
    }
}

/// What stands under the name of a job: an earlier run of it, or a job that was none of these before, makes room.
fn in_the_way(input: &PlanInput<'_>, object: ObjectRef, live: &LiveService, plan: &mut Plan) {
    match owner(input, &object, &live.id, &live.spec.labels) {
        Owner::ThisStack if is_job_run(live) => {}
        Owner::ThisStack if is_protected(&live.spec.labels) => {
            plan.refused.push(Refusal::Protected { object, what: BECOMES_A_JOB.to_owned() });
        }
        Owner::ThisStack if live.spec.mode.is_job() || input.allow_recreate => {}
        Owner::ThisStack => {
            plan.refused.push(Refusal::Immutable { object, what: BECOMES_A_JOB.to_owned() });
        }
        owner => plan.refused.push(Refusal::Foreign { object, owner }),
    }
}
