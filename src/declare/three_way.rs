//! The three-way comparison of `apply`: what the document said last time, what it says now, what is declared. Only what
//! differs between the first two is taken over into the third, so that an old file applied again undoes nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::format_duration;
use crate::domain::{Digester, ImageWish, Schedule, Source, StackSpec, Variable};

/// Every field of a spec by its path in a manifest. Secrets and inline text are there as digests.
pub(super) type Leaves = BTreeMap<String, Value>;

/// Takes a spec apart.
pub(super) fn leaves(spec: &StackSpec, digester: &Digester) -> Leaves {
    let mut leaves = Leaves::new();
    let mut put = |path: &str, value: Value| leaves.insert(path.to_owned(), value);
    match &spec.source {
        Source::Git(git) => {
            put("source.git", git.url.as_str().into());
            put("source.ref", git.wanted.0.clone().into());
            put("source.path", git.path.clone().into());
            put("source.credential", json!(git.credential));
            put("source.poll", format_duration(git.poll).into());
        }
        Source::Inline(text) => {
            put("inline", digester.digest(text.as_bytes()).as_str().into());
        }
    }
    put("compose", spec.compose.clone().into());
    put("compat", json!(spec.compat));
    for (name, value) in &spec.variables {
        let value = match value {
            Variable::Plain(text) => text.clone().into(),
            Variable::Secret(sealed) => json!({ "secret": sealed.digest.as_str() }),
        };
        put(&format!("variables.{name}"), value);
    }
    for (service, version) in &spec.images {
        put(&format!("images.{service}"), image_wish(version));
    }
    if let Some(name) = &spec.decryption {
        put("decryption.credential", json!(name));
    }
    if !spec.depends_on.is_empty() {
        put("dependsOn", json!(spec.depends_on));
    }
    let policy = &spec.policy;
    put("policy.mode", json!(policy.mode));
    put("policy.onFailure", json!(policy.on_failure));
    put("policy.irreversible", policy.irreversible.into());
    put("policy.progressDeadline", format_duration(policy.progress_deadline).into());
    put("policy.totalDeadline", format_duration(policy.total_deadline).into());
    put("policy.monitor", format_duration(policy.monitor).into());
    put("policy.bake", format_duration(policy.bake).into());
    put("policy.drift", json!(policy.drift));
    put("policy.prune", policy.prune.into());
    put("policy.images", json!(policy.images));
    put("policy.unsetVariables", json!(policy.unset_variables));
    put("policy.ignore", json!(policy.ignore));
    put("policy.report", json!(policy.report));
    put("policy.allowRecreate", policy.allow_recreate.into());
    if policy.schedule != Schedule::default() {
        put("policy.schedule", json!(policy.schedule));
    }
    leaves
}

/// The desired version of a service, in the shape of a manifest.
fn image_wish(wish: &ImageWish) -> Value {
    match wish {
        ImageWish::Named(version) => version.clone().into(),
        ImageWish::Followed(it) => json!({ it.rule.word(): it.rule.text(), "poll": format_duration(it.poll) }),
    }
}

/// The paths at which two specs differ.
pub(super) fn differences(before: &Leaves, after: &Leaves) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// The base that was kept with a stack.
pub(super) fn base(last_applied: Option<&Value>) -> Leaves {
    let Some(Value::Object(map)) = last_applied else { return Leaves::new() };
    map.iter().map(|(path, value)| (path.clone(), value.clone())).collect()
}

/// `current` with what `wanted` changed against `base`.
pub(super) fn merge(base: &Leaves, wanted: &StackSpec, current: &StackSpec, digester: &Digester) -> StackSpec {
    let changed = differences(base, &leaves(wanted, digester));
    let mut spec = current.clone();
    for path in &changed {
        take_over(path, wanted, &mut spec);
    }
    spec
}

fn take_over(path: &str, wanted: &StackSpec, spec: &mut StackSpec) {
    match path.split_once('.') {
        Some(("variables", name)) => follow(name, &wanted.variables, &mut spec.variables),
        Some(("images", service)) => follow(service, &wanted.images, &mut spec.images),
        Some(("policy", field)) => policy(field, wanted, spec),
        Some(("source", field)) => source(field, wanted, spec),
        Some(("decryption", _)) => spec.decryption.clone_from(&wanted.decryption),
        _ => match path {
            "compose" => spec.compose.clone_from(&wanted.compose),
            "compat" => spec.compat = wanted.compat,
            "dependsOn" => spec.depends_on.clone_from(&wanted.depends_on),
            // Either the text changed, or a repository took its place.
            "inline" => spec.source = wanted.source.clone(),
            _ => {}
        },
    }
}

fn follow<T: Clone>(name: &str, wanted: &BTreeMap<String, T>, spec: &mut BTreeMap<String, T>) {
    match wanted.get(name) {
        Some(value) => spec.insert(name.to_owned(), value.clone()),
        None => spec.remove(name),
    };
}

fn source(field: &str, wanted: &StackSpec, spec: &mut StackSpec) {
    let (Source::Git(from), Source::Git(to)) = (&wanted.source, &mut spec.source) else {
        spec.source = wanted.source.clone();
        return;
    };
    match field {
        "git" => to.url = from.url.clone(),
        "ref" => to.wanted = from.wanted.clone(),
        "path" => to.path.clone_from(&from.path),
        "credential" => to.credential.clone_from(&from.credential),
        "poll" => to.poll = from.poll,
        _ => {}
    }
}

fn policy(field: &str, wanted: &StackSpec, spec: &mut StackSpec) {
    let (from, to) = (&wanted.policy, &mut spec.policy);
    match field {
        "mode" => to.mode = from.mode,
        "onFailure" => to.on_failure = from.on_failure,
        "irreversible" => to.irreversible = from.irreversible,
        "progressDeadline" => to.progress_deadline = from.progress_deadline,
        "totalDeadline" => to.total_deadline = from.total_deadline,
        "monitor" => to.monitor = from.monitor,
        "bake" => to.bake = from.bake,
        "drift" => to.drift = from.drift,
        "prune" => to.prune = from.prune,
        "images" => to.images = from.images,
        "unsetVariables" => to.unset_variables = from.unset_variables,
        "ignore" => to.ignore.clone_from(&from.ignore),
        "report" => to.report.clone_from(&from.report),
        "allowRecreate" => to.allow_recreate = from.allow_recreate,
        "schedule" => to.schedule.clone_from(&from.schedule),
        _ => {}
    }
}

/// A spec as JSON in the shape of a manifest, for the mapped request: secrets as `***`, inline text as its size.
pub(super) fn shown(spec: &StackSpec) -> Value {
    let variables: serde_json::Map<String, Value> = spec
        .variables
        .iter()
        .map(|(name, value)| match value {
            Variable::Plain(text) => (name.clone(), text.clone().into()),
            Variable::Secret(_) => (name.clone(), "***".into()),
        })
        .collect();
    let source = match &spec.source {
        Source::Git(git) => json!({
            "git": git.url.as_str(), "ref": git.wanted.0, "path": git.path, "credential": git.credential,
            "poll": format_duration(git.poll),
        }),
        Source::Inline(text) => json!({ "inlineBytes": text.len() }),
    };
    let images: serde_json::Map<String, Value> =
        spec.images.iter().map(|(service, wish)| (service.clone(), image_wish(wish))).collect();
    let policy = &spec.policy;
    json!({
        "source": source,
        "compose": spec.compose,
        "compat": spec.compat,
        "variables": variables,
        "images": images,
        "decryption": spec.decryption.as_ref().map(|credential| json!({ "credential": credential })),
        "dependsOn": spec.depends_on,
        "policy": {
            "mode": policy.mode,
            "onFailure": policy.on_failure,
            "irreversible": policy.irreversible,
            "progressDeadline": format_duration(policy.progress_deadline),
            "totalDeadline": format_duration(policy.total_deadline),
            "monitor": format_duration(policy.monitor),
            "bake": format_duration(policy.bake),
            "drift": policy.drift,
            "prune": policy.prune,
            "images": policy.images,
            "unsetVariables": policy.unset_variables,
            "ignore": policy.ignore,
            "report": policy.report,
            "allowRecreate": policy.allow_recreate,
            "schedule": policy.schedule,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Compat, GitSource, GitUrl, Policy, Wanted};
    use jiff::SignedDuration;

    fn spec(wanted: &str) -> StackSpec {
        StackSpec {
            source: Source::Git(GitSource {
                url: GitUrl::parse("https://h/x.git").unwrap(),
                wanted: Wanted(wanted.into()),
                path: String::new(),
                credential: None,
                poll: SignedDuration::from_mins(1),
            }),
            compose: vec!["a.yml".into()],
            compat: Compat::Strict,
            variables: [("A".to_owned(), Variable::Plain("1".into()))].into(),
            images: [("web".to_owned(), ImageWish::Named("1".to_owned()))].into(),
            decryption: None,
            depends_on: Vec::new(),
            policy: Policy::default(),
        }
    }

    /// A change of one field of a spec.
    type Change = fn(&mut StackSpec);

    /// One change for every path there is.
    fn changes() -> Vec<Change> {
        fn git(spec: &mut StackSpec) -> &mut GitSource {
            match &mut spec.source {
                Source::Git(git) => git,
                Source::Inline(_) => panic!("inline"),
            }
        }
        vec![
            |s| git(s).url = GitUrl::parse("https://h/y.git").unwrap(),
            |s| git(s).wanted = Wanted("other".into()),
            |s| git(s).path = "p".into(),
            |s| git(s).credential = crate::domain::CredentialName::parse("c").ok(),
            |s| git(s).poll = SignedDuration::from_mins(9),
            |s| s.compose = vec!["b.yml".into()],
            |s| s.compat = Compat::Cli,
            |s| s.decryption = crate::domain::CredentialName::parse("age").ok(),
            |s| s.variables = [("B".to_owned(), Variable::Plain("2".into()))].into(),
            |s| s.images = [("db".to_owned(), ImageWish::Named("2".to_owned()))].into(),
            |s| {
                let rule = crate::domain::FollowRule::Semver("~1".into());
                let followed = crate::domain::FollowedImage { rule, poll: SignedDuration::from_mins(5) };
                s.images.insert("web".to_owned(), ImageWish::Followed(followed));
            },
            |s| s.policy.mode = crate::domain::Mode::Observe,
            |s| s.policy.on_failure = crate::domain::OnFailure::Hold,
            |s| s.policy.irreversible = true,
            |s| s.policy.progress_deadline = SignedDuration::from_mins(9),
            |s| s.policy.total_deadline = SignedDuration::from_mins(9),
            |s| s.policy.monitor = SignedDuration::from_mins(9),
            |s| s.policy.bake = SignedDuration::from_mins(9),
            |s| s.policy.drift = crate::domain::DriftPolicy::Report,
            |s| s.policy.prune = false,
            |s| s.policy.images = crate::domain::ImagesPolicy::Never,
            |s| s.policy.unset_variables = crate::domain::UnsetVariables::Empty,
            |s| s.policy.ignore.extend(crate::domain::ServiceField::parse("web:/Mode")),
            |s| s.policy.report.extend(crate::domain::ServiceField::parse("web:/Labels")),
            |s| s.policy.allow_recreate = true,
            |s| s.policy.schedule.zone = Some("Europe/Berlin".into()),
            |s| {
                let stack = crate::domain::StackKey {
                    environment: crate::domain::EnvironmentName::default(),
                    name: crate::domain::StackName::parse("db").unwrap(),
                };
                s.depends_on = vec![crate::domain::Dependency { stack, images: BTreeMap::new() }];
            },
            |s| s.source = Source::Inline("services: {}".into()),
        ]
    }

    #[test]
    fn the_same_document_again_undoes_nothing() {
        let digester = Digester::new([1; 32]);
        let document = spec("main");
        for change in changes() {
            let mut current = document.clone();
            change(&mut current);
            assert_ne!(current, document);
            assert_eq!(merge(&leaves(&document, &digester), &document, &current, &digester), current);
        }
    }

    #[test]
    fn every_field_a_document_changes_is_taken_over() {
        let digester = Digester::new([1; 32]);
        let before = spec("main");
        for change in changes() {
            let mut after = before.clone();
            change(&mut after);
            assert_eq!(merge(&leaves(&before, &digester), &after, &before, &digester), after);
            assert_eq!(merge(&leaves(&after, &digester), &before, &after, &digester), before);
        }
    }

    #[test]
    fn a_document_changes_its_own_field_and_leaves_what_a_deploy_set() {
        let digester = Digester::new([1; 32]);
        let before = spec("main");
        let mut deployed = before.clone();
        deployed.images.insert("web".into(), ImageWish::Named("2".into()));
        deployed.variables.insert("EXTRA".into(), Variable::Plain("x".into()));
        let mut document = before.clone();
        document.policy.prune = false;
        document.variables.clear();
        let merged = merge(&leaves(&before, &digester), &document, &deployed, &digester);
        assert_eq!(merged.images["web"], ImageWish::Named("2".into()));
        assert!(!merged.policy.prune);
        assert_eq!(merged.variables.keys().collect::<Vec<_>>(), ["EXTRA"]);
    }
}
