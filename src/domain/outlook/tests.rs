use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    Actor, Attempt, Compat, Deletion, DeploymentId, Digest, Direction, EnvironmentName, Failure, Held, JobRun,
    JobState, Kept, LastGood, Origin, Pin, Pointer, Policy, Revision, Schedule, Source, StackControl, StackKey,
    StackName, StackSpec, Suspension, Version, When, set_condition,
};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    time("2026-11-30T12:00:00Z")
}

/// A stack with its status and its newest deployment.
struct Scene {
    stack: Stack,
    status: StackStatus,
    attempt: Deployment,
}

fn pointer(digest: &str) -> Pointer {
    Pointer {
        revision: None,
        images: Vec::new(),
        followed: BTreeMap::new(),
        digest: Some(Digest::of(digest.as_bytes())),
        deployment: DeploymentId("d0".into()),
        generation: 1,
    }
}

impl Scene {
    /// One that deploys the version `new` and stands in this phase.
    fn new(phase: Phase) -> Self {
        let key = StackKey { environment: EnvironmentName::default(), name: StackName::parse("shop").unwrap() };
        let spec = StackSpec {
            source: Source::Inline(String::new()),
            compose: Vec::new(),
            compat: Compat::Strict,
            variables: BTreeMap::new(),
            images: BTreeMap::new(),
            decryption: None,
            depends_on: Vec::new(),
            policy: Policy::default(),
        };
        let id = DeploymentId("d1".into());
        let attempt = Deployment {
            id: id.clone(),
            stack: key.clone(),
            generation: 2,
            origin: Origin {
                trigger: Trigger::Api,
                actor: Actor::new("ada"),
                reason: None,
                original_request: serde_json::Value::Null,
                sealed_request: None,
                mapped_request: serde_json::Value::Null,
                trace: None,
            },
            version: Version {
                source: VersionSource::Spec(Box::new(spec.clone())),
                revision: None,
                images: Vec::new(),
                followed: BTreeMap::new(),
                digest: Some(Digest::of(b"new")),
            },
            phase,
            message: None,
            failure: None,
            rollback_of: None,
            rolled_back_by: None,
            kept: None,
            plan: None,
            jobs: BTreeMap::new(),
            progress: None,
            services: Vec::new(),
            warnings: Vec::new(),
            created_at: time("2026-11-30T11:59:00Z"),
            handed: None,
            finished_at: phase.is_terminal().then(|| time("2026-11-30T11:59:30Z")),
        };
        let stack = Stack {
            key,
            spec,
            generation: 2,
            last_applied: None,
            control: StackControl::default(),
            deployment: id.clone(),
            created_at: now(),
            updated_at: now(),
        };
        let trigger = Trigger::Api;
        let status = StackStatus {
            seen: Some(id.clone()),
            desired: Some(pointer("new")),
            attempt: Some(Attempt { id, phase, trigger, automatic_rollback: false }),
            attempt_since: Some(time("2026-11-30T11:59:00Z")),
            ..StackStatus::default()
        };
        Self { stack, status, attempt }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn says(self, kind: Kind, status: ConditionStatus, reason: Reason, message: &str) -> Self {
        self.with(|it| {
            let message = message.to_owned();
            let condition = Condition { kind, status, reason, message, observed_generation: 2, since: now() };
            set_condition(&mut it.status.conditions, condition);
        })
    }

    fn waits(self, reason: Reason, message: &str) -> Self {
        self.says(Kind::Ready, ConditionStatus::False, reason, message)
    }

    fn stalls(self, reason: Reason) -> Self {
        self.waits(reason, "why").says(Kind::Stalled, ConditionStatus::True, reason, "why")
    }

    /// It has begun to write.
    fn begun(self) -> Self {
        self.with(|it| {
            it.attempt.progress = Some(Progress {
                started_at: time("2026-11-30T11:59:10Z"),
                progress_deadline: time("2026-11-30T12:04:10Z"),
                total_deadline: time("2026-11-30T12:59:10Z"),
                waiting_since: None,
                applied: true,
                applied_at: None,
                healthy_most: 0,
                healthy_since: None,
                baking_since: None,
                newest_task: None,
                held_back: BTreeMap::new(),
                services: BTreeMap::new(),
            });
        })
    }

    fn progress(self, change: impl FnOnce(&mut Progress)) -> Self {
        self.begun().with(|it| change(it.attempt.progress.as_mut().unwrap()))
    }

    fn good(self) -> Self {
        self.with(|it| {
            it.status.last_good = Some(LastGood { version: pointer("old"), kept: Kept("k".into()), since: now() });
        })
    }

    fn held(self) -> Self {
        self.with(|it| it.status.held = vec![Held { version: pointer("new"), reason: "bad".into(), since: now() }])
    }

    fn failed(self, class: FailureClass) -> Self {
        self.with(|it| it.attempt.failure = Some(Failure::new(class, "why")))
    }

    /// What is said of it: `TIME phrase`, with the time alone of today's.
    fn next(&self) -> String {
        match outlook(&self.stack, &self.status, Some(&self.attempt), now()) {
            Some(Outlook { text, at: Some(at) }) => format!("{} {text}", at.strftime("%H:%M:%S")),
            Some(Outlook { text, at: None }) => text,
            None => "-".to_owned(),
        }
    }
}

#[test]
fn what_stands_above_everything_comes_first() {
    let quiet = || Scene::new(Phase::Converged);
    let delete = |keep_running| {
        quiet().with(|it| {
            let actor = Actor::new("ada");
            it.stack.control.deletion = Some(Deletion { keep_running, release: false, actor, since: now() });
        })
    };
    let suspend = |until: Option<&str>| {
        Scene::new(Phase::Verifying).begun().with(|it| {
            let (reason, actor) = ("fair".to_owned(), Actor::new("ada"));
            it.stack.control.suspension = Some(Suspension { reason, actor, until: until.map(time), since: now() });
        })
    };
    for (scene, said) in [
        (delete(true), "Skep forgets it, and what runs stays"),
        (delete(false), "it is gone once its tasks have ended and its objects are removed"),
        (suspend(None), "nothing is written until somebody resumes it"),
        (suspend(Some("2026-11-30T13:00:00Z")), "13:00:00 the suspension ends then, and Skep goes on with it"),
        (quiet().waits(Reason::RelayUnreachable, "gone"), "the Skep that keeps it is tried again by itself"),
        (quiet().waits(Reason::EngineUnreachable, "gone"), "the engine is tried again by itself"),
        (
            Scene::new(Phase::Verifying).begun().waits(Reason::EngineUnreachable, "gone"),
            "12:59:10 the engine is tried again by itself; the deployment fails if that takes until then",
        ),
        (quiet().waits(Reason::Foreign, "kept"), "nothing is written here until this Skep holds the environment"),
        (quiet().waits(Reason::Observing, "policy"), "nothing is written: the policy is to observe"),
        (quiet().with(|it| it.status.seen = None), "what is asked for is taken up"),
    ] {
        assert_eq!(scene.next(), said);
    }
    let fresh = Scene::new(Phase::Pending);
    let found = outlook(&fresh.stack, &StackStatus::default(), None, now());
    assert_eq!(found.map(|it| it.text).as_deref(), Some("what is asked for is taken up"));
}

#[test]
fn what_is_under_way_says_what_it_waits_for_and_until_when() {
    let windows = |text: &str| -> Schedule { serde_json::from_str(text).unwrap() };
    let scheduled = |text: &'static str| {
        let scene = Scene::new(Phase::Pending).with(|it| it.stack.spec.policy.schedule = windows(text));
        scene.waits(Reason::ScheduleClosed, "waits: no window is open")
    };
    let job = Scene::new(Phase::Applying).begun().with(|it| {
        let run = JobRun {
            service: "migrate".into(),
            when: When::Pre,
            direction: Direction::Deploy,
            state: JobState::Running,
            id: None,
            started_at: now(),
            deadline: time("2026-11-30T12:10:00Z"),
            finished_at: None,
            error: None,
            exit_code: None,
            log_tail: Vec::new(),
        };
        it.attempt.jobs.insert("shop_migrate".into(), run);
    });
    let unrendered = |phase| Scene::new(phase).with(|it| it.attempt.version.digest = None);
    let baking = Scene::new(Phase::Verifying).progress(|it| it.baking_since = Some(time("2026-11-30T11:59:40Z")));
    for (scene, said) in [
        (unrendered(Phase::Pending), "12:59:00 it is begun; the deployment fails if that takes until then"),
        (
            unrendered(Phase::Fetching),
            "12:59:00 the ref is looked up, and the files are fetched; the deployment fails if that takes until then",
        ),
        (
            unrendered(Phase::Fetching).waits(Reason::SourceUnreachable, "no route"),
            "12:59:00 what does not answer is asked again by itself; the deployment fails if that takes until then",
        ),
        (
            Scene::new(Phase::Rendering),
            "12:59:00 the files are rendered, and what they change is planned; the deployment fails if that takes until then",
        ),
        (
            Scene::new(Phase::AwaitingApproval).waits(Reason::AwaitingApproval, "waits"),
            "it waits until somebody approves its plan",
        ),
        (
            scheduled(r#"{ "windows": [{ "from": "22:00", "to": "23:00" }] }"#),
            "22:00:00 its schedule opens then, and it is begun",
        ),
        (
            scheduled(
                r#"{ "freezes": [{ "from": "2026-01-01T00:00", "to": "9999-01-01T00:00" }], "windows": [{ "from": "22:00", "to": "23:00" }] }"#,
            ),
            "it waits, and no opening of its schedule is in sight",
        ),
        (scheduled("{}"), "its schedule has opened: it is begun"),
        (
            Scene::new(Phase::Pending).waits(Reason::DependencyNotReady, "waits: stack `default/db` is not ready"),
            "it is begun once that has changed: stack `default/db` is not ready",
        ),
        (job, "12:10:00 the job `migrate` has to end well until then"),
        (Scene::new(Phase::Applying).begun(), "the rest of the plan is carried out, and then its tasks are judged"),
        (
            Scene::new(Phase::Verifying).progress(|it| it.waiting_since = Some(now())),
            "12:59:10 it goes on by itself once the infrastructure is there; it fails if that takes until then",
        ),
        (
            baking.with(|it| it.stack.spec.policy.bake = SignedDuration::from_mins(10)),
            "12:09:40 it is watched until then, and has converged if nothing of it fails",
        ),
        (
            Scene::new(Phase::Verifying).progress(|it| it.healthy_since = Some(now())),
            "it has converged once its tasks have run through the monitor period",
        ),
        (
            Scene::new(Phase::Verifying).begun().good(),
            "12:04:10 one more task has to get healthy until then; else it fails, and the last good version comes back",
        ),
        (
            Scene::new(Phase::Verifying).begun(),
            "12:04:10 one more task has to get healthy until then; else it fails, and the stack stays as it is, and a person has to look",
        ),
        (
            Scene::new(Phase::Verifying)
                .begun()
                .good()
                .with(|it| it.attempt.rollback_of = Some(DeploymentId("d0".into()))),
            "12:04:10 one more task has to get healthy until then; else it fails, and a person has to look",
        ),
    ] {
        assert_eq!(scene.next(), said);
    }
}

#[test]
fn what_has_ended_says_whether_anything_happens_by_itself() {
    let failed = || Scene::new(Phase::Failed);
    let outage = || failed().begun().failed(FailureClass::NodeLost);
    let pin = |until: Option<&str>| {
        Scene::new(Phase::Converged).with(|it| {
            let (id, actor) = (it.attempt.id.clone(), Actor::new("ada"));
            let until = until.map(time);
            let version_of = DeploymentId("d0".into());
            it.stack.control.pin = Some(Pin { deployment: id, version_of, actor, reason: None, until, since: now() });
        })
    };
    let drifted = |reason| Scene::new(Phase::Converged).says(Kind::Drifted, ConditionStatus::True, reason, "differs");
    let newer = "nothing happens by itself until a newer version comes";
    let hold = "nothing happens by itself until a newer version comes, or the hold is released";
    for (scene, said) in [
        (Scene::new(Phase::Converged), "-"),
        (
            outage().stalls(Reason::EngineUnreachable),
            "12:00:30 it failed by no fault of its own, and is tried again then",
        ),
        (outage().with(|it| it.attempt.origin.trigger = Trigger::Drift), "it is tried again by itself"),
        // The version's own fault, though it had begun: held, so never by itself.
        (outage().held().stalls(Reason::TaskFailed), hold),
        (
            failed().failed(FailureClass::EngineUnreachable),
            "12:00:30 it failed by no fault of its own, and is tried again then",
        ),
        (failed().failed(FailureClass::Render).stalls(Reason::RenderFailed), newer),
        (
            failed().failed(FailureClass::SourceUnreachable).stalls(Reason::SourceUnreachable),
            "the repository is asked again by itself, and what is found there is deployed",
        ),
        (
            failed()
                .failed(FailureClass::SourceUnreachable)
                .with(|it| it.attempt.version.revision = Some(Revision("c0ffee".into()))),
            "12:00:30 it failed by no fault of its own, and is tried again then",
        ),
        (Scene::new(Phase::RolledBack).good().held(), hold),
        (failed().failed(FailureClass::HealthCheck).held().stalls(Reason::HealthCheckFailed), hold),
        (
            failed().failed(FailureClass::Deadline).stalls(Reason::RollbackFailed),
            "nothing happens by itself: a person has to look, and deploy a version",
        ),
        (
            Scene::new(Phase::Converged).stalls(Reason::LastGoodUnreadable),
            "nothing happens by itself until a version is deployed anew",
        ),
        (
            Scene::new(Phase::Converged).stalls(Reason::Foreign),
            "it goes on by itself once what belongs to somebody else is out of the way",
        ),
        (Scene::new(Phase::Converged).stalls(Reason::Conflict), "-"),
        (Scene::new(Phase::Cancelled).stalls(Reason::Cancelled), newer),
        (pin(None), "newer versions wait until somebody ends the pin"),
        (pin(Some("2026-12-01T08:00:00Z")), "08:00:00 the pin ends then, and what is declared flows again"),
        (drifted(Reason::DriftDetected), "what differs is put right"),
        (drifted(Reason::Conflict), "it is put right again, the more slowly the more often somebody changes it"),
        (
            drifted(Reason::DriftDetected).with(|it| it.stack.spec.policy.drift = DriftPolicy::Report),
            "what differs stays as it is: the policy is to report it",
        ),
        (
            Scene::new(Phase::Converged).says(Kind::Healthy, ConditionStatus::False, Reason::TasksMissing, "1 of 2"),
            "what is missing is Swarm's to start again; nothing is written",
        ),
    ] {
        assert_eq!(scene.next(), said);
    }
}
