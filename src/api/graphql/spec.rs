//! Views of what a stack's spec says, and of what it owns.

use async_graphql::SimpleObject;

use super::enums::{DriftPolicy, ImagesPolicy, Mode, ObjectKind, OnFailure, UnsetVariables};
use super::time::Time;
use crate::declare::format_duration;
use crate::domain::{self, FollowedImage, FollowedStatus, RepositoryStatus, Source, StackSpec, StackStatus, Variable};

/// Where a stack's compose files come from, and what the last look found.
#[derive(SimpleObject)]
#[graphql(name = "Source")]
pub(super) struct SourceView {
    /// The address of the repository; none for inline text.
    git: Option<String>,
    /// The ref as it was written.
    #[graphql(name = "ref")]
    wanted: Option<String>,
    /// The folder in the repository.
    path: Option<String>,
    /// The name of the credential it is read with.
    credential: Option<String>,
    /// The name of the credential that opens what is encrypted in it.
    decryption: Option<String>,
    /// How often the refs are listed.
    poll: Option<String>,
    /// The compose text itself, when there is no repository.
    inline: Option<String>,
    /// The commit the ref stood at when it was last resolved.
    revision: Option<String>,
    /// When that was.
    checked_at: Option<Time>,
    /// Why the last look failed, if it did.
    error: Option<String>,
}

impl SourceView {
    pub(super) fn of(spec: &StackSpec, status: &StackStatus) -> Self {
        let found = status.source.clone();
        let (git, inline) = match &spec.source {
            Source::Git(git) => (Some(git), None),
            Source::Inline(text) => (None, Some(text.clone())),
        };
        Self {
            git: git.map(|git| git.url.to_string()),
            wanted: git.map(|git| git.wanted.0.clone()),
            path: git.map(|git| git.path.clone()),
            credential: git.and_then(|git| git.credential.as_ref()).map(ToString::to_string),
            decryption: spec.decryption.as_ref().map(ToString::to_string),
            poll: git.map(|git| format_duration(git.poll)),
            inline,
            revision: found.as_ref().and_then(|found| found.revision.as_ref()).map(ToString::to_string),
            checked_at: found.as_ref().and_then(|found| found.checked_at).map(Into::into),
            error: found.and_then(|found| found.error),
        }
    }
}

/// A value for interpolation.
#[derive(SimpleObject)]
#[graphql(name = "Variable")]
pub(super) struct VariableView {
    /// Its name.
    name: String,
    /// Its value; none when it is secret.
    value: Option<String>,
    /// Whether it is secret.
    secret: bool,
}

impl From<(String, Variable)> for VariableView {
    fn from((name, variable): (String, Variable)) -> Self {
        match variable {
            Variable::Plain(value) => Self { name, value: Some(value), secret: false },
            Variable::Secret(_) => Self { name, value: None, secret: true },
        }
    }
}

/// The desired version of one service.
#[derive(SimpleObject)]
pub(super) struct ImageOverride {
    /// The service's name in the compose file.
    pub(super) service: String,
    /// A tag, a digest, or a whole image.
    pub(super) version: String,
}

/// An image that is followed in its registry, and what was found there.
#[derive(SimpleObject)]
#[graphql(name = "FollowedImage")]
pub(super) struct FollowedView {
    /// The service's name in the compose file.
    service: String,
    /// Which of its versions: `semver`, `digest` or `pattern`.
    rule: String,
    /// What stands behind that word in the manifest.
    wanted: String,
    /// How often the registry is asked.
    poll: String,
    /// Where the image is, once the files have told.
    repository: Option<String>,
    /// The tag that is to run by the rule.
    tag: Option<String>,
    /// What it points at, where that is what is followed.
    digest: Option<String>,
    /// Since when it is that one.
    since: Option<Time>,
    /// Newer ones that are passed over, because they failed here.
    skipped: Vec<String>,
    /// Out of how many tags it was chosen.
    tags: Option<u64>,
    /// When the registry was last asked and answered.
    checked_at: Option<Time>,
    /// When it is asked next, at the latest.
    next_look: Option<Time>,
    /// Why there is none, or why it could not be looked at anew.
    error: Option<String>,
}

impl FollowedView {
    pub(super) fn of(
        service: String,
        followed: &FollowedImage,
        status: Option<FollowedStatus>,
        repository: Option<RepositoryStatus>,
    ) -> Self {
        let status = status.filter(|status| status.rule == followed.rule);
        let place = status.as_ref().map(|status| status.repository.to_string());
        let repository = repository.unwrap_or_default();
        let error = status.as_ref().and_then(|status| status.error.clone());
        let version = status.as_ref().and_then(|status| status.version.clone());
        Self {
            service,
            rule: followed.rule.word().to_owned(),
            wanted: followed.rule.text().to_owned(),
            poll: format_duration(followed.poll),
            repository: place,
            tag: version.as_ref().map(|version| version.tag.clone()),
            digest: version.and_then(|version| version.digest),
            since: status.as_ref().and_then(|status| status.since).map(Into::into),
            skipped: status.map(|status| status.skipped).unwrap_or_default(),
            tags: repository.tags,
            checked_at: repository.checked_at.map(Into::into),
            next_look: repository.next_at.map(Into::into),
            error: error.or(repository.error),
        }
    }
}

/// A stack that must be ready first.
#[derive(SimpleObject)]
#[graphql(name = "Dependency")]
pub(super) struct DependencyView {
    /// Its environment.
    environment: String,
    /// Its name.
    stack: String,
    /// What must run there: by service a tag, or a range over tags.
    images: Vec<ImageOverride>,
}

impl From<domain::Dependency> for DependencyView {
    fn from(it: domain::Dependency) -> Self {
        Self {
            environment: it.stack.environment.to_string(),
            stack: it.stack.name.to_string(),
            images: it.images.into_iter().map(|(service, version)| ImageOverride { service, version }).collect(),
        }
    }
}

/// A part of some days in which new versions may begin.
#[derive(SimpleObject)]
#[graphql(name = "Window")]
pub(super) struct WindowView {
    /// The days it begins on, such as `Mon`; none: every day.
    days: Vec<String>,
    /// When it begins, by the clock of the zone.
    from: String,
    /// When it ends; not after `from`: on the next day.
    to: String,
}

/// A time in which no new version begins.
#[derive(SimpleObject)]
#[graphql(name = "Freeze")]
pub(super) struct FreezeView {
    /// When it begins, by the clock of the zone.
    from: String,
    /// When it ends.
    to: String,
    /// Why, if said.
    reason: Option<String>,
}

/// When new versions may begin.
#[derive(SimpleObject)]
#[graphql(name = "Schedule")]
pub(super) struct ScheduleView {
    /// The zone of its times; none: UTC.
    zone: Option<String>,
    /// None: always, but for the freezes.
    windows: Vec<WindowView>,
    /// When nothing begins, whatever the windows say.
    freezes: Vec<FreezeView>,
}

impl From<domain::Schedule> for ScheduleView {
    fn from(it: domain::Schedule) -> Self {
        let window = |it: domain::Window| WindowView {
            days: it.days.iter().map(|day| format!("{day:?}")).collect(),
            from: it.from.to_string(),
            to: it.to.to_string(),
        };
        let freeze =
            |it: domain::Freeze| FreezeView { from: it.from.to_string(), to: it.to.to_string(), reason: it.reason };
        Self {
            zone: it.zone,
            windows: it.windows.into_iter().map(window).collect(),
            freezes: it.freezes.into_iter().map(freeze).collect(),
        }
    }
}

/// The rules of change.
#[derive(SimpleObject)]
#[graphql(name = "Policy")]
pub(super) struct PolicyView {
    /// Whether anything is written at all.
    mode: Mode,
    /// What a failed version leads to.
    on_failure: OnFailure,
    /// Whether a failure never goes back past the version.
    irreversible: bool,
    /// Longest time without one more healthy task.
    progress_deadline: String,
    /// Longest time for a whole deployment.
    total_deadline: String,
    /// How long all tasks must stay healthy.
    monitor: String,
    /// How long a new version is watched after that, before it counts as good.
    bake: String,
    /// What foreign changes lead to.
    drift: DriftPolicy,
    /// Whether owned objects that are no longer wanted are removed.
    prune: bool,
    /// When tags are looked up.
    images: ImagesPolicy,
    /// What an unset variable means.
    unset_variables: UnsetVariables,
    /// Fields of services that somebody else owns, as `SERVICE:/POINTER`: the live value is kept.
    ignore: Vec<String>,
    /// Fields of services whose foreign changes are only shown, as `SERVICE:/POINTER`: the next deployment writes them anew.
    report: Vec<String>,
    /// Whether what Swarm cannot change in place may be removed and made again, with an outage.
    allow_recreate: bool,
    /// When new versions may begin.
    schedule: ScheduleView,
}

impl From<domain::Policy> for PolicyView {
    fn from(it: domain::Policy) -> Self {
        Self {
            mode: it.mode.into(),
            on_failure: it.on_failure.into(),
            irreversible: it.irreversible,
            progress_deadline: format_duration(it.progress_deadline),
            total_deadline: format_duration(it.total_deadline),
            monitor: format_duration(it.monitor),
            bake: format_duration(it.bake),
            drift: it.drift.into(),
            prune: it.prune,
            images: it.images.into(),
            unset_variables: it.unset_variables.into(),
            ignore: it.ignore.into_iter().map(String::from).collect(),
            report: it.report.into_iter().map(String::from).collect(),
            allow_recreate: it.allow_recreate,
            schedule: it.schedule.into(),
        }
    }
}

/// An object the stack owns on the Swarm.
#[derive(SimpleObject)]
pub(super) struct OwnedObject {
    /// Its kind.
    kind: ObjectKind,
    /// Its real name.
    name: String,
    /// The engine's id of it; none while a call's answer is not known.
    engine_id: Option<String>,
}

/// What a stack owns.
pub(super) fn owned(inventory: domain::Inventory) -> Vec<OwnedObject> {
    inventory
        .0
        .into_iter()
        .map(|(object, entry)| OwnedObject { kind: object.kind.into(), name: object.name, engine_id: entry.id })
        .collect()
}
