//! What others change is put right, and what is not Skep's is not touched.

use serde_json::json;

use crate::support::compose::{Web, compose};
use crate::support::docker::{self, docker};
use crate::support::hive::Stay;
use crate::support::stack::{Subject, unique};

/// A service of someone else; removed when dropped.
pub(crate) struct Foreign(pub(crate) String);

impl Foreign {
    pub(crate) fn start(name: &str, more: &[&str]) -> Self {
        let arguments = [
            &["service", "create", "--quiet", "--detach", "--name", name, "--stop-grace-period", "1s"],
            more,
            &["skep-example:1", "serve"],
        ];
        docker(&arguments.concat());
        docker::until_service(name, "there", 10, |it| it.is_some());
        Self(name.to_owned())
    }

    /// What a write to it would change.
    pub(crate) fn spec(&self) -> serde_json::Value {
        docker::service(&self.0).expect("the foreign service is there")["Spec"].clone()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = docker::try_docker(&["service", "rm", &self.0]);
    }
}

#[tokio::test]
async fn a_manual_update_is_undone() {
    let subject = Subject::running(Stay::together().await, "drift").await;
    let web = subject.service("web");
    docker(&["service", "update", "--quiet", "--detach", "--env-add", "RELEASE=mine", &web]);
    docker::until_service(&web, "as declared", 30, |it| {
        it.is_some_and(|it| docker::variable(it, "RELEASE").as_deref() == Some("1"))
    });
    docker(&["service", "scale", "--detach", &format!("{web}=5")]);
    docker::until_service(&web, "at two replicas", 30, |it| {
        it.is_some_and(|it| it["Spec"]["Mode"]["Replicated"]["Replicas"] == 2)
    });
    let events = subject.client.event_types(&subject.name).await;
    assert!(events.iter().any(|it| it == "DriftDetected"), "{events:?}");
    // Mended, not deployed: no new version was asked for.
    assert_eq!(subject.client.stack(&subject.name).await["generation"], 1);
}

#[tokio::test]
async fn what_an_autoscaler_owns_outlives_a_deployment_and_a_rollback() {
    let mut subject = Subject::new(Stay::together().await, "scaled");
    let text = |release: &str, web: Web| {
        compose(release, web).replace(
            "    networks: [front]\n    healthcheck",
            "    networks: [front]\n    configs: [note]\n    healthcheck",
        ) + &format!("configs:\n  note: {{ content: hello, labels: {{ release: \"{release}\" }} }}\n")
    };
    let first = subject.push_text(&text("1", Web::Good));
    let manifest =
        subject.manifest().replace("monitor: 1s }", "monitor: 1s, ignore: [\"web:/Mode/Replicated/Replicas\"] }");
    subject.client.mutate("applyStack", &json!({ "manifest": manifest })).await.expect("applied");
    subject.until_converged_on(&first).await;
    let web = subject.service("web");
    docker(&["service", "scale", "--detach", &format!("{web}=3")]);
    let number = || docker::service(&web).unwrap()["Spec"]["Mode"]["Replicated"]["Replicas"].clone();

    let second = subject.push_text(&text("2", Web::Good));
    subject.until_converged_on(&second).await;
    assert_eq!((number(), docker::running_releases(&web)), (json!(3), vec!["2".to_owned(); 3]));
    // The config is the same one; its labels are what the file says.
    let configs = docker::of_stack("config", &subject.name);
    let label = docker(&["config", "inspect", "--format", "{{index .Spec.Labels \"release\"}}", &configs[0]]);
    assert_eq!((configs.len(), label.trim()), (1, "2"));

    let third = subject.push_text(&text("3", Web::Exits));
    subject.until_rolled_back(&third).await;
    assert_eq!((number(), docker::running_releases(&web)), (json!(3), vec!["2".to_owned(); 3]));
}

#[tokio::test]
async fn a_removed_service_is_made_again() {
    let mut subject = Subject::running(Stay::together().await, "heal").await;
    let web = subject.service("web");
    let id = docker::service(&web).unwrap()["ID"].clone();
    docker(&["service", "rm", &web]);
    docker::until_service(&web, "there again", 30, |it| it.is_some_and(|it| it["ID"] != id));
    subject
        .watch
        .until("healthy again", 60, |it| it["phase"] == "Converged" && docker::running_releases(&web).len() == 2)
        .await;
    subject.assert_runs("1");
}

#[tokio::test]
async fn what_others_made_is_not_touched() {
    let stay = Stay::together().await;
    let plain = Foreign::start(&unique("foreign"), &[]);
    let mut subject = Subject::running(stay, "beside").await;
    // Someone's service that even carries the stack's namespace is not Skep's for that.
    let label = format!("com.docker.stack.namespace={}", subject.name);
    let dressed = Foreign::start(&subject.service("other"), &["--label", &label]);
    let (before_plain, before_dressed) = (plain.spec(), dressed.spec());

    let second = subject.push("2", crate::support::compose::Web::Good);
    subject.until_converged_on(&second).await;
    subject.nudge();
    assert_eq!(plain.spec(), before_plain);
    assert_eq!(dressed.spec(), before_dressed);
}
