//! A push of an image, as registries tell of it: which stacks it is about.

use serde_json::Value;

use crate::domain::{Stack, StackStatus};
use crate::ledger::HookProvider;

/// The name of the repository that was pushed to, without its registry; none when the event is about something else.
///
/// - Distribution: `target.repository` ([notifications](https://distribution.github.io/distribution/about/notifications/));
/// - Docker Hub: `repository.repo_name` ([webhooks](https://docs.docker.com/docker-hub/repos/manage/webhooks/));
/// - GitHub: `namespace` and `name` of `registry_package` or `package`
///   ([events](https://docs.github.com/en/webhooks/webhook-events-and-payloads#registry_package)).
pub(super) fn repository(provider: HookProvider, event: &str, payload: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_lowercase);
    match provider {
        HookProvider::Registry => text(&payload["target"]["repository"]),
        HookProvider::DockerHub => text(&payload["repository"]["repo_name"]),
        HookProvider::GitHub if matches!(event, "registry_package" | "package") => {
            let package = &payload[event];
            Some(format!("{}/{}", text(&package["namespace"])?, text(&package["name"])?))
        }
        _ => None,
    }
}

/// Whether a stack may want to look because of a push to this repository: one that follows images only if it follows that one,
/// as far as it is known where its images are.
pub(super) fn concerns(repository: &str, stack: &Stack, status: &StackStatus) -> bool {
    let mut followed = stack.spec.followed_images().peekable();
    if followed.peek().is_none() {
        return true;
    }
    let is_it = |path: &str| path == repository || path.strip_prefix("library/") == Some(repository);
    followed.any(|(service, _)| status.followed.get(service).is_none_or(|known| is_it(&known.repository.path)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_push_names_its_repository() {
        for (provider, event, payload, wanted) in [
            (HookProvider::Registry, "push", json!({ "target": { "repository": "team/web" } }), Some("team/web")),
            (HookProvider::DockerHub, "push", json!({ "repository": { "repo_name": "team/web" } }), Some("team/web")),
            (
                HookProvider::GitHub,
                "registry_package",
                json!({ "registry_package": { "namespace": "Team", "name": "web" } }),
                Some("team/web"),
            ),
            (HookProvider::GitHub, "push", json!({ "repository": { "full_name": "team/web" } }), None),
            (HookProvider::Registry, "push", json!({}), None),
        ] {
            assert_eq!(repository(provider, event, &payload).as_deref(), wanted, "{payload}");
        }
    }
}
